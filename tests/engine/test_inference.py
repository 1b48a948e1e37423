"""Averaging at test time: what sees one pixel at a time must answer the same however it is looked at."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from tests.tasks.task_cases import DECODER
from weft.encoders.base import Encoder
from weft.engine import inference as looking
from weft.experiment import Inference
from weft.fusion.none import NoFusion
from weft.modalities.base import Geometry
from weft.model import Model
from weft.tasks.classification import Classification
from weft.tasks.segmentation import Segmentation
from weft.tasks.video_segmentation import VideoSegmentation
from weft.types import Batch, Features, FeatureSpec, InputSpec


class Pixels(Encoder):
    """The pixels themselves as a map of stride 1."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = FeatureSpec("grid", 3, (3,), (1,))
        self.input_spec = InputSpec()

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        return Features.of_pyramid([inputs.float()])

    def layers(self) -> list[nn.Module]:
        return []


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    views = {"image": FeatureSpec("grid", 3, (3,), (1,))}
    tasks = {
        "masks": Segmentation(views, Segmentation.Target({}, num_classes=5), decoder=DECODER),
        "kind": Classification(views, Classification.Target({}, classes=["a", "b"])),
    }
    encoders = {"image": Pixels()}
    model = Model({"image": nn.Identity()}, encoders, NoFusion(views), tasks, decisions={})
    return model.eval()


def answers(model: Model, inference: Inference, size: tuple[int, int] = (24, 40)) -> dict[str, Tensor]:
    picture = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    present = {"image": torch.ones(2, dtype=torch.bool)}
    batch = Batch({"image": picture}, {}, present, {}, ("a", "b"), size, (size, size))
    modalities = {"image": SimpleNamespace(geometry=Geometry("image"))}
    with torch.no_grad():
        seen = looking.encode(model, batch, modalities, inference=inference, multiple=8, precision="fp32")  # type: ignore[arg-type]
        found = looking.answer(model, seen, batch.size, precision="fp32")
    return {name: prediction.value for name, prediction in found.items()}


@pytest.mark.parametrize(
    "inference",
    [
        Inference(flip=True),
        Inference(window=(16, 16)),
        Inference(window=(16, 24), overlap=0.75, flip=True),
        Inference(window=(100, 16), overlap=0.0),  # higher than the picture: cut to it
    ],
    ids=["flip", "window", "window and flip", "tall window"],
)
def test_a_network_of_single_pixels_answers_the_same_in_every_look(model: Model, inference: Inference) -> None:
    plain, averaged = answers(model, Inference()), answers(model, inference)
    assert averaged["masks"].shape == (2, 5, 24, 40)
    torch.testing.assert_close(averaged["masks"], plain["masks"], atol=1e-6, rtol=0)
    torch.testing.assert_close(averaged["kind"], plain["kind"], atol=1e-6, rtol=0)


def test_scales_are_brought_back_to_the_size_of_the_sample(model: Model) -> None:
    averaged = answers(model, Inference(scales=(0.5, 1.0, 2.0)))["masks"]
    assert averaged.shape == (2, 5, 24, 40)
    torch.testing.assert_close(averaged.sum(1), torch.ones(2, 24, 40), atol=1e-5, rtol=0)


def test_windows_cover_everything_and_end_flush() -> None:
    for full in range(16, 80):
        for overlap in (0.0, 0.3, 0.5, 0.9):
            starts = looking._starts(full, 16, overlap)
            covered = {pixel for start in starts for pixel in range(start, start + 16)}
            assert covered == set(range(full))


class ClipPixels(Pixels):
    """The pixels of every frame as a map of stride 1."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = FeatureSpec("clip", 3, (3,), (1,))

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        return Features.of_frames(Features.of_pyramid([inputs.float().flatten(0, 1)]), torch.ones(inputs.shape[:2]) > 0)


@pytest.mark.parametrize(
    "inference", [Inference(flip=True), Inference(window=(8, 16)), Inference(flip=True, window=(16, 8))]
)
def test_frames_of_clips_are_averaged_as_stills_are(inference: Inference) -> None:
    views = {"clip": ClipPixels().spec}
    torch.manual_seed(0)
    field = VideoSegmentation.Target({}, num_classes=5)
    tasks = {"masks": VideoSegmentation(views, field, decoder=DECODER)}
    model = Model({"clip": nn.Identity()}, {"clip": ClipPixels()}, NoFusion(views), tasks, decisions={}).eval()
    clip = torch.rand(2, 3, 3, 24, 40, generator=torch.Generator().manual_seed(1))
    batch = Batch(
        {"clip": clip}, {}, {"clip": torch.ones(2, dtype=torch.bool)}, {}, ("a", "b"), (24, 40), ((24, 40),) * 2
    )
    modalities = {"clip": SimpleNamespace(geometry=Geometry("clip"))}
    found = []
    for looks in (Inference(), inference, Inference(scales=(1.0, 0.5))):
        with torch.no_grad():
            seen = looking.encode(model, batch, modalities, inference=looks, multiple=8, precision="fp32")  # type: ignore[arg-type]
            found.append(looking.answer(model, seen, batch.size, precision="fp32")["masks"].value)
    plain, averaged, scaled = found
    assert plain.shape == scaled.shape == (2, 5, 3, 24, 40)
    torch.testing.assert_close(averaged, plain, rtol=1e-4, atol=1e-5)
    assert not torch.equal(scaled, plain)
