"""One geometry per sample: every kind moves together, and nothing appears that was not there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.data.geometry import Warp, apply, draw, generator, resize
from weft.experiment import Augment
from weft.modalities.base import Geometry

IMAGE, LABEL, POINTS = Geometry("image"), Geometry("label", fill=255), Geometry("points")
DEPTH = Geometry("image", fill=0, unknown=0)
ALL = Augment(flip=0.5, scale=(0.4, 2.0), rotate=30, crop=(24, 20))


def drawn(augment: Augment, *, source=(32, 40), size=None, seed=0) -> Warp:
    return draw(source, size, augment, generator(seed, "test"))


def test_evaluation_without_a_size_returns_the_very_array():
    image = np.zeros((4, 5, 3), np.uint8)
    assert apply(resize((4, 5), None), image, IMAGE) is image
    assert apply(resize((4, 5), (4, 5)), image, IMAGE) is image


def test_training_without_augmentation_is_evaluation():
    assert drawn(Augment()).is_identity
    image = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)
    same = apply(drawn(Augment(), size=(16, 20)), image, IMAGE)
    assert np.array_equal(same, apply(resize((32, 40), (16, 20)), image, IMAGE))


def test_a_flip_is_exact_for_every_kind():
    random = np.random.default_rng(0)
    warp = drawn(Augment(flip=1.0))
    image = random.integers(0, 256, (32, 40, 3), np.uint8)
    depth = random.random((32, 40, 1)).astype(np.float32)
    label = random.integers(0, 9, (32, 40)).astype(np.int32)
    assert np.array_equal(apply(warp, image, IMAGE), image[:, ::-1])
    assert np.array_equal(apply(warp, depth, DEPTH), depth[:, ::-1])
    assert np.array_equal(apply(warp, label, LABEL), label[:, ::-1])
    points = np.array([[0, 0, 1], [10, 4, 0]], np.float32)
    assert apply(warp, points, POINTS).tolist() == [[40, 0, 1], [30, 4, 0]]


def test_a_crop_is_a_window_of_the_image():
    image = np.arange(32 * 40, dtype=np.uint16).reshape(32, 40, 1)
    warp = drawn(Augment(crop=(10, 12)), seed=3)
    cut = apply(warp, image, IMAGE)
    top, left = divmod(int(cut[0, 0, 0]), 40)
    assert np.array_equal(cut, image[top : top + 10, left : left + 12])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), dtype=st.sampled_from([np.uint8, np.int16, np.int32]))
def test_labels_after_are_labels_before_or_fill(seed, dtype):
    label = generator(seed).integers(0, 200, (32, 40)).astype(dtype)
    for size in (None, (17, 50), (64, 64)):
        moved = apply(drawn(ALL, size=size, seed=seed), label, LABEL)
        assert moved.shape == (24, 20)
        assert moved.dtype == dtype
        assert set(np.unique(moved)) <= set(np.unique(label)) | {255}
        plain = apply(resize((32, 40), size), label, LABEL)
        assert set(np.unique(plain)) <= set(np.unique(label))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_point_stays_on_what_it_marks(seed):
    # a blob's centre of mass after the warp is where its centre was moved to
    rows, columns = np.mgrid[0:64, 0:64]
    image = np.exp(-((columns + 0.5 - 30) ** 2 + (rows + 0.5 - 35) ** 2) / 30).astype(np.float32)[..., None]
    warp = draw((64, 64), None, Augment(flip=0.5, scale=(0.7, 1.4), rotate=45), generator(seed))
    x, y, visible = apply(warp, np.array([[30, 35, 1]], np.float32), POINTS)[0]
    moved = apply(warp, image, IMAGE)[..., 0]
    if 15 < x < 49 and 15 < y < 49:
        assert visible == 1
        assert (moved * (columns + 0.5)).sum() / moved.sum() == pytest.approx(x, abs=0.1)
        assert (moved * (rows + 0.5)).sum() / moved.sum() == pytest.approx(y, abs=0.1)


def test_labels_and_images_move_alike():
    # a label map of one disc and a picture of it disagree only along the edge
    rows, columns = np.mgrid[0:64, 0:64]
    disc = (rows - 30) ** 2 + (columns - 36) ** 2 < 200
    for seed in range(20):
        warp = draw((64, 64), (48, 48), Augment(flip=0.5, scale=(0.5, 2.0), rotate=20), generator(seed))
        image = apply(warp, disc.astype(np.float32)[..., None], IMAGE)[..., 0] > 0.5
        label = apply(warp, disc.astype(np.uint8), Geometry("label")) == 1
        border = apply(warp, disc.astype(np.float32)[..., None], IMAGE)[..., 0]
        assert (image == label)[(border < 0.01) | (border > 0.99)].all()


def test_a_point_that_leaves_the_picture_is_no_longer_visible():
    warp = Warp(np.array([[1.0, 0, 100], [0, 1, 0]]), (32, 40), (32, 40), resizes=False)
    assert apply(warp, np.array([[3, 4, 1]], np.float32), POINTS).tolist() == [[103, 4, 0]]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_unknown_depth_enters_no_mean(seed):
    random = generator(seed)
    depth = np.where(random.random((32, 40, 1)) < 0.4, 0, random.uniform(5, 6, (32, 40, 1))).astype(np.float32)
    for warp in (drawn(ALL, seed=seed), resize((32, 40), (16, 20)), resize((32, 40), (50, 70))):
        moved = apply(warp, depth, DEPTH)
        known = moved[moved > 0]
        assert np.all((known >= 4.999) & (known <= 6.001))


def test_other_marks_of_the_unknown_work_too():
    values = np.full((8, 8, 1), 3.0, np.float32)
    values[:, 4:] = -1e30
    half = apply(resize((8, 8), (4, 4)), values, Geometry("image", fill=-1e30, unknown=-1e30))
    assert np.array_equal(half[..., 0], np.where(np.arange(4) < 2, np.float32(3), np.float32(-1e30))[None].repeat(4, 0))


def test_shrinking_averages_what_a_bilinear_look_would_skip():
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::4] = 255  # a quarter is white
    small = draw((64, 64), (16, 16), Augment(rotate=1), generator(0))
    assert apply(small, stripes, IMAGE)[4:-4, 4:-4].mean() == pytest.approx(255 / 4, abs=12)
    assert np.all(np.abs(apply(resize((64, 64), (16, 16)), stripes, IMAGE) - 64.0) <= 1)


@pytest.mark.parametrize("channels", [1, 2, 5, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_any_number_of_channels_and_bits_moves(channels, dtype):
    image = np.ones((32, 40, channels), dtype)
    for warp in (drawn(ALL), resize((32, 40), (8, 8)), resize((32, 40), (80, 80))):
        moved = apply(warp, image, IMAGE)
        assert moved.shape == (*warp.size, channels)
        assert moved.dtype == dtype


def test_random_numbers_depend_on_the_words_alone():
    assert generator(1, 2, "a").random() == generator(1, 2, "a").random()
    assert (
        len({generator(*words).random() for words in ((1, 2, "a"), (1, 3, "a"), (2, 2, "a"), (1, 2, "b"), (12, "a"))})
        == 5
    )


def test_the_flip_does_not_depend_on_the_other_options():
    def flips(augment: Augment) -> list[bool]:
        return [bool(np.linalg.det(drawn(augment, seed=seed).matrix[:, :2]) < 0) for seed in range(30)]

    assert flips(Augment(flip=0.5)) == flips(ALL)
    assert 5 < sum(flips(ALL)) < 25
