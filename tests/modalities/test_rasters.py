"""Image and depth modalities: what the encoder sees of what is in the files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from weft.modalities.base import BadCell
from weft.modalities.depth import DepthModality
from weft.modalities.image import ImageModality, ImagePreprocessor
from weft.types import InputSpec

IMAGENET = InputSpec(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), multiple=32)


LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R 601


def given(cell):
    return cell


def images(*, dtype=np.uint8, channels=3, num=4) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    top = {np.uint8: 255, np.uint16: 4095, np.float32: 1}[dtype]
    return [(random.random((8, 10, channels)) * top).astype(dtype) for _ in range(num)]


def fitted(cls, values, facts=None, **options):
    facts = facts or {}
    return cls({**facts, **cls(facts, **options).fit(values)}, **options)


def stacked(modality, values) -> torch.Tensor:
    return torch.stack([modality.to_tensor(value) for value in values])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 7])
def test_any_raster_is_normalised_by_its_own_statistics(dtype, channels):
    values = images(dtype=dtype, channels=channels)
    modality = fitted(ImageModality, values, channels=channels)
    ready = modality.preprocessor(InputSpec())(stacked(modality, values))
    assert ready.dtype == torch.float32
    assert ready.shape == (4, channels, 8, 10)
    assert modality.num_channels == channels
    torch.testing.assert_close(ready.mean((0, 2, 3)), torch.zeros(channels), atol=1e-4, rtol=0)
    torch.testing.assert_close(ready.std((0, 2, 3), correction=0), torch.ones(channels), atol=1e-4, rtol=0)


def test_ordinary_pictures_are_normalised_as_the_encoder_was_trained():
    values = images()
    modality = fitted(ImageModality, values)
    ready = modality.preprocessor(IMAGENET)(stacked(modality, values))
    expected = (stacked(modality, values).double() / 255 - torch.tensor(IMAGENET.mean).double().view(3, 1, 1)) / (
        torch.tensor(IMAGENET.std).double().view(3, 1, 1)
    )
    torch.testing.assert_close(ready.double(), expected, atol=1e-5, rtol=0)


def test_twelve_bits_in_sixteen_are_not_made_black_by_the_encoders_statistics():
    values = images(dtype=np.uint16)
    modality = fitted(ImageModality, values)
    ready = modality.preprocessor(IMAGENET)(stacked(modality, values))
    assert abs(float(ready.mean())) < 1e-3


def test_declared_statistics_come_before_all_others():
    modality = fitted(ImageModality, images(), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    ready = modality.preprocessor(IMAGENET)(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))
    torch.testing.assert_close(ready, torch.ones(1, 3, 2, 2))


def test_what_lies_outside_the_picture_is_near_the_mean():
    modality = fitted(ImageModality, images())
    outside = np.full((2, 2, 3), modality.geometry.fill, np.uint8)
    assert modality.preprocessor(InputSpec())(modality.to_tensor(outside)[None]).abs().max() < 0.1


def test_preprocessing_keeps_channels_last():
    modality = fitted(ImageModality, images(), brightness=0.2, hue=0.1)
    inputs = stacked(modality, images()).contiguous(memory_format=torch.channels_last)
    preprocessor = modality.preprocessor(InputSpec())
    for training in (True, False):
        ready = preprocessor.train(training)(inputs)
        assert ready.is_contiguous(memory_format=torch.channels_last)


def test_jitter_happens_in_training_alone_and_is_drawn_for_each_row():
    values = images(num=1) * 3
    modality = fitted(ImageModality, values, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.2)
    preprocessor = modality.preprocessor(InputSpec())
    plain = fitted(ImageModality, values).preprocessor(InputSpec())(stacked(modality, values))
    assert torch.equal(preprocessor.eval()(stacked(modality, values)), plain)
    torch.manual_seed(0)
    first = preprocessor.train()(stacked(modality, values))
    assert not torch.equal(first[0], first[1])
    torch.manual_seed(0)
    assert torch.equal(first, preprocessor(stacked(modality, values)))


def test_colours_are_computed_in_full_precision_under_autocast():
    preprocessor = fitted(ImageModality, images(), contrast=0.3, hue=0.2).preprocessor(InputSpec()).train()
    inputs = stacked(ImageModality({}), images())
    torch.manual_seed(0)
    plain = preprocessor(inputs)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(preprocessor(inputs), plain)


def jittered(image: torch.Tensor, **strength: float) -> torch.Tensor:
    identity = {"mean": (0.0,) * image.shape[1], "std": (1.0,) * image.shape[1]}
    return ImagePreprocessor(**identity, **strength).train()(image)


def brightness(image: torch.Tensor) -> torch.Tensor:
    return torch.einsum("c,bchw->bhw", torch.tensor(LUMINANCE), image)


def test_each_jitter_changes_what_its_name_says():
    torch.manual_seed(1)
    image = torch.rand(6, 3, 5, 5) * 0.2 + 0.4  # far from 0 and 1, so that nothing is cut off
    ratio = jittered(image, brightness=0.3) / image
    torch.testing.assert_close(ratio, ratio[:, :1, :1, :1].expand_as(ratio))
    changed = jittered(image, saturation=0.5)
    torch.testing.assert_close(brightness(changed), brightness(image))
    changed = jittered(image, contrast=0.5)
    torch.testing.assert_close(brightness(changed).mean((1, 2)), brightness(image).mean((1, 2)))
    assert not torch.allclose(changed.std((1, 2, 3)), image.std((1, 2, 3)))
    changed = jittered(image, hue=0.5)
    torch.testing.assert_close(brightness(changed), brightness(image), atol=1e-3, rtol=0)
    assert not torch.allclose(changed, image, atol=0.01)


def test_grey_has_no_hue_to_turn():
    image = torch.rand(2, 1, 4, 4).expand(2, 3, 4, 4).contiguous() * 0.5 + 0.2
    torch.testing.assert_close(jittered(image, hue=0.5, saturation=0.5), image, atol=2e-3, rtol=0)


def test_jitter_works_on_rasters_of_any_number_of_channels_and_stays_within_bounds():
    image = torch.rand(3, 5, 4, 4)
    changed = jittered(image, brightness=1.0, contrast=1.0)
    assert changed.shape == image.shape
    assert changed.min() >= 0
    assert changed.max() <= 1


@pytest.mark.parametrize(
    ("options", "match"),
    [({"channels": 1, "hue": 0.1}, "need 3 channels"), ({"channels": 4, "mean": (0.0,)}, "mean has 1 values")],
)
def test_options_that_cannot_work_together_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        ImageModality({}, **options)


def test_other_bits_than_in_training_are_refused():
    modality = fitted(ImageModality, images())
    with pytest.raises(BadCell, match="uint16 and the training data uint8"):
        modality.read(images(dtype=np.uint16)[0], given)


@pytest.mark.parametrize("cls", [ImageModality, DepthModality])
def test_facts_make_fitting_unnecessary(cls):
    values = images() if cls is ImageModality else [image[..., :1].astype(np.float32) + 1 for image in images()]
    assert cls({}).wants_fit
    assert not fitted(cls, values).wants_fit
    assert fitted(cls, []).preprocessor(InputSpec()) is not None  # a modality that no training sample has


DEPTH = np.array([[[0.0], [1.0]], [[2.0], [4.0]]], np.float32)


@pytest.mark.parametrize(
    ("representation", "values"),
    [("metres", [1, 2, 4]), ("inverse", [1, 0.5, 0.25]), ("log", [0, np.log(2), np.log(4)])],
)
def test_depth_is_normalised_over_what_is_known(representation, values):
    modality = fitted(DepthModality, [DEPTH], representation=representation)
    ready = modality.preprocessor(IMAGENET)(stacked(modality, [DEPTH]))
    expected = (np.array(values) - np.mean(values)) / np.std(values)
    np.testing.assert_allclose(ready.flatten().numpy(), [0, *expected], atol=1e-4)


@pytest.mark.parametrize("garbage", [0.0, -3.0, np.nan, np.inf])
@pytest.mark.parametrize("representation", ["metres", "inverse", "log"])
def test_whatever_an_unknown_pixel_holds_it_becomes_the_mean(garbage, representation):
    modality = fitted(DepthModality, [DEPTH], representation=representation)
    preprocessor = modality.preprocessor(InputSpec())
    dirty = DEPTH.copy()
    dirty[0, 0] = garbage
    assert torch.equal(preprocessor(stacked(modality, [dirty])), preprocessor(stacked(modality, [DEPTH])))


def test_depth_is_clipped_in_metres_and_can_carry_its_validity():
    modality = fitted(DepthModality, [DEPTH], clip=(0.0, 2.0), validity=True)
    ready = modality.preprocessor(InputSpec())(stacked(modality, [DEPTH]))
    assert modality.num_channels == ready.shape[1] == 2
    assert ready[0, 0, 1, 0] == ready[0, 0, 1, 1]
    assert ready[0, 1].tolist() == [[0, 1], [1, 1]]


def test_the_option_of_the_unit_comes_before_what_the_format_declares():
    stored = np.full((2, 2), 1000, np.uint16)
    assert DepthModality({"metres_per_unit": 0.001}).read(stored, given).max() == pytest.approx(1)
    assert DepthModality({"metres_per_unit": 0.001}, metres_per_unit=0.002).read(stored, given).max() == pytest.approx(
        2
    )
    with pytest.raises(ValueError, match="nearest < farthest"):
        DepthModality({}, clip=(3.0, 1.0))


def test_every_raster_can_be_drawn():
    for dtype in (np.uint8, np.uint16, np.float32):
        for channels in (1, 2, 3, 7):
            value = images(dtype=dtype, channels=channels)[0]
            assert ImageModality({}, channels=channels).draw(value).size == (10, 8)
    assert np.array_equal(np.asarray(ImageModality({}).draw(images()[0])), images()[0])
    drawn = np.asarray(DepthModality({}).draw(DEPTH))[..., 0]
    assert drawn[0, 0] == 0
    assert drawn[0, 1] > drawn[1, 1] > 0  # near is bright
    assert np.asarray(DepthModality({}).draw(0 * DEPTH)).max() == 0
