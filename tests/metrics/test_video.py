"""Masks over time: J, F and what they are over a clip, by hand and at the limits; motion and what it carries along."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from weft.metrics.motion import SMALLEST_SIDE, carried, motion_back, turned_back
from weft.metrics.video import OverTime, boundary, boundary_f, region


def square(left: int, top: int, side: int = 10, shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


EMPTY = np.zeros((60, 80), bool)


def test_the_region_measure_by_hand() -> None:
    # two squares of 100 pixels share 8 x 10 of them: 80 / 120
    assert region(square(20, 20), square(22, 20)) == pytest.approx(80 / 120)
    assert region(square(20, 20), square(20, 20)) == 1
    assert region(EMPTY, EMPTY) == 1
    assert region(square(20, 20), EMPTY) == region(EMPTY, square(20, 20)) == 0


def test_a_boundary_is_where_the_right_the_lower_or_the_next_pixel_across_is_on_the_other_side() -> None:
    found = boundary(square(2, 1, side=2, shape=(4, 6)))
    expected = np.array([[0, 1, 1, 1, 0, 0], [0, 1, 0, 1, 0, 0], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]], bool)
    np.testing.assert_array_equal(found, expected)


def test_a_mask_that_reaches_the_border_has_no_boundary_there() -> None:
    np.testing.assert_array_equal(boundary(np.ones((5, 7), bool)), np.zeros((5, 7), bool))
    half = np.zeros((3, 4), bool)
    half[:, 2:] = True
    np.testing.assert_array_equal(boundary(half), np.tile([False, True, False, False], (3, 1)))


def test_the_boundary_measure_by_hand() -> None:
    # 0.008 of the diagonal of 100 is 0.8, and so one pixel; the boundary of a square of side 10 is a ring of 40 pixels.
    # Shifted by one to the right each of them lies beside another. Shifted by three, in the upper and the lower row 8
    # pixels lie on others and one beside, and of the left side the two below and above those rows are near: 20 of 40.
    assert boundary(square(20, 20)).sum() == 40
    assert boundary_f(square(20, 20), square(21, 20)) == 1
    assert boundary_f(square(20, 20), square(23, 20)) == pytest.approx(20 / 40)


def test_precision_and_recall_of_a_boundary_are_not_the_same_thing() -> None:
    # a second square far away: all 40 true pixels are found, 40 of 80 said ones are right
    both = square(20, 20) | square(50, 20)
    assert boundary_f(both, square(20, 20)) == pytest.approx(2 * 0.5 / 1.5)
    assert boundary_f(square(20, 20), both) == pytest.approx(2 * 0.5 / 1.5)


def test_the_tolerance_is_a_share_of_the_diagonal_rounded_up_to_pixels() -> None:
    moved = square(22, 20)
    assert boundary_f(moved, square(20, 20), tolerance=0.01) < 1  # 1 of 100
    assert boundary_f(moved, square(20, 20), tolerance=0.0101) == 1  # rounded up to 2


def test_boundaries_agree_with_distances_measured_pixel_by_pixel() -> None:
    random = np.random.default_rng(0)
    for _ in range(5):
        said, truth = (square(*random.integers(10, 40, 2), side=int(random.integers(4, 14))) for _ in range(2))
        ours, theirs = np.argwhere(boundary(said)), np.argwhere(boundary(truth))
        near = np.linalg.norm(ours[:, None] - theirs, axis=-1) <= 3
        precision, recall = near.any(1).mean(), near.any(0).mean()
        expected = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        assert boundary_f(said, truth, tolerance=0.03) == pytest.approx(expected)


def test_without_a_boundary_silence_is_right() -> None:
    assert boundary_f(EMPTY, EMPTY) == 1
    assert boundary_f(square(20, 20), EMPTY) == boundary_f(EMPTY, square(20, 20)) == 0


def test_mean_recall_and_decay_by_hand() -> None:
    # nine frames: quarters meet at frames 2, 4 and 6, which both have
    values = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.4, 0.2, 0.0])
    found = OverTime.of(values)
    assert found.mean == pytest.approx(4.6 / 9)
    assert found.recall == pytest.approx(4 / 9)  # above 0.5, not at it
    assert found.decay == pytest.approx(0.8 - 0.2)


@pytest.mark.parametrize(
    ("num_frames", "first", "last"),
    # round(1 + i (n - 1) / 4) - 1 with halves up, as DAVIS' tools have it
    [
        (1, [0], [0]),
        (2, [0], [1]),
        (3, [0, 1], [2]),
        (4, [0, 1], [2, 3]),
        (7, [0, 1, 2], [5, 6]),
        (8, [0, 1, 2], [5, 6, 7]),
    ],
)
def test_the_quarters_are_those_of_the_official_tools(num_frames, first, last) -> None:
    values = 2.0 ** -np.arange(num_frames)
    assert OverTime.of(values).decay == pytest.approx(values[first].mean() - values[last].mean())


def textured(shape: tuple[int, int] = (48, 64)) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    waves = np.sin(columns / 3.1) + np.sin(rows / 2.3) + np.sin((rows + columns) / 5.7)
    return (128 + 40 * waves).astype(np.uint8)


def moving(steps: int, right: int, down: int) -> np.ndarray:
    """(T, 48, 64, 1): a window that moves left and up over a picture, so that all in it moves right and down."""
    big = textured((48 + steps * abs(down) + 8, 64 + steps * abs(right) + 8))
    corners = [((steps - t) * down, (steps - t) * right) for t in range(steps)]
    return np.stack([big[top : top + 48, left : left + 64] for top, left in corners])[..., None]


def test_motion_points_back_to_where_a_pixel_was() -> None:
    found = motion_back(moving(3, right=3, down=2))
    assert np.isnan(found[0]).all()
    inner = found[1:, 8:-8, 8:-8]
    assert np.isfinite(inner).mean() > 0.95
    np.testing.assert_allclose(np.nanmedian(inner, (0, 1, 2)), [-3, -2], atol=0.25)


def test_where_a_pixel_was_outside_the_picture_its_motion_is_not_known() -> None:
    found = motion_back(moving(2, right=4, down=0))
    assert np.isnan(found[1, :, :2]).all()


def test_motion_does_not_depend_on_what_was_looked_at_before() -> None:
    frames = moving(4, right=2, down=1)
    np.testing.assert_array_equal(motion_back(frames)[2:], motion_back(frames[1:])[1:])


def test_motion_of_one_frame_is_not_known_and_frames_too_small_are_refused() -> None:
    assert np.isnan(motion_back(textured()[None, ..., None])).all()
    with pytest.raises(ValueError, match="frames are 20x10 pixels"):
        motion_back(np.zeros((2, 10, 20, 3), np.uint8))
    side = SMALLEST_SIDE
    assert motion_back(textured((side, side))[None, ..., None].repeat(2, 0))[1].shape == (side, side, 2)


def test_what_is_carried_along_lies_where_the_motion_says() -> None:
    values = torch.arange(12.0).view(1, 1, 3, 4)
    motion = torch.zeros(1, 3, 4, 2)
    motion[..., 0] = -1  # each pixel was one to the left
    torch.testing.assert_close(carried(values, motion)[0, 0, :, 1:], values[0, 0, :, :-1])
    motion[..., 0], motion[..., 1] = 0.5, 1
    between = carried(values, motion)[0, 0, :2, :3]
    torch.testing.assert_close(between, values[0, 0, 1:, :3] + 0.5)
    nearest = carried(values, torch.full_like(motion, 0.4), nearest=True)
    torch.testing.assert_close(nearest, values)


def test_motion_forward_turned_back_by_hand() -> None:
    # two pixels that move by half a pixel arrive half at 0, wholly at 1 and half at 2; nothing arrives at 3
    forward = np.full((1, 4, 2), np.nan, np.float32)
    forward[0, :2] = (0.5, 0)
    back = turned_back(forward)
    assert back[0, :3, 0].tolist() == [-0.5] * 3
    assert np.isnan(back[0, 3]).all()
    # at 1 arrive 0.5 and 1 in equal parts: their mean, 0.0625 around it; 3 and 0 are too far apart to be one thing
    forward[0, :2] = [(0.5, 0), (0, 0)]
    forward[0, 0, 0] = 1
    assert turned_back(forward)[0, 1, 0] == -0.5
    forward[0, 0, 0] = 3
    forward[0, 3] = (0, 0)
    assert np.isnan(turned_back(forward)[0, 3]).all()


def test_a_picture_that_moves_evenly_is_turned_back_wherever_it_came_from_inside() -> None:
    rows, columns = np.mgrid[:20, :30].astype(np.float32)
    forward = np.stack([0.05 * columns - 0.1 * rows + 0.3, 0.1 * columns - 1.2], -1)
    back = turned_back(forward)
    known = ~np.isnan(back).any(-1)
    # exactly: y = x + A x + b, so x = (I + A)⁻¹ (y − b), and the way back is x − y
    linear = np.array([[0.05, -0.1], [0.1, 0]])
    places = np.stack([columns, rows], -1)
    expected = (places - (0.3, -1.2)) @ np.linalg.inv(np.eye(2) + linear).T - places
    inner = np.zeros_like(known)
    inner[4:-4, 4:-4] = True
    assert known[inner].all()
    np.testing.assert_allclose(back[inner], expected[inner], atol=0.05)


def test_motion_turned_back_agrees_with_its_formula_pixel_by_pixel() -> None:
    forward = np.random.default_rng(0).normal(0, 0.5, (7, 9, 2)).astype(np.float32)
    forward[2, 3] = np.nan
    forward[5, 6] = (40, -40)
    expected = np.full((7, 9, 2), np.nan)
    for row, column in np.ndindex(7, 9):
        pairs = [
            (max(0, 1 - abs(column - x - u)) * max(0, 1 - abs(row - y - v)), u, v)
            for (y, x), (u, v) in zip(np.ndindex(7, 9), forward.reshape(-1, 2).tolist(), strict=True)
            if not np.isnan(u)
        ]
        arrived = sum(k for k, _, _ in pairs)
        if arrived < 0.5:
            continue
        back = [-sum(k * u for k, u, _ in pairs) / arrived, -sum(k * v for k, _, v in pairs) / arrived]
        square = sum(k * (u * u + v * v) for k, u, v in pairs) / arrived
        spread = sum(k * ((u + back[0]) ** 2 + (v + back[1]) ** 2) for k, u, v in pairs) / arrived
        if spread <= 0.01 * square + 0.5:
            expected[row, column] = back
    assert 0.05 < np.isnan(expected).any(-1).mean() < 0.6  # so that both kinds are compared
    np.testing.assert_allclose(turned_back(forward), expected, atol=1e-5)
