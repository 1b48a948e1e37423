"""Runs beside each other: settings that differ, figures with paired intervals, classes, subsets, curves, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from markupsafe import Markup

from weft.errors import WeftError
from weft.report import numbers
from weft.report import together as joining
from weft.report.bootstrap import LoadTasks
from weft.report.folds import HEADINGS, TaskTests, told
from weft.report.overview import words
from weft.report.page import created
from weft.report.pairs import Row, TaskRows, task_rows
from weft.report.rare import rare_classes
from weft.report.reading import read_run
from weft.report.render import render, write_whole
from weft.report.run import Evaluation, Run
from weft.report.settings import differing_settings
from weft.report.standings import MAX_TOLD, sentences, standings_of
from weft.report.svg import Series, line_chart
from weft.report.tables import Cell, text_table, write_csv
from weft.report.together import Together, together
from weft.report.training import figure_columns, values

#: Starts of columns of metrics.csv that training notes of tasks, and of two of them.
_NOTED = ("loss/", "weight/", "cosine/")


@dataclass(frozen=True)
class Comparison:
    """What was written: the page, the tables beside it, and the main figures as text for a terminal."""

    page: Path
    tables: tuple[Path, ...]
    text: str


@dataclass(frozen=True)
class Curve:
    """A chart with a line per run."""

    title: str
    chart: Markup


def write_comparison(
    runs: Sequence[Path], out: Path, *, load_tasks: LoadTasks, tests: Sequence[TaskTests] = ()
) -> Comparison:
    """Compare runs with the first of them, on the samples that they have in common.

    Differences are resampled in pairs: by sample, or by group where the evaluation has groups.

    Args:
        runs: two or more evaluated run folders; the first is what the others are compared with.
        out: the HTML page to write; the tables go beside it.
        load_tasks: gives the tasks of a run by name.
        tests: of cross-validations against the first.

    Raises:
        WeftError: fewer than two runs, more than 26, one that is no run folder, or no split that all have scored.
    """
    if not 2 <= len(runs) <= len(ascii_uppercase):
        raise WeftError(f"{len(runs)} runs were given; a comparison takes 2 to {len(ascii_uppercase)}", code="runs")
    read = dict(zip(ascii_uppercase, map(read_run, runs), strict=False))
    evaluations = _common(read)
    scored = {letter: load_tasks(run.folder) for letter, run in read.items()}
    names = dict.fromkeys(name for evaluation in evaluations.values() for name in evaluation.tasks)
    rare = {name: rare_classes(name, read, evaluations) for name in names}
    tasks = [task_rows(name, evaluations, scored, rare=rare[name].names) for name in names]
    settings = differing_settings(read)
    joint = together(evaluations, scored, rare=rare)
    tested = told(tests, next(iter(evaluations.values())))
    page = write_whole(
        out,
        render(
            "compare.html",
            {
                "runs": read,
                "split": next(iter(evaluations.values())).split,
                "labels": labels(read),
                "created": {letter: created(run) for letter, run in read.items()},
                "costs": _costs(read, evaluations),
                "settings": settings,
                "tasks": tasks,
                "sentences": [*joining.sentences(joint, labels(read)), *sentences(tasks, labels(read))],
                "joint": joint,
                "gain": joining.amount,
                "gain_span": joining.span,
                "rare": rare,
                "standings": {task.name: standings_of(task) for task in tasks},
                "tests": tested,
                "test_headings": HEADINGS,
                "curves": _curves(read),
                "first": ascii_uppercase[0],
                "grouped": bool(next(iter(evaluations.values())).groups),
            },
        ),
    )
    text = _text(read, tasks, joint)
    if tested:
        text += "\n\n" + text_table(HEADINGS, tested, num_left=3)
    tables = _write_tables(out, read, tasks, settings)
    return Comparison(page, (*tables, *joining.write_table(out, joint)), text)


def labels(runs: Mapping[str, Run]) -> dict[str, str]:
    """A name per run that tells it from the others."""
    names = [run.name for run in runs.values()]
    return {
        letter: run.name if names.count(run.name) == 1 else f"{run.name} {run.folder.name}"
        for letter, run in runs.items()
    }


def _common(runs: Mapping[str, Run]) -> dict[str, Evaluation]:
    """The evaluations of the first split that all runs have scored."""
    first = next(iter(runs.values()))
    for split in first.evaluations:
        if all(split in run.evaluations for run in runs.values()):
            return {letter: run.evaluations[split] for letter, run in runs.items()}
    lacking = [str(run.folder) for run in runs.values() if not run.evaluations]
    fix = f"run `weft evaluate {lacking[0]}`" if lacking else "run `weft evaluate RUN --split test` on each"
    raise WeftError(f"there is no split that all {len(runs)} runs have scored; {fix}", code="nothing-in-common")


def _costs(runs: Mapping[str, Run], evaluations: Mapping[str, Evaluation]) -> dict[str, dict[str, str]]:
    """{what: {letter: text}}: size, time, speed and memory."""
    table: dict[str, dict[str, str]] = {}
    for letter, run in runs.items():
        train = run.summary.get("train") or {}
        parameters = (run.summary.get("parameters") or {}).get("total")
        rows = {
            "Parameters": numbers.large(parameters) if parameters else "–",
            "Epochs": str(train.get("epochs_done", "–")),
            "Training time": numbers.duration(train["seconds"]) if train.get("seconds") else "–",
            "Training speed, samples/s": numbers.plain(float(train.get("images_per_second") or "nan")),
            "Evaluation speed, samples/s": numbers.plain(evaluations[letter].images_per_second),
            "Peak memory": numbers.size(train["peak_memory_bytes"]) if train.get("peak_memory_bytes") else "–",
            "Device": words(run.summary.get("device") or "–"),
            "Samples scored": numbers.count(evaluations[letter].samples),
        }
        for name, text in rows.items():
            table.setdefault(name, {})[letter] = text
    return table


def _curves(runs: Mapping[str, Run]) -> list[Curve]:
    """Validation figures and losses, and of several tasks their weights and cosines: a line per run."""
    columns: dict[str, None] = {}
    for run in runs.values():
        columns |= dict.fromkeys(figure_columns(run))
        noted = _NOTED if len(run.tasks) > 1 else _NOTED[:1]
        columns |= dict.fromkeys(c for c in (run.metrics[0] if run.metrics else {}) if c.startswith(noted))
    return [curve for column in columns if (curve := _curve(runs, column)).chart]


def _curve(runs: Mapping[str, Run], column: str) -> Curve:
    """One column of metrics.csv; without a chart where no run has it, or where weights never moved."""
    what, rest = column.split("/", 1)
    of, figure = (numbers.listed(rest.split("/")), what) if f"{what}/" in _NOTED else (what, rest)
    evaluation = next((e for run in runs.values() for e in run.evaluations.values() if of in e.tasks), None)
    style = evaluation.tasks[of].style(figure) if evaluation else numbers.style_of(figure)
    factor = 100 if style.unit == "%" else 1
    series = [
        Series(letter, [(x, factor * y) for x, y in points], index)
        for index, (letter, run) in enumerate(runs.items())
        if (points := values(run, column, "val") or values(run, column, "train"))
    ]
    title = f"{of}: {style.title}"
    if figure == "weight" and len({y for line in series for _, y in line.points}) <= 1:
        return Curve(title, Markup(""))
    chart = line_chart(
        series,
        label=f"{style.title} of {of} by epoch, a line per run",
        x_label="epoch",
        y_label=style.heading,
        logarithmic=figure in ("loss", "weight"),
    )
    return Curve(title, chart)


def _write_tables(
    out: Path, runs: Mapping[str, Run], tasks: Sequence[TaskRows], settings: Mapping[str, Mapping[str, str]]
) -> tuple[Path, ...]:
    header = ["task", "modalities", "figure", "run", "folder", "value", "low", "high"]
    header += ["difference_from_A", "difference_low", "difference_high", "excludes_zero", "samples"]
    rows: list[list[Cell]] = []
    for row in [row for task in tasks for row in (*task.figures, *task.classes, *task.rare[:1], *task.subsets)]:
        for letter, value in row.values.items():
            cells: list[Cell] = [row.task, row.subset, row.figure, letter, str(runs[letter].folder)]
            cells += [value.value, value.low, value.high]
            if letter in row.changes:
                one = row.changes[letter].difference
                cells += [one.value, one.interval.low, one.interval.high, one.excludes_zero, one.count]
            else:
                cells += [""] * 5
            rows.append(cells)
    figures = write_csv(out.with_name(f"{out.stem}-figures.csv"), header, rows)
    lines = [[key, *cells.values()] for key, cells in settings.items()]
    return figures, write_csv(out.with_name(f"{out.stem}-settings.csv"), ["setting", *runs], lines)


def _text(runs: Mapping[str, Run], tasks: Sequence[TaskRows], joint: Sequence[Together]) -> str:
    """The main figures by task and subset, and those of rare classes, for a terminal: a column for each of few runs; of
    many runs a line for each, and of their rare classes the mean. Then what joining tasks gained.
    """
    few = len(runs) <= MAX_TOLD
    rows = [task.main_row for task in tasks]
    rows += [row for task in tasks for row in (*task.subsets, *(task.rare if few else task.rare[:1]))]
    table = _columns(runs, rows) if few else _lines(rows)
    names = [f"{letter}  {name}  {runs[letter].folder}" for letter, name in labels(runs).items()]
    said = joining.sentences(joint, labels(runs))
    return "\n".join([*names, "", table, *(["", *said] if said else [])])


def _columns(runs: Mapping[str, Run], rows: Sequence[Row]) -> str:
    others = list(runs)[1:]
    header = ["task", "modalities", "figure", *runs, *(f"{letter} − A" for letter in others)]
    lines = []
    for row in rows:
        cells = [row.task, row.subset, row.heading]
        cells += [numbers.amount(row.values[x].value, row.style) if x in row.values else "–" for x in runs]
        lines.append([*cells, *(_change(row, letter) for letter in others)])
    return text_table(header, lines, num_left=3)


def _lines(rows: Sequence[Row]) -> str:
    lines = [
        [row.task, row.subset, row.heading, letter, numbers.amount(value.value, row.style), _change(row, letter)]
        for row in rows
        for letter, value in row.values.items()
    ]
    return text_table(["task", "modalities", "figure", "run", "value", "less A"], lines, num_left=4)


def _change(row: Row, letter: str) -> str:
    change = row.changes.get(letter)
    return f"{change.text} ({change.span}) {change.conclusion}" if change and change.known else "–"
