"""The report of a run and the comparison of several, with the runs' own tasks to resample their figures by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from weft.engine.predict import Predictor
from weft.report import page
from weft.report.bootstrap import Scored
from weft.report.compare import Comparison, write_comparison
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
    return page.write_report(run, tasks=tasks_of(run) if evaluated else page.NO_TASKS)


def compare(runs: Sequence[Path | str], *, out: Path | str | None = None) -> Comparison:
    """Set evaluated runs beside the first of them.

    Args:
        runs: two or more run folders.
        out: the HTML page to write, with tables beside it; by default `comparison/index.html` beside the first run.

    Raises:
        WeftError: fewer than two runs, one that is no run folder, or no split that all have scored.
    """
    folders = [Path(run) for run in runs]
    written = Path(out) if out is not None else folders[0].parent / "comparison" / "index.html"
    written.parent.mkdir(parents=True, exist_ok=True)
    return write_comparison(folders, written, load_tasks=tasks_of)


def tasks_of(run: Path) -> Mapping[str, Scored]:
    """{task: its figures from records} of a run; no data is opened."""
    model = Predictor(run, device="cpu").loaded.model
    return {name: task for name, task in model.tasks.items() if isinstance(task, Task)}
