"""Edges matched in place: by hand, against an assignment that is exact, and at the limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from weft.metrics.edges import THRESHOLDS, EdgeCounts, count_edges, reach_of, thinned

EVERYWHERE = np.ones((20, 30), bool)


def line(column: int, shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    edges = np.zeros(shape, bool)
    edges[:, column] = True
    return edges


def at(counts: EdgeCounts, threshold: float) -> tuple[int, int, int]:
    place = int(np.abs(THRESHOLDS - threshold).argmin())
    return int(counts.answered[place]), int(counts.right[place]), int(counts.found[place])


@pytest.mark.parametrize("matching", ["nearest", "exact"])
def test_an_edge_within_reach_is_right_and_beyond_it_is_not(matching) -> None:
    answer = 0.9 * line(12).astype(np.float32)
    near = count_edges(answer, line(10), EVERYWHERE, reach=2.0, matching=matching)
    assert at(near, 0.6) == (20, 20, 20)
    assert at(near, 0.96) == (0, 0, 0)
    assert near.f.max() == near.average_precision == 1
    far = count_edges(answer, line(10), EVERYWHERE, reach=1.9, matching=matching)
    assert at(far, 0.6) == (20, 0, 0)
    assert far.f.max() == far.average_precision == 0


def test_two_answers_beside_one_edge_are_one_too_many_only_where_matching_is_exact() -> None:
    answer = (line(9) | line(11)).astype(np.float32)
    assert at(count_edges(answer, line(10), EVERYWHERE, reach=1.0), 0.5) == (40, 40, 20)
    assert at(count_edges(answer, line(10), EVERYWHERE, reach=1.0, matching="exact"), 0.5) == (40, 20, 20)


def test_exact_matching_is_the_best_assignment() -> None:
    random = np.random.default_rng(0)
    for _ in range(5):
        answer = np.where(random.random((12, 15)) > 0.8, random.random((12, 15)), 0).astype(np.float32)
        truth = random.random((12, 15)) > 0.85
        counts = count_edges(answer, truth, np.ones_like(truth), reach=1.5, matching="exact")
        for place in (0, 10, 25):
            said, true = np.argwhere(answer >= THRESHOLDS[place]), np.argwhere(truth)
            close = np.linalg.norm(said[:, None] - true, axis=-1) <= 1.5
            rows, columns = linear_sum_assignment(-close.astype(int))
            assert counts.right[place] == counts.found[place] == close[rows, columns].sum()


def test_nearest_matching_finds_no_less_and_on_lines_apart_the_same() -> None:
    random = np.random.default_rng(1)
    truth = line(5) | line(22)
    answer = random.random((20, 30)).astype(np.float32) * (line(6) | line(15))
    quick = count_edges(answer, truth, EVERYWHERE, reach=1.0)
    exact = count_edges(answer, truth, EVERYWHERE, reach=1.0, matching="exact")
    np.testing.assert_array_equal(quick.answered, exact.answered)
    np.testing.assert_array_equal(quick.right, exact.right)
    assert (quick.found >= exact.found).all()


@pytest.mark.parametrize("matching", ["nearest", "exact"])
def test_what_is_answered_where_nothing_is_known_is_left_out_unless_it_meets_an_edge(matching) -> None:
    known = ~(line(11) | line(20))
    answer = (line(11) | line(20)).astype(np.float32)
    counts = count_edges(answer, line(10), known, reach=1.0, matching=matching)
    assert at(counts, 0.5) == (20, 20, 20)


@pytest.mark.parametrize("matching", ["nearest", "exact"])
def test_without_edges_silence_is_right(matching) -> None:
    nothing = np.zeros((20, 30), bool)
    silent = count_edges(nothing.astype(np.float32), nothing, EVERYWHERE, reach=1.0, matching=matching)
    assert silent.f.min() == 1
    loud = count_edges(0.5 * line(3).astype(np.float32), nothing, EVERYWHERE, reach=1.0, matching=matching)
    assert at(loud, 0.3) == (20, 0, 0)
    assert (loud.f[0], loud.f[-1]) == (0, 1)
    assert np.isnan(loud.average_precision)


def test_precision_recall_and_average_precision_by_hand() -> None:
    counts = np.zeros((3, len(THRESHOLDS)), int)
    counts[:, :20] = [[10], [6], [8]]  # up to some threshold: 10 answered, 6 right, 8 of 16 found
    counts[:, 20:] = [[4], [4], [4]]
    edges = EdgeCounts(*counts, np.array(16))
    assert edges.f[0] == pytest.approx(2 * 0.6 * 0.5 / 1.1)
    assert edges.f[-1] == pytest.approx(2 * 0.25 / 1.25)
    assert edges.average_precision == pytest.approx(0.25 * 1 + 0.25 * 0.6)


def test_the_reach_is_a_share_of_the_diagonal() -> None:
    assert reach_of((240, 320), 0.0075) == 3


@pytest.mark.parametrize("angle", [0, 20, 45, 70, 90, 130])
def test_a_blurred_line_becomes_one_pixel_thin_and_stays_in_its_place(angle: int) -> None:
    y, x = np.mgrid[0:61, 0:61].astype(np.float32) - 30
    aside = x * np.cos(np.radians(angle)) + y * np.sin(np.radians(angle))
    probability = np.exp(-np.square(aside) / 8).astype(np.float32)
    thin = thinned(probability)
    inner = (slice(5, -5), slice(5, -5))
    on = thin[inner] > 0.3
    assert np.abs(aside[inner][on]).max() < 1
    assert 45 <= on.sum() <= 51 * 1.1  # one in each row, or in each column
    assert (thin[thin > 0] == probability[thin > 0]).all()


def test_a_wide_flat_line_becomes_one_pixel_thin() -> None:
    wide = (line(10) | line(11) | line(12)).astype(np.float32)
    assert (thinned(wide) > 0).sum(1).tolist() == [1] * 20


def test_thinning_is_done_with_a_line_that_is_thin() -> None:
    thin = line(10).astype(np.float32)
    np.testing.assert_array_equal(thinned(thin), thin)
