"""Where a token stands, against numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from weft.fusion.positions import grid_positions, sequence_positions, sinusoids

CPU = torch.device("cpu")


def test_sinusoids_are_those_of_the_article() -> None:
    codes = sinusoids(torch.tensor([0, 3]), 4)
    assert codes[0].tolist() == [0, 0, 1, 1]
    expected = [math.sin(3), math.sin(3 / 100), math.cos(3), math.cos(3 / 100)]
    assert codes[1].tolist() == pytest.approx(expected)


def test_a_sequence_goes_on_for_any_length_without_changing_its_beginning() -> None:
    short, long = sequence_positions(5, 16, device=CPU), sequence_positions(5000, 16, device=CPU)
    torch.testing.assert_close(short, long[:5])
    assert len(long.unique(dim=0)) == 5000  # no two places are the same


def test_a_place_of_a_map_has_its_row_in_the_first_half_and_its_column_in_the_second() -> None:
    codes = grid_positions((1, 3, 5), 8, device=CPU).unflatten(0, (3, 5))
    rows, columns = sinusoids(torch.arange(3), 4), sinusoids(torch.arange(5), 4)
    torch.testing.assert_close(codes[2, 4], torch.cat([rows[2], columns[4]]))
    assert torch.equal(codes[:, 0, :4], codes[:, 3, :4])  # one row
    assert torch.equal(codes[0, :, 4:], codes[2, :, 4:])  # one column


def test_the_same_place_in_maps_of_two_strides_has_the_same_numbers_between_neighbours() -> None:
    fine, coarse = grid_positions((1, 4, 4), 8, device=CPU), grid_positions((1, 2, 2), 8, step=2, device=CPU)
    # the first coarse token covers the four first fine ones, and its middle is their corner
    torch.testing.assert_close(coarse[0, :4], sinusoids(torch.tensor([0.5]), 4)[0])
    nearest = torch.cdist(coarse, fine).topk(4, largest=False).indices.sort().values
    assert nearest.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


def test_frames_of_a_clip_are_told_apart_and_one_alone_is_the_first_of_several() -> None:
    still, *clips = (grid_positions((t, 2, 2), 8, in_time=bool(t - 1), device=CPU) for t in (1, 2, 3))
    frames = sinusoids(torch.arange(3), 8)
    torch.testing.assert_close(clips[1].unflatten(0, (3, 4))[2], still + frames[2])
    assert torch.equal(clips[0], clips[1][:8])
    alone = grid_positions((1, 2, 2), 8, in_time=True, device=CPU)
    assert torch.equal(alone, clips[1][:4])
