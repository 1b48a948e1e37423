"""The paired bootstrap agrees with what is known of means, and resamples whole groups."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.report.fake_run import CLASSES, SegmentationScores, make_records
from weft.metrics.bootstrap import align, draws, percentiles
from weft.report.bootstrap import paired_differences
from weft.types import Records


class Mean:
    """The mean of the row `x`, and a figure that no sample can tell."""

    def figures(self, records: Records) -> dict[str, float]:
        return {"mean": float(records.rows["x"].mean()), "unknown": math.nan}


def of(values: np.ndarray, ids: list[str] | None = None) -> Records:
    return Records(ids or [f"s{index}" for index in range(len(values))], {"x": np.asarray(values, dtype=float)})


def test_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    random = np.random.default_rng(0)
    shared = random.normal(0, 5, 400)  # what is hard for one is hard for the other: pairing takes it out
    first, second = shared + random.normal(0, 1, 400), shared + random.normal(0.3, 1, 400)
    found = paired_differences(Mean(), of(first), of(second), groups={}, num_resamples=4000)["mean"]
    difference = second - first
    error = 1.96 * difference.std(ddof=1) / math.sqrt(400)
    assert found.value == pytest.approx(difference.mean())
    assert found.interval.low == pytest.approx(difference.mean() - error, abs=0.06 * error)
    assert found.interval.high == pytest.approx(difference.mean() + error, abs=0.06 * error)
    assert found.count == 400


def test_two_samples_give_the_quantiles_worked_by_hand() -> None:
    # differences 0 and 2: a resample's mean is 0, 1 or 2 with chances 1/4, 1/2, 1/4
    found = paired_differences(Mean(), of(np.array([5.0, 7.0])), of(np.array([5.0, 9.0])), groups={}, level=0.4)
    assert (found["mean"].value, found["mean"].interval.low, found["mean"].interval.high) == (1, 1, 1)
    wide = paired_differences(Mean(), of(np.array([5.0, 7.0])), of(np.array([5.0, 9.0])), groups={})
    assert (wide["mean"].interval.low, wide["mean"].interval.high) == (0, 2)
    assert not wide["mean"].excludes_zero


def test_equal_answers_differ_by_nothing() -> None:
    found = paired_differences(Mean(), of(np.arange(9)), of(np.arange(9)), groups={})["mean"]
    assert (found.value, found.interval.low, found.interval.high) == (0, 0, 0)
    assert not found.excludes_zero


def test_a_constant_gain_excludes_zero_on_either_side() -> None:
    up = paired_differences(Mean(), of(np.arange(9)), of(np.arange(9) + 1), groups={})["mean"]
    down = paired_differences(Mean(), of(np.arange(9)), of(np.arange(9) - 1), groups={})["mean"]
    assert up.excludes_zero
    assert down.excludes_zero
    assert (up.interval.low, down.interval.high) == pytest.approx((1, -1))


def test_groups_widen_the_interval_as_their_theory_says() -> None:
    random = np.random.default_rng(1)
    of_group = np.repeat(random.normal(0, 1, 100), 10)  # ten samples of a group share one value
    first, second = of(np.zeros(1000)), of(of_group)
    groups = {sample: f"g{index // 10}" for index, sample in enumerate(first.ids)}
    found = paired_differences(Mean(), first, second, groups=groups, num_resamples=2000)["mean"].interval
    expected = 2 * 1.96 * of_group[::10].std(ddof=1) / math.sqrt(100)
    assert found.high - found.low == pytest.approx(expected, rel=0.06)


def test_groups_are_drawn_whole() -> None:
    for index in draws(["a", "b", "a", "", "b", ""], 50, seed=0):
        counts = np.bincount(index, minlength=6)
        assert counts[0] == counts[2]
        assert counts[1] == counts[4]
        assert counts[[0, 1, 3, 5]].sum() == 4  # as many units as there are


def test_only_samples_of_both_are_paired_whatever_their_order() -> None:
    first, second = of(np.array([1, 2, 3]), ["a", "b", "c"]), of(np.array([30, 10]), ["c", "a"])
    one, two = align(first, second)
    assert one.ids == two.ids == ["a", "c"]
    assert two.rows["x"].tolist() == [10, 30]
    assert paired_differences(Mean(), first, second, groups={})["mean"].value == 18


def test_no_common_sample_is_no_difference() -> None:
    assert paired_differences(Mean(), of(np.ones(2), ["a", "b"]), of(np.ones(1), ["c"]), groups={}) == {}


def test_a_figure_that_cannot_be_told_has_no_interval() -> None:
    found = paired_differences(Mean(), of(np.arange(4)), of(np.arange(4)), groups={})["unknown"]
    assert math.isnan(found.value)
    assert not found.interval.has_range
    assert not found.excludes_zero


def test_resamples_that_cannot_tell_a_figure_are_left_out() -> None:
    rare = np.array([[1.0, math.nan], [2.0, math.nan], [3.0, 5.0]])
    low, high = percentiles(rare, 1.0)
    assert (low[0], high[0]) == (1, 3)
    assert math.isnan(low[1])  # fewer than half of them could


def test_the_same_seed_gives_the_same_interval() -> None:
    records = [make_records("rooms", key, num_samples=12, skill=0, seed=0) for key in ("image", "image+depth")]
    runs = [paired_differences(SegmentationScores(), *records, groups={}, num_resamples=50) for _ in range(2)]
    assert set(runs[0]) == {"mIoU", "pixel_accuracy", *(f"IoU/{name}" for name in CLASSES)}
    assert runs[0]["mIoU"] == runs[1]["mIoU"]
