"""Features of clips: frames that are real, frames that only fill up a batch, and how rows of both are put together."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from weft.types import Features, FeatureSpec

#: Two clips of 3 and 1 frames: the four real frames are numbered 1, 2, 3 and 4.
REAL = torch.tensor([[True, True, True], [True, False, False]])


def stills(numbers: tuple[int, ...] = (1, 2, 3, 4)) -> Features:
    """A still per number: a deepest map of 1 x 2 places with that number, a finer one of 2 x 4 with ten times it."""
    values = torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1, 1)
    return Features.of_pyramid([10 * values.expand(-1, 1, 2, 4), values.expand(-1, 3, 1, 2)])


def clips() -> Features:
    return Features.of_frames(stills(), REAL)


def numbers_of(features: Features) -> list[list[float]]:
    """What stands at the first place of every frame."""
    assert features.grid is not None
    first: Tensor = features.tokens.unflatten(1, (features.grid[0], -1))[:, :, 0, 0]
    return first.tolist()


def test_real_frames_stand_by_clip_and_time_and_the_others_are_zero() -> None:
    features = clips()
    assert features.grid == (3, 1, 2)
    assert numbers_of(features) == [[1, 2, 3], [4, 0, 0]]
    assert features.maps[0].shape == (2, 3, 1, 2, 4)
    assert features.maps[0][:, :, 0, 1, 3].tolist() == [[10, 20, 30], [40, 0, 0]]
    assert features.mask.tolist() == [[True] * 6, [True] * 2 + [False] * 4]
    assert torch.equal(features.frames, REAL)
    assert features.pooled[:, 0].tolist() == [2, 4]


def test_vectors_of_frames_are_a_sequence_of_one_token_a_frame() -> None:
    features = Features.of_frames(Features.of_vector(torch.tensor([[1.0], [2.0], [3.0], [4.0]])), REAL)
    assert features.grid is None
    assert features.tokens[:, :, 0].tolist() == [[1, 2, 3], [4, 0, 0]]
    assert torch.equal(features.mask, REAL)
    with pytest.raises(ValueError, match="no frames"):
        _ = features.frames


def test_the_pyramid_of_a_clip_has_its_frames_as_rows() -> None:
    fine, deepest = clips().pyramid
    assert deepest.shape == (6, 3, 1, 2)
    assert fine.shape == (6, 1, 2, 4)
    assert deepest[:, 0, 0, 1].tolist() == [1, 2, 3, 4, 0, 0]


def test_clips_of_different_lengths_are_joined_and_cut_again() -> None:
    long = Features.of_frames(stills((1, 2, 3)), REAL[:1])
    short = Features.of_frames(stills((4,)), REAL[1:, :1])
    joined = Features.join([short, long])
    assert numbers_of(joined) == [[4, 0, 0], [1, 2, 3]]
    assert torch.equal(joined.frames, REAL.flip(0))
    assert joined.maps[0][:, :, 0, 0, 0].tolist() == [[40, 0, 0], [10, 20, 30]]
    first, second = (row.trimmed() for row in joined.rows())
    for ours, theirs in ((first, short), (second, long)):
        assert ours.grid == theirs.grid
        assert torch.equal(ours.tokens, theirs.tokens)
        assert torch.equal(ours.mask, theirs.mask)
        assert torch.equal(ours.maps[0], theirs.maps[0])
        assert [level.shape for level in ours.pyramid] == [level.shape for level in theirs.pyramid]


def test_rows_that_are_put_among_absent_ones_keep_their_frames() -> None:
    features = clips().scatter(torch.tensor([False, True, True]))
    assert numbers_of(features) == [[0, 0, 0], [1, 2, 3], [4, 0, 0]]
    assert features.frames.tolist() == [[False] * 3, *REAL.tolist()]
    kept = features.keep(torch.tensor([True, False, True]))
    assert kept.frames.any(1).tolist() == [False, False, True]
    assert not kept.maps[0][1].any()


def test_only_some_levels_of_a_clip_are_kept() -> None:
    features = clips().only([1])
    assert features.maps == ()
    assert features.pyramid[0].shape == (6, 3, 1, 2)


def test_an_absent_clip_is_one_frame_that_is_not_real() -> None:
    spec = FeatureSpec("clip", 3, (1, 3), (4, 8))
    empty = spec.empty(2, (8, 16), like=torch.zeros(()))
    assert empty.grid == (1, 1, 2)
    assert empty.maps[0].shape == (2, 1, 1, 2, 4)
    assert not empty.frames.any()
    assert empty.trimmed().grid == (1, 1, 2)  # a clip has one frame at least
