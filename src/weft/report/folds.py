"""Cross-validations beside each other: tests on the same samples and over the same folds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Protocol

import numpy as np

from weft.metrics.bootstrap import align
from weft.metrics.paired import FoldTest, McNemar, combined, corrected_resampled_t, mcnemar
from weft.report import numbers
from weft.report.numbers import Interval
from weft.report.reading import read_run
from weft.report.run import Evaluation
from weft.report.tables import Cell, write_csv
from weft.types import Records

#: What a cross-validation says, in its folder.
FILE = "crossvalidation.json"

#: What `told` tells in each column.
HEADINGS = ("task", "figure", "", "over folds", "", "p", "right only A : other", "p")

#: The row of pooled records that says which repeat an answer is of.
REPEAT = "repeat"


class Judged(Protocol):
    """What is needed of a task: which of its answers are right."""

    def right(self, records: Records) -> np.ndarray | None:
        """(n,) bool; None where an answer is not simply right or wrong."""


@dataclass(frozen=True)
class TaskTests:
    """One task of two cross-validations.

    Attributes:
        task: its name.
        place: of the folder that is compared with the first.
        folds: {figure: over the folds, this minus the first}; empty where the two were not divided alike.
        samples: for each repeat, which answers are right; empty where answers are not simply right or wrong.
    """

    task: str
    place: int
    folds: Mapping[str, FoldTest]
    samples: tuple[McNemar, ...]

    @property
    def right_only(self) -> tuple[int, int]:
        """How many answers, of all repeats, are right of the first only, and of the other only."""
        return sum(one.only_first for one in self.samples), sum(one.only_second for one in self.samples)

    @property
    def p_of_samples(self) -> float:
        """The repeats' tests as one."""
        return combined([one.p for one in self.samples])


def run_of(folder: Path) -> Path:
    """A run that has the tasks of a folder: that of the first fold of a cross-validation, else the folder itself."""
    content = read_folds(folder)
    return folder if content is None else folder / content["runs"][0]["run"]


def read_folds(folder: Path) -> Mapping[str, Any] | None:
    """What a cross-validation says; None of a folder that is none."""
    path = folder / FILE
    content: Mapping[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return content


def tests_over_folds(folders: Sequence[Path], tasks: Mapping[str, Judged]) -> list[TaskTests]:
    """Each cross-validation against the first, task by task.

    Args:
        folders: of two or more cross-validations.
        tasks: of the first, by name.
    """
    first, *others = (json.loads((folder / FILE).read_text(encoding="utf-8")) for folder in folders)
    return [
        TaskTests(
            task=task,
            place=place,
            folds=_over_folds(task, first, other),
            samples=_of_samples(task, tasks[task], folders[0], folders[place]),
        )
        for place, other in enumerate(others, start=1)
        for task in first["tasks"]
        if task in other["tasks"]
    ]


def write_tests(tests: Sequence[TaskTests], folders: Sequence[Path], out: Path) -> Path:
    """Write the table of all tests, a row for every figure, and return its path."""
    header = ["task", "figure", "run", "folder", "difference_from_A", "low", "high", "t", "p", "folds"]
    header += ["right_only_A", "right_only_run", "p_mcnemar"]
    rows: list[list[Cell]] = []
    for test in tests:
        of_samples: list[Cell] = [*test.right_only, test.p_of_samples] if test.samples else ["", "", ""]
        for figure, found in test.folds.items():
            rows.append([test.task, figure, ascii_uppercase[test.place], str(folders[test.place])])
            rows[-1] += [found.mean, found.low, found.high, found.t, found.p, found.num_folds, *of_samples]
    return write_csv(out, header, rows)


def told(tests: Sequence[TaskTests], evaluation: Evaluation) -> list[list[str]]:
    """The tests of the main figures in words, a line as `HEADINGS` names it for every test.

    Args:
        tests: to be told.
        evaluation: of the first cross-validation.
    """
    lines = []
    for test in tests:
        task = evaluation.tasks[test.task]
        style = task.style(task.main_figure)
        line = [test.task, style.heading, f"{ascii_uppercase[test.place]} − A", "–", "", "–", "", ""]
        if found := test.folds.get(task.main_figure):
            line[3] = numbers.signed(found.mean, style)
            line[4] = f"({numbers.signed_span(Interval(found.mean, found.low, found.high), style)})"
            line[5] = f"{found.p:.3f}"
        if test.samples:
            line[6:] = ["{} : {}".format(*test.right_only), f"{test.p_of_samples:.3f}"]
        lines.append(line)
    return lines


def _over_folds(task: str, first: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, FoldTest]:
    """{figure: the test}, over the folds that both have scored; nothing where they were not divided alike."""
    mine, theirs = ({(run["repeat"], run["fold"]): run for run in one["runs"]} for one in (first, other))
    common = [key for key in mine if key in theirs]
    if first["folds"] != other["folds"] or any(mine[key]["digest"] != theirs[key]["digest"] for key in common):
        return {}
    tests = {}
    for figure in first["tasks"][task]["figures"]:
        pairs = [(mine[key]["figures"][task].get(figure), theirs[key]["figures"][task].get(figure)) for key in common]
        differences = [b - a for a, b in pairs if a is not None and b is not None]
        if "/" not in figure and differences:
            tests[figure] = corrected_resampled_t(differences, tested_to_trained=1 / (first["folds"] - 1))
    return tests


def _of_samples(task: str, judge: Judged, first: Path, other: Path) -> tuple[McNemar, ...]:
    """A test for each repeat of which answers are right; none where answers are not simply right or wrong."""
    pooled = []
    for folder in (first, other):
        evaluation = next(iter(read_run(folder).evaluations.values()))
        pooled.append(evaluation.records(task, evaluation.full))
    mine, theirs = align(*pooled)
    tests = []
    for repeat in np.unique(mine.rows[REPEAT]) if len(mine) else ():
        rows = np.flatnonzero(mine.rows[REPEAT] == repeat)
        right = judge.right(mine.take(rows)), judge.right(theirs.take(rows))
        if right[0] is None or right[1] is None:
            return ()
        tests.append(mcnemar(right[0], right[1]))
    return tuple(tests)
