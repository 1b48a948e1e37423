"""The report of a run and the comparison of several, with the runs' own tasks to resample their figures by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from weft.engine.predict import Predictor
from weft.report import page
from weft.report.compare import Comparison, write_comparison
from weft.report.folds import read_folds, run_of, tests_over_folds, write_tests
from weft.tasks.base import Task


def write_report(run: Path | str) -> Path:
    """Write `report.html` into a run folder and return its path.

    Args:
        run: the run folder; what has not been done yet is named in the page.

    Raises:
        WeftError: it is not a run folder, or one of its files is broken.
    """
    run = Path(run)
    evaluated = any((run / "evaluation").glob("*/evaluation.json"))
    return page.write_report(run, tasks=tasks_of(run) if evaluated else page.NO_TASKS, load_tasks=tasks_of)


def compare(runs: Sequence[Path | str], *, out: Path | str | None = None) -> Comparison:
    """Set evaluated runs, or cross-validations, beside the first of them.

    Cross-validations are also tested over their folds (corrected resampled t-test), and sample by sample (McNemar).

    Args:
        runs: two or more run folders, or folders of cross-validations.
        out: the HTML page to write, with tables beside it; by default `comparison/index.html` beside the first run.

    Raises:
        WeftError: fewer than two runs, one that is no run folder, or no split that all have scored.
    """
    folders = [Path(run) for run in runs]
    written = Path(out) if out is not None else folders[0].parent / "comparison" / "index.html"
    written.parent.mkdir(parents=True, exist_ok=True)
    crossed = all(map(read_folds, folders))
    tests = tests_over_folds(folders, tasks_of(folders[0])) if crossed else []
    compared = write_comparison(folders, written, load_tasks=tasks_of, tests=tests)
    if not tests:
        return compared
    table = write_tests(tests, folders, written.with_name(f"{written.stem}-tests.csv"))
    return replace(compared, tables=(*compared.tables, table))


def tasks_of(run: Path) -> Mapping[str, Task]:
    """{task: its figures from records} of a run, or of the first fold of a cross-validation; no data is opened."""
    model = Predictor(run_of(run), device="cpu").loaded.model
    return {name: task for name, task in model.tasks.items() if isinstance(task, Task)}
