"""A still and a clip of folders of frames, read by one network: shared in training, and kept where it is frozen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import weft
from tests.changes import changed
from weft import Experiment, load_experiment
from weft.data.pipeline import build_data
from weft.encoders.raster import RasterEncoder
from weft.engine.build import build_model, num_parameters
from weft.engine.parameters import parameter_groups
from weft.errors import ConfigError
from weft.model import Model

Make = Callable[..., Experiment]
BACKBONE = {"type": "timm", "name": "test_resnet"}
FROZEN = {**BACKBONE, "freeze": True}

#: Frames of the clips of the samples: some are shorter than what is taken.
NUM_FRAMES = (5, 2, 6, 1, 4, 7)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, folders of frames, and classes; one picture and one clip are missing."""
    folder = tmp_path_factory.mktemp("films")
    random = np.random.default_rng(0)
    lines = ["id,split,image,clip,mood"]
    for index, num_frames in enumerate(NUM_FRAMES):
        frames = folder / f"film{index}"
        frames.mkdir()
        for number in range(num_frames):
            picture(random).save(frames / f"{number:05}.png")
        picture(random).save(folder / f"{index}.png")
        image, clip = "" if index == 1 else f"{index}.png", "" if index == 2 else f"film{index}"
        lines.append(f"{index},{'val' if index > 3 else 'train'},{image},{clip},{'good' if index % 2 else 'bad'}")
    (folder / "films.csv").write_text("\n".join(lines))
    return folder


def picture(random: np.random.Generator) -> Image.Image:
    return Image.fromarray(random.integers(0, 255, (32, 48, 3), dtype=np.uint8))


@pytest.fixture
def experiment(root: Path, tmp_path: Path) -> Make:
    """Makes an experiment from its encoders and further changes, `train__epochs=1`."""

    def make(image: Any, clip: Any, **changes: Any) -> Experiment:
        content: dict[str, Any] = {
            "name": "films",
            "data": {
                "format": "table",
                "root": str(root),
                "file": "films.csv",
                "size": [32, 48],
                "frames": {"count": 4},
                "workers": 0,
            },
            "modalities": {"image": {"encoder": image}, "clip": {"type": "video", "encoder": clip}},
            "fusion": "concat",
            "tasks": {"mood": {"type": "classification", "classes": ["bad", "good"]}},
            "train": {
                "epochs": 2,
                "batch_size": 4,
                "precision": "fp32",
                "device": "cpu",
                "output": str(tmp_path / "runs"),
                "features": {"where": "none", "folder": str(tmp_path / "features")},
            },
        }
        return load_experiment(changed(content, changes))

    return make


def model_of(made: Experiment) -> Model:
    return build_model(made, build_data(made), pretrained=False)


@pytest.mark.parametrize(
    ("clip", "layout"),
    [
        ({"share": "image"}, "clip"),
        ({"type": "frames", "backbone": {"share": "image"}, "cell": "gru", "hidden": 4}, "sequence"),
    ],
    ids=["whole", "backbone"],
)
def test_a_still_and_a_clip_share_one_network(experiment: Make, clip: Any, layout: str) -> None:
    changes = {"train__lr_factors": {"encoders.clip": 0.5}}
    made = experiment({**BACKBONE, "lr_factor": 0.1}, clip, **changes)
    model = model_of(made)
    image, shared = set(model.encoders["image"].parameters()), set(model.encoders["clip"].parameters())
    assert image <= shared
    assert model.encoders["clip"].spec.layout == layout
    counts = num_parameters(model)
    assert counts["total"] == sum(parameter.numel() for parameter in model.parameters())
    assert counts.get("encoders.clip", 0) == sum(parameter.numel() for parameter in shared - image)
    groups = parameter_groups(model, lr_factors=made.train.lr_factors, layer_decay=1.0)
    factor = {parameter: group["lr_factor"] for group in groups for parameter in group["params"]}
    assert {round(factor[parameter], 6) for parameter in image} == {0.05}
    assert {factor[parameter] for parameter in shared - image} <= {0.5}


def test_what_shares_a_network_is_trained_saved_and_read_again(experiment: Make) -> None:
    made = experiment(BACKBONE, {"share": "image"}, train__epochs=1)
    run = weft.train(made, progress=False)
    saved = load_file(run / "checkpoints" / "last" / "model.safetensors")
    of_image = {name: tensor for name, tensor in saved.items() if name.startswith("encoders.image.")}
    assert of_image
    for name, tensor in of_image.items():
        assert torch.equal(saved[name.replace("encoders.image.", "encoders.clip.backbone.")], tensor)
    assert weft.evaluate(run)["samples"] == 2


@pytest.mark.parametrize(
    ("image", "clip", "said"),
    [
        (BACKBONE, {"share": "film"}, "modalities.clip.encoder.share: there is no modality 'film'"),
        (
            BACKBONE,
            {"type": "frames", "backbone": {"share": "clip"}},
            "modalities.clip.encoder.backbone.share: 'clip' has no encoder of its own, it shares one",
        ),
        ({"share": "clip"}, {"type": "frames", "backbone": BACKBONE}, "frames reads video and image is raster"),
        (BACKBONE, BACKBONE, "timm reads raster and clip is video; encoders that read it: frame_maps, frames"),
    ],
)
def test_what_cannot_be_shared_is_refused(experiment: Make, image: Any, clip: Any, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        experiment(image, clip)
    assert said in str(refused.value)


def test_other_channels_cannot_share(experiment: Make) -> None:
    clip = {"type": "frames", "backbone": {"share": "image"}}
    made = experiment(BACKBONE, clip, modalities__image__channels=1)
    with pytest.raises(ConfigError, match=r"encoder.backbone.share: clip has 3 channels and image has 1"):
        model_of(made)


#: Features are kept nowhere, then in a folder that is empty at first.
WHERE = ("none", "disk", "disk")

MEAN = {"type": "frames", "backbone": FROZEN, "cell": "lstm", "hidden": 4, "pooling": "attention"}


@pytest.mark.parametrize(
    ("image", "clip", "changes"),
    [
        (BACKBONE, MEAN, {}),
        (FROZEN, {"share": "image"}, {"fusion": {"type": "transformer", "dim": 8, "heads": 2, "dropout": 0.0}}),
        (
            BACKBONE,
            MEAN,
            {"data__frames": {"count": 2, "sampling": "random"}, "data__augment__flip": 0.5},
        ),
    ],
    ids=["vectors", "shared maps", "random frames"],
)
def test_the_result_is_the_same_to_the_bit_with_kept_features(
    experiment: Make, image: Any, clip: Any, changes: dict[str, Any]
) -> None:
    """Also where other frames are taken in every epoch: these are not kept, and no others are given for them."""
    runs = [
        weft.train(experiment(image, clip, **changes, train__features__where=where), progress=False) for where in WHERE
    ]
    first, *others = (load_file(run / "checkpoints" / "last" / "model.safetensors") for run in runs)
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)


def test_frames_that_were_seen_are_not_seen_again(
    experiment: Make, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    extract = RasterEncoder.extract

    def watched(self: RasterEncoder, inputs: torch.Tensor, lengths: torch.Tensor | None = None) -> Any:
        if self.extract_frozen:
            seen.append(len(inputs))
        return extract(self, inputs, lengths)

    monkeypatch.setattr(RasterEncoder, "extract", watched)
    kept = {"train__features__where": "disk", "train__epochs": 1}
    num_clips = sum(index != 2 for index in range(len(NUM_FRAMES)))
    folder = tmp_path / "features"

    def frames_seen(**changes: Any) -> int:
        seen.clear()
        weft.train(experiment(BACKBONE, MEAN, **kept, **changes), progress=False)
        return sum(seen)

    assert frames_seen() > 0
    assert len(list(folder.glob("*/*"))) == num_clips
    assert frames_seen() == 0
    assert frames_seen(data__frames={"count": 2}) > 0  # other frames of the clips of more than two
    assert len(list(folder.glob("*/*"))) == num_clips + sum(NUM_FRAMES[i] > 2 for i in (0, 4, 5))
    frame = root / "film0" / "00000.png"
    before = frame.read_bytes()
    Image.new("RGB", (48, 32), "red").save(frame)
    assert frames_seen() > 0  # one frame of a folder has changed
    frame.write_bytes(before)
