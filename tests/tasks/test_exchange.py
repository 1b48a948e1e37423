"""Tables of answers: safe in a spreadsheet, and begun anew by every run of answers."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tasks.task_cases import CASES, SIZE, Case
from weft.tasks.classification import Classification
from weft.tasks.exchange import Origin, add_row
from weft.types import FeatureSpec


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_ids_and_names_that_look_like_formulas_are_written_as_texts(tmp_path: Path) -> None:
    field = Classification.Target({}, classes=["=1+1", "@home", "-3"])
    task = Classification({"fused": FeatureSpec("vector", 4)}, field)
    task.write(np.array([0.5, 0.25, 0.25]), Origin("=HYPERLINK(1)", (0, 0), (0, 0)), tmp_path)
    assert rows_of(tmp_path / "classes.csv") == [
        ["id", "class", "p/=1+1", "p/@home", "p/-3"],
        ["'=HYPERLINK(1)", "'=1+1", "0.500000", "0.250000", "0.250000"],
    ]


def test_numbers_below_zero_stay_numbers(tmp_path: Path) -> None:
    add_row(tmp_path / "points.csv", ["id", "x"], ["-a", "-1.50"])
    add_row(tmp_path / "points.csv", ["id", "x"], ["-7", -1.5])
    assert rows_of(tmp_path / "points.csv") == [["id", "x"], ["'-a", "-1.50"], ["-7", "-1.5"]]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_file_that_a_task_appends_to_is_named_among_its_tables(case: Case, tmp_path: Path) -> None:
    task, target = case.build().eval(), case.target()
    row = case.perfect(target)[0].numpy()
    task.write(row, Origin("first", SIZE, SIZE), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    task.write(row, Origin("second", SIZE, SIZE), tmp_path)
    appended = {name for name, content in before.items() if (tmp_path / name).read_bytes() != content}
    assert appended <= set(task.tables)
    assert all(Path(name).name == name for name in task.tables)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_right_answers_and_classes_are_told_by_sample(case: Case) -> None:
    task, target = case.build(), case.target()
    ids = [f"s{number}" for number in range(len(target))]
    records = task.records(case.perfect(target), target, ids)
    right = task.right(records)
    if right is not None:
        assert right.dtype == bool
        assert right.shape == (len(ids),)
        assert right.all()  # a perfect prediction
    for members in task.classes_of(records).values():
        assert members.dtype == bool
        assert members.shape == (len(ids),)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_an_answer_is_shown_in_words_or_as_a_picture(case: Case) -> None:
    task, target = case.build(), case.target()
    row = case.perfect(target)[0].numpy()
    assert all(isinstance(part, str) for line in task.describe(row) for part in line)
    for one in task.by_frame(row) or [row]:
        assert task.draw(one, Image.new("RGB", SIZE[::-1], "grey")).size[0] >= SIZE[1]
