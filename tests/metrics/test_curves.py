"""Bands around curves: what the bootstrap of samples says of every place of a line."""

from __future__ import annotations

import math

import numpy as np
import pytest

from weft.metrics.curves import Curves, value_at, with_bands
from weft.types import Records

AXES = ("recall, %", "precision, %")


def curves_of(records: Records) -> tuple[Curves, ...]:
    """A level line at the mean of the rows, up to a recall of 50 %; one more where no sample is there twice."""
    mean = float(records.rows["value"].mean())
    lines = {"all": [(0.0, 100 * mean), (50.0, 100 * mean)]}
    lines |= {"once": [(0.0, 1.0)]} if len(set(records.ids)) == len(records) else {}
    return (Curves("precision", *AXES, lines), Curves("count", "overlap", "AP, %", {"all": [(0.5, mean)]}))


def records_of(*values: float) -> Records:
    return Records([f"s{place}" for place in range(len(values))], {"value": np.array(values)})


def test_a_band_is_the_percentiles_of_the_resampled_lines_at_each_place() -> None:
    precision, count = with_bands(curves_of, records_of(0, 1, 0, 1), number=2000)
    # of four draws of 0 or 1, none is 1 in 1 of 16: both ends are within the middle 95 %
    assert precision.bands["all"] == [(place, 0, 100) for place in range(0, 51, 5)]  # no place beyond the line
    assert count.bands["all"] == [(0.5, 0, 1)]  # at the line's own place
    assert precision.lines == curves_of(records_of(0, 1, 0, 1))[0].lines


def test_whole_groups_are_resampled_and_one_alone_has_no_band() -> None:
    same = {f"s{place}": "one" for place in range(4)}
    precision, _ = with_bands(curves_of, records_of(0, 1, 0, 1), groups=same)
    assert precision.bands == {"all": [], "once": []}
    pairs = {"s0": "a", "s1": "a", "s2": "b", "s3": "b"}
    precision, _ = with_bands(curves_of, records_of(0, 1, 0, 1), groups=pairs)
    assert precision.bands["all"] == [(place, 50, 50) for place in range(0, 51, 5)]


def test_sums_give_the_bands_of_copies_where_figures_follow_from_sums() -> None:
    def share(records: Records) -> tuple[Curves, ...]:
        right, number = (float(records.rows[name].sum()) for name in ("right", "number"))
        return (Curves("p", "overlap", "AP, %", {"all": [(0.5, right / number)]}),)

    random = np.random.default_rng(0)
    rows = {"right": random.integers(0, 9, 20), "number": random.integers(9, 20, 20)}
    records = Records([str(place) for place in range(20)], rows)
    (copies,), (sums,) = (with_bands(share, records, additive=additive) for additive in (False, True))
    np.testing.assert_allclose(sums.bands["all"], copies.bands["all"])


def test_a_line_that_few_resamples_have_has_no_band() -> None:
    precision, _ = with_bands(curves_of, records_of(0, 1, 0, 1))  # in 3 of 32 resamples every sample is there
    assert precision.lines["once"] == [(0, 1)]
    assert precision.bands["once"] == []


def test_a_line_is_read_off_where_it_first_reaches_a_place() -> None:
    line = [(0.0, 50.0), (10.0, 100.0), (10.0, 60.0)]
    assert [value_at(line, place) for place in (0, 4, 10)] == [50, 100, 100]
    assert math.isnan(value_at(line, 10.1))
    assert with_bands(lambda records: (), records_of(1)) == ()


def test_the_band_of_precision_agrees_with_resampling_by_hand() -> None:
    random = np.random.default_rng(1)
    values = random.random(30)
    precision, _ = with_bands(curves_of, records_of(*values), number=4000)
    means = 100 * random.choice(values, (4000, 30)).mean(1)
    _, low, high = precision.bands["all"][0]
    assert (low, high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.6)
