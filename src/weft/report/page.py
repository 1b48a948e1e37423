"""A run folder becomes report.html: one file that opens offline."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from weft.errors import WeftError
from weft.report import together as joining
from weft.report.apart import Apart, Remark, runs_apart
from weft.report.bootstrap import LoadTasks, Scored
from weft.report.conflict import struggle
from weft.report.curves import drawn_curves
from weft.report.evidence import agreement_table, calibration, decided
from weft.report.marks import Scale
from weft.report.overview import evaluation_facts, overview
from weft.report.pictures import gallery
from weft.report.rare import rare_classes
from weft.report.reading import read_run
from weft.report.render import render, write_whole
from weft.report.results import task_tables
from weft.report.run import Evaluation, Run
from weft.report.together import Together
from weft.report.training import training
from weft.report.verdict import verdict
from weft.report.worth import MAX_SUBSETS, TaskWorth, corruption, subset_rows, task_worth

#: So many dropped samples are listed by name; the rest is in dropped.csv.
MAX_DROPPED = 50
#: Stands for the run whose report is written.
_THIS = ""
NO_TASKS: Mapping[str, Scored] = MappingProxyType({})


@dataclass(frozen=True)
class Dropped:
    """What went wrong: samples and cells not used, per reason and by name; steps left out; batches that were kept."""

    total: int
    by_code: tuple[tuple[str, str, int], ...]
    rows: tuple[Mapping[str, str], ...]
    num_more: int
    skipped_steps: int
    failures: tuple[str, ...]


def no_tasks(_: Path) -> Mapping[str, Scored]:
    """The tasks of a run that cannot be loaded."""
    return NO_TASKS


def write_report(run: Path, *, tasks: Mapping[str, Scored] = NO_TASKS, load_tasks: LoadTasks = no_tasks) -> Path:
    """Write `report.html` into a run folder and return its path.

    What has not been done yet (no evaluation, no training) is named in the page with the command to run.

    Args:
        run: the run folder.
        tasks: the run's tasks by name; with them the differences between subsets get paired intervals, without them
            they are plain differences.
        load_tasks: gives the tasks of the runs of single tasks beside this one, to set it against them.

    Raises:
        WeftError: it is not a run folder, or one of its files is broken.
    """
    content = read_run(run)
    return write_whole(run / "report.html", render("report.html", _values(content, tasks, load_tasks)))


def _values(run: Run, tasks: Mapping[str, Scored], load_tasks: LoadTasks) -> dict[str, object]:
    evaluation = next(iter(run.evaluations.values()), None)
    values: dict[str, object] = {
        "run": run,
        "created": created(run),
        "overview": overview(run),
        "training": training(run),
        "struggle": struggle(run) if len(run.tasks) > 1 else None,
        "dropped": _dropped(run),
        "evaluation": evaluation,
        "command": str(run.summary.get("command") or "weft train experiment.yaml"),
    }
    return values | _scored(run, evaluation, tasks, load_tasks) if evaluation else values


def _scored(run: Run, evaluation: Evaluation, tasks: Mapping[str, Scored], load_tasks: LoadTasks) -> dict[str, object]:
    """What there is to show of the first evaluation, and how the others came out."""
    worths = [task_worth(evaluation, task, tasks) for task in evaluation.tasks.values()]
    subsets = subset_rows(evaluation)
    noted = overview(run).notes
    apart = runs_apart(run, evaluation) if len(run.tasks) > 1 else Apart()
    joint = _joint(run, evaluation, tasks, apart, load_tasks)
    joined = joining.sentences([joint], {joint.letter: "this network"}) if joint and joint.delta.known else []
    return {
        "facts": evaluation_facts(evaluation),
        "sentences": [*verdict(evaluation, worths), *joined],
        "joint": joint,
        "remarks": apart.remarks,
        "gain": joining.amount,
        "gain_span": joining.span,
        "worths": worths,
        "cards": [(worth, _card_scale(worth)) for worth in worths],
        "subsets": subsets,
        "open_subsets": [row for row in subsets if row.is_telling or len(subsets) <= MAX_SUBSETS],
        "corruptions": [corruption(evaluation, task) for task in evaluation.tasks.values() if task.corruptions],
        "tables": [task_tables(evaluation, task) for task in evaluation.tasks.values()],
        "calibrations": {name: calibration(task) for name, task in evaluation.tasks.items()},
        "curves": {name: drawn_curves(task) for name, task in evaluation.tasks.items()},
        "decided": decided(evaluation),
        "agreements": [table for task in evaluation.tasks.values() if (table := agreement_table(task))],
        "split_notes": [note for note in evaluation.notes if note not in noted],
        "gallery": gallery(evaluation),
        "other_splits": list(run.evaluations.values())[1:],
    }


def _joint(
    run: Run, evaluation: Evaluation, tasks: Mapping[str, Scored], apart: Apart, load_tasks: LoadTasks
) -> Together | None:
    """The run against those of its tasks alone; None where there is nothing to set it against."""
    evaluations, scored = {_THIS: evaluation}, {_THIS: tasks}
    for task, runs in apart.runs.items():
        for alone in runs:
            try:
                loaded = load_tasks(alone.folder)
            except WeftError as error:
                apart.remarks.append(Remark(f"{alone.folder} cannot be loaded, and is left out: {error}"))
                continue
            if task in loaded and task in tasks:
                letter = str(alone.folder)
                evaluations[letter], scored[letter] = alone.evaluations[evaluation.folder.name], loaded
    if len(evaluations) == 1:
        return None
    rare = {task: rare_classes(task, {_THIS: run}, {_THIS: evaluation}) for task in evaluation.tasks}
    return joining.one_together(_THIS, evaluations, scored, rare=rare)


def _card_scale(worth: TaskWorth) -> Scale:
    """Over what a card shows: everything, and each modality left out."""
    return Scale.over([worth.full, *(one.without for one in worth.modalities)])


def created(run: Run) -> str:
    """When the run was made, for a person."""
    text = str(run.summary.get("created") or "")
    try:
        moment = datetime.strptime(text[:15], "%Y%m%d-%H%M%S")  # as run folders are named
    except ValueError:
        return text
    return f"{moment.day} {moment:%B %Y, %H:%M}"


def _dropped(run: Run) -> Dropped:
    reasons = Counter((row.get("code", ""), row.get("split", "")) for row in run.dropped)
    total = (run.summary.get("data") or {}).get("dropped", len(run.dropped))
    return Dropped(
        total=max(int(total) if isinstance(total, (int, float)) and math.isfinite(total) else 0, len(run.dropped)),
        by_code=tuple((code, split, number) for (code, split), number in reasons.most_common()),
        rows=run.dropped[:MAX_DROPPED],
        num_more=max(0, len(run.dropped) - MAX_DROPPED),
        skipped_steps=int((run.summary.get("train") or {}).get("skipped_steps") or 0),
        failures=tuple(sorted(path.name for path in (run.folder / "failures").glob("*"))),
    )
