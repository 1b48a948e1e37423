"""Curves are drawn with their marks, and can be read as numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from xml.etree import ElementTree

from tests.report.fake_run import make_run
from tests.report.test_report import evaluation_of, parsed, text_of
from weft.metrics.curves import Curves
from weft.report import write_report
from weft.report.curves import DrawnCurves, drawn_curves
from weft.report.reading import read_evaluation
from weft.report.run import TaskResult

AXES = ("recall, %", "precision, %")


def task_with(folder: Path, *curves: Curves) -> TaskResult:
    run = make_run(folder / "run", tasks=("rooms",), num_samples=4, pictures=0)
    return replace(read_evaluation(run / "evaluation/test").tasks["rooms"], curves=curves)


def drawn(folder: Path, curves: Curves) -> DrawnCurves:
    (one,) = drawn_curves(task_with(folder, curves))
    return one


def texts(one: DrawnCurves, tag: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(str(one.chart)).iter(tag)]


def test_the_table_has_what_each_line_is_where_it_first_reaches_a_place(tmp_path: Path) -> None:
    line = [(0.0, 50.0), (10.0, 100.0), (10.0, 60.0), (34.0, 75.0)]
    one = drawn(tmp_path, Curves("precision against recall", *AXES, {"chair": line, "lamp": []}))
    assert one.title == "Precision against recall"
    assert one.heads == tuple(str(place) for place in range(0, 101, 10))
    assert one.rows == (("chair", ("50.0", "100", "75.0", "75.0", *["–"] * 7)),)  # no recall beyond 34 was reached


def test_lines_over_the_same_few_places_are_read_off_there(tmp_path: Path) -> None:
    lines = {"chair": [(0.5, 90.0), (0.75, 40.0)], "lamp": [(0.5, 80.0), (0.75, 10.0)]}
    one = drawn(tmp_path, Curves("AP by overlap", "overlap", "AP, %", lines))
    assert (one.heads, one.rows[1]) == (("0.5", "0.75"), ("lamp", ("80.0", "10.0")))
    assert {"0.50", "0.60", "0.70"} <= set(texts(one, "text"))  # ticks are as fine as the values


def test_a_place_on_a_line_has_its_colour_and_any_other_its_name(tmp_path: Path) -> None:
    lines = {"chair": [(0.0, 100.0), (50.0, 80.0)], "lamp": [(0.0, 90.0), (20.0, 30.0)]}
    one = drawn(tmp_path, Curves("p", *AXES, lines, {"lamp": (10, 60), "ODS": (40, 85)}, "from 0.42 on"))
    spots = [g for g in ElementTree.fromstring(str(one.chart)).iter("g") if "spot" in g.attrib.get("class", "")]
    assert [g.attrib["class"] for g in spots] == ["spot c1", "spot c6"]
    assert [[t.text for t in g.iter("text")] for g in spots] == [[], ["ODS"]]
    assert one.note == "Circles: from 0.42 on. ODS has recall 40.0 and precision 85.0."


def test_of_many_lines_the_highest_and_the_lowest_are_drawn_and_the_table_has_all(tmp_path: Path) -> None:
    lines = {f"class {k}": [(0.0, 10.0 * k), (100.0, 10.0 * k)] for k in range(10)}
    one = drawn(tmp_path, Curves("p", *AXES, lines, {"class 4": (5, 5)}, "shown"))
    assert [name for name, _, _ in one.legend] == [f"class {k}" for k in (0, 1, 2, 3, 6, 7, 8, 9)]
    assert len(one.rows) == 10
    assert one.note == "Drawn are the highest and the lowest of 10 lines; the table has all."


def test_bands_are_drawn_below_few_lines_and_stand_in_the_table_of_many(tmp_path: Path) -> None:
    lines = {"chair": [(0.0, 90.0), (50.0, 80.0)]}
    bands = {"chair": [(0.0, 85.0, 95.0), (5.0, 80.0, 92.0), (10.0, 60.0, 90.0)]}
    one = drawn(tmp_path, Curves("p", *AXES, lines, bands=bands))
    (area,) = ElementTree.fromstring(str(one.chart)).iter("polygon")
    corners = [tuple(map(float, corner.split(","))) for corner in area.attrib["points"].split()]
    assert area.attrib["class"] == "band c0"
    assert len(corners) == 6
    assert corners[0][1] < corners[-1][1]  # of the first place, high above low
    assert one.spans == {"chair": ("85.0 to 95.0", "60.0 to 90.0", *[""] * 9)}
    assert one.note == "Bands and the small numbers of the table are 95 % intervals, of each place by itself."
    many = {f"class {k}": lines["chair"] for k in range(5)}
    one = drawn(tmp_path / "many", Curves("p", *AXES, many, bands=dict.fromkeys(many, bands["chair"])))
    assert not list(ElementTree.fromstring(str(one.chart)).iter("polygon"))
    assert one.spans["class 4"][0] == "85.0 to 95.0"


def test_the_report_draws_and_tabulates_what_the_evaluation_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tasks=("rooms", "corners"), num_samples=4, pictures=0)
    data = evaluation_of(run)
    curves = Curves("precision against recall", *AXES, {"<b>": [(0.0, 100.0), (50.0, 80.0)]}, {"OIS": (50.0, 90.0)})
    curves = replace(curves, bands={"<b>": [(0.0, 97.5, 100.0), (50.0, 61.0, 90.0)]})
    data["tasks"]["corners"]["curves"] = [asdict(curves)]
    data["tasks"]["corners"]["counts"] = {"nearest corner": {"actual": 1234, "answered": 56}}
    (run / "evaluation/test/evaluation.json").write_text(json.dumps(data))
    page = write_report(run).read_text(encoding="utf-8")
    assert parsed(page).open == []
    assert "<b>: recall" not in page
    text = text_of(page)
    assert "precision, %, by recall, %" in text
    assert "80.0 61.0 to 90.0" in text
    assert "There Answered MAE" in text
    assert "nearest corner 1 234 56" in text
    assert "Share of truth, % Share of answers, %" in text  # of the classes of rooms
