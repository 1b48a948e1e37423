"""Scoring: which batches are corrupted, and what a corruption costs."""

from __future__ import annotations

import pytest

from weft.engine.score import spread


@pytest.mark.parametrize(
    ("num_batches", "num_samples", "limit", "places"),
    [
        (41, 327, 48, {0, 7, 13, 20, 27, 33, 40}),  # 48 samples are 6.02 of these batches
        (3, 20, 48, {0, 1, 2}),
        (10, 80, 8, {0}),
        (10, 80, 0, set()),
        (0, 0, 48, set()),
    ],
)
def test_corrupted_batches_are_spread_over_the_split(
    num_batches: int, num_samples: int, limit: int, places: set[int]
) -> None:
    assert spread(num_batches, num_samples, limit) == places
