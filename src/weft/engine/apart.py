"""Some of an experiment's tasks by themselves: the networks that a joint one is measured against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from weft.config import load_experiment
from weft.engine.train import train
from weft.errors import WeftError
from weft.experiment import Experiment


def train_apart(
    experiment: Experiment | str | Path,
    *,
    overrides: Sequence[str] = (),
    tasks: Sequence[str] = (),
    go_on: bool = False,
    progress: bool = True,
) -> dict[str, Path]:
    """Train a network for every task by itself, each with the whole budget of the experiment.

    Each is the same experiment with one task: the same samples in the same order, the same encoders and fusion from the
    same seed, the same number of steps.

    Args:
        experiment: an `Experiment`, or a YAML file.
        overrides: `key=value` over the file.
        tasks: only these; by default all.
        go_on: go on with the newest run of each, where there is one.
        progress: print what is logged.

    Returns:
        {task: its run folder}.

    Raises:
        WeftError: there is no such task; and what `train` raises.
    """
    if not isinstance(experiment, Experiment):
        experiment = load_experiment(experiment, overrides)
    alone = {task: only(experiment, [task]) for task in tasks or experiment.tasks}
    resume = "auto" if go_on else None
    return {task: train(one, resume=resume, progress=progress) for task, one in alone.items()}


def only(experiment: Experiment, tasks: Iterable[str]) -> Experiment:
    """The same experiment with some of its tasks, called after them; what is said of the others goes with them.

    Raises:
        WeftError: there is no such task.
    """
    kept = tuple(dict.fromkeys(tasks))
    unknown = [task for task in kept if task not in experiment.tasks]
    if unknown:
        raise WeftError(f"there is no task {unknown[0]!r}; there are {', '.join(experiment.tasks)}", code="no-task")
    gone = [task for task in experiment.tasks if task not in kept]
    values: dict[str, Any] = {**experiment.resolved, "name": "-".join([experiment.name, *kept])}
    values["tasks"] = {task: values["tasks"][task] for task in kept}
    train_values = dict(values["train"])
    if str(train_values.get("best")).split("/")[0] in gone:
        train_values["best"] = None
    train_values["lr_factors"] = {
        start: factor
        for start, factor in train_values["lr_factors"].items()
        if not any(
            start == f"{part}.{task}" or start.startswith(f"{part}.{task}.")
            for part in ("sharing", "tasks", "decisions")
            for task in gone
        )
    }
    values["train"] = train_values
    return load_experiment(values)
