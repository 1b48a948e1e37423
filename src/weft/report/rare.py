"""Which classes are rare, for a comparison to say what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weft.metrics.imbalance import rarest
from weft.report.run import Evaluation, Run


@dataclass(frozen=True)
class RareClasses:
    """The rarest third of a task's classes.

    Attributes:
        names: the rarest first.
        basis: what they are the rarest of, for a person.
    """

    names: tuple[str, ...]
    basis: str


def rare_classes(name: str, runs: Mapping[str, Run], evaluations: Mapping[str, Evaluation]) -> RareClasses:
    """By what the training split has of each class, as the first run that counted it says; else by the scored truth.

    Args:
        name: of the task.
        runs: by letter.
        evaluations: of the same runs, on one split.

    Returns:
        no names where nothing is known of how frequent the classes are.
    """
    for run in runs.values():
        amounts = ((run.summary.get("data") or {}).get("class_counts") or {}).get(name)
        if amounts:
            return _rarest(amounts, "by what the training split has of them")
    for evaluation in evaluations.values():
        task = evaluation.tasks.get(name)
        if task is not None and (task.counts or task.confusion.sum()):
            counted = {name: actual for name, (actual, _) in task.counts.items()}
            amounts = counted or dict(zip(task.classes, task.confusion.sum(1).tolist(), strict=True))
            return _rarest(amounts, f"by the truth of {evaluation.split}, as no run counted its training split")
    return RareClasses((), "")


def _rarest(amounts: Mapping[str, float], basis: str) -> RareClasses:
    names = list(amounts)
    return RareClasses(tuple(names[number] for number in rarest(list(amounts.values()))), basis)
