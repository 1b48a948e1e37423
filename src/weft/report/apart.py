"""The runs of single tasks beside a run of several, as `weft train --apart` leaves them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from weft.report import numbers
from weft.report.reading import read_run
from weft.report.run import Evaluation, Run
from weft.report.settings import differing

#: What may differ between a joint network and one of a task alone: what has no meaning for the latter, and what does
#: not change what a step computes. Seeds may, so that several of them can be averaged.
MAY_DIFFER = (
    *("name", "tasks", "balancing", "sharing", "data.root", "data.workers", "data.cache"),
    *("train.best", "train.lr_factors", "train.conflict_every", "train.seed", "train.device", "train.output"),
    *("train.checkpoint_every", "train.save_every", "train.features"),
)
#: So many settings that differ are named.
_NAMED = 3


@dataclass(frozen=True)
class Remark:
    """A sentence, and the commands that would help."""

    text: str
    commands: tuple[str, ...] = ()


@dataclass
class Apart:
    """What lies beside a run of several tasks.

    Attributes:
        runs: {task: runs of it alone}, of those that were trained with the same settings and have scored the split.
        remarks: on the others, and on what is lacking.
    """

    runs: dict[str, list[Run]] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)


def runs_apart(run: Run, evaluation: Evaluation) -> Apart:
    """Look beside a run for `NAME-TASK/…` of each of its tasks.

    Args:
        run: of several tasks.
        evaluation: of the run; the others must have the same.
    """
    found, lacking = Apart(), []
    for task in run.tasks:
        for alone in _beside(run, task):
            unlike = _unlike(run, alone, task)
            if unlike:
                settings = numbers.listed(unlike[:_NAMED]) + (" and more" if len(unlike) > _NAMED else "")
                found.remarks.append(Remark(f"{alone.folder} has other settings, and is left out: {settings}."))
            elif evaluation.folder.name not in alone.evaluations:
                command = f"weft evaluate {alone.folder} --split {evaluation.split}"
                found.remarks.append(Remark(f"{alone.folder} has not scored {evaluation.title}:", (command,)))
            else:
                found.runs.setdefault(task, []).append(alone)
        if task not in found.runs:
            lacking.append(task)
    if lacking:
        found.remarks.append(_how_to(run, lacking))
    return found


def _beside(run: Run, task: str) -> Iterator[Run]:
    """Runs of one task alone, as `weft train --apart` names them; the oldest first."""
    name = run.experiment.get("name") or run.name
    for file in sorted(run.folder.resolve().parent.parent.glob(f"{name}-{task}/*/experiment.yaml")):
        beside = read_run(file.parent)
        if beside.tasks == (task,):
            yield beside


def _unlike(run: Run, alone: Run, task: str) -> list[str]:
    """Settings that should be the same and are not, in words."""
    joined = {**_kept(run.experiment), f"tasks.{task}": (run.experiment.get("tasks") or {}).get(task)}
    single = {**_kept(alone.experiment), f"tasks.{task}": (alone.experiment.get("tasks") or {}).get(task)}
    return [
        f"{setting} {values['alone']}, here {values['joined']}"
        for setting, values in differing({"joined": joined, "alone": single})
    ]


def _kept(settings: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Without what may differ."""
    kept = {}
    for key, value in settings.items():
        place = f"{path}{key}"
        if place not in MAY_DIFFER:
            kept[key] = _kept(value, f"{place}.") if isinstance(value, Mapping) else value
    return kept


def _how_to(run: Run, lacking: list[str]) -> Remark:
    chosen = "" if len(lacking) == len(run.tasks) else "".join(f" --task {task}" for task in lacking)
    text = (
        f"There is no run of {numbers.listed(lacking)} alone to measure this one against. To see what joining gained "
        "or cost, train each by itself and score the runs that are made:"
    )
    train = f"weft train {run.folder}/experiment.yaml --apart{chosen}"
    return Remark(text, (train, "weft evaluate RUN", f"weft report {run.folder}"))
