"""Numbers, charts and the confusion are drawn as they are."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from weft.report import numbers
from weft.report.heatmap import heat_map, largest_mistakes, row_shares
from weft.report.marks import Scale, bar, diverging_bar
from weft.report.numbers import Interval, style_of
from weft.report.svg import Guide, Mark, Series, line_chart, nice_step, tick_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.0123, "0.0123"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (-1.5, "−1.50"),
        (12345.0, "12\u202f345"),
        (math.nan, "–"),
        (math.inf, "∞"),
    ],
)
def test_numbers_have_sensible_digits(value: float, text: str) -> None:
    assert numbers.plain(value) == text


def test_fractions_are_percentages_and_their_differences_points() -> None:
    style = style_of("mIoU")
    assert numbers.full(0.3124, style) == "31.2\u00a0%"
    assert numbers.signed(-0.0421, style) == "−4.2"
    assert numbers.signed(0.0001, style) == "0.0"
    assert style.difference_unit == "points"
    assert numbers.span(Interval(0.3, 0.289, 0.334), style) == "28.9 to 33.4"


def test_what_an_evaluation_declares_goes_before_what_is_known() -> None:
    style = style_of("MAE/corner", {"MAE": {"unit": "px", "higher_is_better": False}})
    assert numbers.full(3.14159, style) == "3.14\u00a0px"
    assert style_of("my_score", {"my_score": {"unit": "%"}}).heading == "my score, %"


def test_the_variance_explained_has_as_many_digits_whatever_its_size() -> None:
    style = style_of("R2")
    assert [numbers.amount(value, style) for value in (0.00282, -0.3071, 0.9)] == ["0.003", "−0.307", "0.900"]
    assert style.heading == "R²"


def test_a_figure_of_the_logarithm_is_better_where_the_figure_itself_is() -> None:
    assert not style_of("RMSE_log").higher_is_better
    assert style_of("R2_log").higher_is_better
    assert style_of("MAE_log/width").title == "MAE of the logarithm"


@pytest.mark.parametrize(
    ("figure", "per_class"),
    [("mIoU", "IoU"), ("F1_macro", "F1"), ("accuracy", "recall"), ("average_precision_macro", "average_precision")],
)
def test_every_figure_finds_its_own_per_class(figure: str, per_class: str) -> None:
    assert numbers.per_class_of(figure) == per_class


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.21, "3.2 s"), (59.4, "59 s"), (1570.4, "26 min 10 s"), (7260.0, "2 h 1 min")]
)
def test_times_are_written_for_people(seconds: float, text: str) -> None:
    assert numbers.duration(seconds).replace("\u00a0", " ") == text


@pytest.mark.parametrize(("rough", "step"), [(0.03, 0.05), (1.0, 1), (1.2, 2), (7, 10), (23, 50)])
def test_ticks_are_round(rough: float, step: float) -> None:
    assert nice_step(rough) == pytest.approx(step)


def test_ticks_have_no_more_digits_than_they_need() -> None:
    assert [tick_text(v, 5) for v in (0.0, 5.0, 10.0)] == ["0", "5", "10"]
    assert [tick_text(v, 0.02) for v in (0.0, 0.02)] == ["0", "0.02"]
    assert tick_text(0.0002, 0.0002) == "2e−4"


def chart(series: list[Series], **options: object) -> ElementTree.Element:
    drawn = line_chart(series, label="a < b & c", x_label="epoch", y_label="loss", **options)  # type: ignore[arg-type]
    return ElementTree.fromstring(str(drawn))


def test_a_chart_is_well_formed_and_every_point_tells_its_value() -> None:
    root = chart([Series("<val>", [(1, 2.5), (2, math.nan), (3, 1.5)], 0)], marks=[Mark(3, "best")])
    titles = [element.text for element in root.iter("title")]
    assert titles == ["<val>, epoch 1: 2.50", "<val>, epoch 3: 1.50"]
    assert "best" in [element.text for element in root.iter("text")]


def test_a_gap_breaks_the_line() -> None:
    root = chart([Series("val", [(1, 1), (2, 2), (3, math.nan), (4, 4), (5, 5)], 0)])
    path = next(root.iter("path")).attrib["d"]
    assert re.sub(r"[\d. ]", "", path) == "MLML"


def test_higher_values_are_higher_up_and_all_are_inside() -> None:
    root = chart([Series("val", [(1, -3), (2, 0.5), (3, 900)], 0)], guides=[Guide("without", 400, 1)])
    heights = [float(c.attrib["cy"]) for c in root.iter("circle") if c.attrib["class"] == "dot"]
    assert heights == sorted(heights, reverse=True)
    assert all(0 <= height <= 250 for height in heights)


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [1e-9, 1e9], [0.001, 0.5, 3000], [-1e-12, 1e-12]])
def test_any_range_can_be_drawn(values: list[float]) -> None:
    root = chart([Series("val", list(enumerate(values)), 0)], logarithmic=True)
    assert len([c for c in root.iter("circle") if c.attrib["class"] == "dot"]) == len(values)


def test_nothing_to_draw_is_no_chart() -> None:
    assert line_chart([], label="", x_label="", y_label="") == ""
    assert line_chart([Series("val", [(1, math.nan)], 0)], label="", x_label="", y_label="") == ""


CONFUSION = np.array([[8.0, 2.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 0.0]])


def test_rows_of_the_confusion_add_up_to_one_and_absent_ones_are_unknown() -> None:
    shares = row_shares(CONFUSION)
    assert shares[:2].sum(1) == pytest.approx([1, 1])
    assert np.isnan(shares[2]).all()


def test_mistakes_are_ordered_by_what_they_cost() -> None:
    found = largest_mistakes(CONFUSION, ["wall", "floor", "bag"])
    assert [(m.truth, m.prediction, m.share) for m in found] == [("wall", "floor", 0.2), ("floor", "wall", 0.25)]


def test_cells_of_the_confusion_tell_their_share() -> None:
    root = ElementTree.fromstring(str(heat_map(CONFUSION, ["wall", "<floor>", "bag"], label="confusion")))
    titles = [element.text or "" for element in root.iter("title")]
    assert "wall taken for <floor>: 20.0 % (2)" in titles
    assert "<floor> found: 75.0 % (3)" in titles


def test_many_classes_are_cut_to_the_most_frequent() -> None:
    frequency = np.arange(1.0, 101.0)
    root = ElementTree.fromstring(str(heat_map(np.diag(frequency), [f"c{k}" for k in range(100)], label="confusion")))
    names = {element.text for element in root.iter("title")}
    assert "c99 found: 100.0 % (100)" in names
    assert "c0 found: 100.0 % (1)" not in names


def test_whiskers_and_bars_stay_in_their_cell() -> None:
    scale = Scale.over([Interval(0.3, 0.1, 0.5), Interval(0.9, 0.8, 1.0), Interval(math.nan)])
    whisker = scale.whisker(Interval(0.3, 0.1, 0.5))
    assert whisker is not None
    assert 0 <= whisker.left < whisker.dot < whisker.left + whisker.width <= 100
    assert scale.whisker(Interval(math.nan)) is None
    left, right = diverging_bar(-0.2, 0.4), diverging_bar(0.4, 0.4)
    assert left is not None
    assert right is not None
    assert (left.left, left.width, left.negative) == (25, 25, True)
    assert (right.left, right.width, right.negative) == (50, 50, False)
    assert bar(math.nan, 1) is None
