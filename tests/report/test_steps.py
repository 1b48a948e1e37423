"""Where in time each part of a fusion looked, on the page."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from jinja2 import Environment, PackageLoader

from weft.report.film import Film
from weft.report.pictures import Strip
from weft.report.steps import StepShares, of_sample, of_split, step_charts

SAMPLE = {
    "unit": "frame",
    "numbers": [4, 6, 9],
    "shares": {"short_memory": [0, 0.25, 0.75], "inter": [0.5, 0.25, 0.25]},
}


def test_each_part_has_a_chart_over_one_range_and_its_numbers() -> None:
    found = step_charts(of_sample(SAMPLE), "Sample a")
    assert found is not None
    assert list(found.charts) == ["short memory", "inter"]
    assert found.heads == ("4", "6", "9")
    assert found.rows == {"short memory": ("0.0", "25.0", "75.0"), "inter": ("50.0", "25.0", "25.0")}
    for chart in found.charts.values():
        drawing = ElementTree.fromstring(chart)
        assert "80" in [text.text for text in drawing.iter("text")]  # of the largest share among the parts
    assert "Sample a, short memory: share of each frame" in found.charts["short memory"]
    assert "Most, 75 %, from frame 9" in found.charts["short memory"]
    assert "frame 6: 25" in found.charts["short memory"]


def test_the_mean_over_a_split_is_told_by_steps_from_one_on() -> None:
    shares = of_split({"inter": {"mean": [0.5, 0.25, 0.25], "count": [9, 9, 3]}, "exchange": {"mean": [1.0, 0.0]}})
    assert (shares.unit, shares.numbers) == ("step", (1, 2, 3))
    found = step_charts(shares, "All")
    assert found is not None
    assert found.rows["exchange"] == ("100.0", "0.0", "–")


def test_where_nothing_came_in_steps_there_is_nothing() -> None:
    assert step_charts(of_split(None), "All") is None
    assert step_charts(of_sample(None), "a") is None
    assert step_charts(StepShares("frame", (3,), {"inter": (1.0,)}), "a") is None  # one frame: nothing to compare


def test_below_the_strip_stand_the_charts_and_a_table() -> None:
    charts = step_charts(of_sample(SAMPLE), "Sample <b>")
    macros = "{% from '_macros.html' import strip %}{{ strip(one) }}"
    page = Environment(loader=PackageLoader("weft.report"), autoescape=True).from_string(macros)
    text = page.render(one=Strip("<b>", (), (), charts))
    assert text.count("<svg") == 2
    assert "<figcaption>short memory</figcaption>" in text
    assert '<td class="num">75.0</td>' in text
    assert "<b>" not in text
    assert "<svg" not in page.render(one=Strip("a", ()))
    assert Film().parts.parts == {}
