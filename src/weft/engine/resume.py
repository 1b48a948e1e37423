"""Which run to go on with, and what may differ from how it began."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from weft.engine.batch_norm import statistics
from weft.engine.run_folder import RunFolder, newest_run
from weft.engine.saving import Setting
from weft.errors import ConfigError
from weft.experiment import Experiment
from weft.model import Model

#: What may change on resume, because it does not change what is computed.
MAY_CHANGE = (
    "data.root",
    "data.workers",
    "data.cache",
    "train.output",
    "train.checkpoint_every",
    "train.save_every",
    "train.features.where",
    "train.features.limit",
    "train.features.folder",
)


def run_to_resume(experiment: Experiment, resume: str | Path | None) -> Path | None:
    """The run folder to go on with: the one given, the newest for "auto" (None where there is none yet)."""
    if resume is None:
        return None
    return newest_run(experiment) if str(resume) == "auto" else Path(resume)


def check_same(run: RunFolder, experiment: Experiment) -> list[str]:
    """What differs from how the run began, as lines to show.

    Raises:
        ConfigError: something differs that would change the result.
    """
    differences = list(_differences(run.experiment().resolved, experiment.resolved))
    refused = [
        f"{path}: the run has {before!r} and {now!r} was given; on resume only {', '.join(MAY_CHANGE)} may change"
        for path, before, now in differences
        if not any(path == key or path.startswith(key + ".") for key in MAY_CHANGE)
    ]
    if refused:
        raise ConfigError(refused, source=f"resuming {run.path}")
    return [f"{path}: {before!r} before, {now!r} now" for path, before, now in differences]


def check_setting(before: Setting, now: Setting, model: Model, *, source: str) -> list[str]:
    """What differs from what a run had around it, as lines to show.

    Raises:
        ConfigError: another number of processes would change more than the last bits.
    """
    if before.processes != now.processes and statistics(model):
        raise ConfigError(
            [
                f"the run had {before.processes} processes and {now.processes} are here; the network has BatchNorm, "
                "which learns from the samples that one process has of a batch: go on with as many as before"
            ],
            source=f"resuming {source}",
        )
    differences = {"threads": (before.threads, now.threads), "processes": (before.processes, now.processes)}
    return [
        f"this run had {had} {what} and has {has} now: it goes on, but not to the last bit as it would have"
        for what, (had, has) in differences.items()
        if had != has
    ]


def _differences(before: Any, now: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            below = f"{path}.{key}" if path else str(key)
            yield from _differences(before.get(key), now.get(key), below)
    elif before != now:
        yield path, before, now
