"""Bootstrap intervals against what is known of a mean."""

from __future__ import annotations

import math

import numpy as np
import pytest

from weft.metrics.bootstrap import draws, intervals, resampled
from weft.types import Records


def mean_of(records: Records) -> dict[str, float]:
    return {"mean": float(records.rows["value"].mean())}


def test_interval_of_a_mean_is_about_two_standard_errors() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    records = Records([str(i) for i in range(400)], {"value": values})
    result = intervals(records, mean_of, number=2000)["mean"]
    error = values.std() / 20
    assert result["value"] == pytest.approx(values.mean())
    assert result["high"] - result["value"] == pytest.approx(1.96 * error, rel=0.1)
    assert result["value"] - result["low"] == pytest.approx(1.96 * error, rel=0.1)


def test_groups_are_drawn_whole() -> None:
    ids = ["a1", "a2", "b1", "b2", "b3"]
    groups = {sample: sample[0] for sample in ids}
    for index in draws([groups[sample] for sample in ids], 20, seed=1):
        drawn = [ids[i] for i in index]
        assert drawn.count("a1") == drawn.count("a2")
        assert drawn.count("b1") == drawn.count("b2") == drawn.count("b3")


def test_samples_that_repeat_each_other_widen_the_interval_of_groups() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=40), 10)
    ids = [str(i) for i in range(400)]
    records = Records(ids, {"value": values})
    alone = intervals(records, mean_of, number=500)["mean"]
    grouped = intervals(records, mean_of, groups={s: str(int(s) // 10) for s in ids}, number=500)["mean"]
    ratio = (grouped["high"] - grouped["low"]) / (alone["high"] - alone["low"])
    assert ratio == pytest.approx(10**0.5, rel=0.2)


def test_a_figure_that_some_resamples_cannot_tell_keeps_its_interval() -> None:
    records = Records(["a", "b", "c"], {"value": np.array([1.0, 2.0, 3.0])})

    def sometimes(part: Records) -> dict[str, float]:
        return {"figure": float("nan") if len(set(part.ids)) == 1 else mean_of(part)["mean"]}

    result = intervals(records, sometimes, number=200)["figure"]
    assert np.isfinite([result["low"], result["high"]]).all()


@pytest.mark.parametrize("groups", [None, {"0": "a", "1": "a", "2": "a"}])
def test_figures_of_sums_have_the_same_interval_without_copying_rows(groups: dict[str, str] | None) -> None:
    random = np.random.default_rng(0)
    right, all_of_them = random.integers(0, 50, (30, 4)), random.integers(50, 99, (30, 4))
    records = Records([str(i) for i in range(30)], {"right": right, "all": all_of_them})

    def shares(part: Records) -> dict[str, float]:
        values = part.rows["right"].sum(0) / part.rows["all"].sum(0)
        return {f"share/{number}": float(value) for number, value in enumerate(values)}

    plain = intervals(records, shares, groups=groups, number=100)
    assert intervals(records, shares, additive=True, groups=groups, number=100) == plain


def test_sums_of_a_draw_count_a_sample_as_often_as_it_was_drawn() -> None:
    records = Records(["a", "b", "c"], {"value": np.array([[1, 10], [2, 20], [3, 30]])})
    (part,) = resampled(records, [np.array([2, 0, 2])], additive=True)
    assert part.rows["value"].tolist() == [[7, 70]]


def test_one_group_alone_has_no_interval() -> None:
    records = Records([f"{i}" for i in range(6)], {"value": np.arange(6.0)})
    alone = intervals(records, mean_of, groups=dict.fromkeys(records.ids, "one drive"))["mean"]
    assert alone["value"] == 2.5
    assert math.isnan(alone["low"])
    assert math.isnan(alone["high"])
    two = intervals(records, mean_of, groups={name: str(int(name) // 3) for name in records.ids})["mean"]
    assert (two["low"], two["high"]) == (1.0, 4.0)
