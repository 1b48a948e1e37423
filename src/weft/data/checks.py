"""What is looked at before training: columns, labels, rows without any input; and what is worth saying about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from weft.data.manifest import Manifest
from weft.data.sources import Dropped, Source
from weft.errors import ConfigError, DataFault, did_you_mean
from weft.experiment import Experiment
from weft.modalities.base import Field


def check_columns(experiment: Experiment, manifest: Manifest) -> None:
    """Refuse an experiment that names a column which the data does not have.

    Raises:
        ConfigError: with all such columns and the nearest names.
    """
    problems = []
    places: dict[str, str] = {}
    for name, config in experiment.modalities.items():
        if config.columns:
            places |= {f"modalities.{name}.columns[{index}]": column for index, column in enumerate(config.columns)}
        else:
            places[f"modalities.{name}.column"] = config.column
    places |= {f"tasks.{name}.target": config.target for name, config in experiment.tasks.items()}
    places |= {f"data.subgroups[{index}]": column for index, column in enumerate(experiment.data.subgroups)}
    known = [name for name in manifest.names if name not in ("id", "split")]
    for place, column in places.items():
        if column not in manifest.names:
            hint = did_you_mean(column, known)
            problems.append(f"{place}: the data has no column {column!r}; it has {', '.join(known)}{hint}")
    if problems:
        raise ConfigError(problems)


def given_away(experiment: Experiment) -> list[str]:
    """Which targets are also inputs of what their task reads: to learn those is to copy them."""
    found = []
    for name, task in experiment.tasks.items():
        over = task.over or experiment.over
        for modality, config in experiment.modalities.items():
            read = over is None or modality in over or "fused" in over
            if read and task.target in (config.columns or (config.column,)):
                found.append(f"leak: the target {task.target!r} of {name} is also read by {modality}")
    return found


def joined(experiment: Experiment, manifest: Manifest) -> Manifest:
    """The manifest with a column for every modality that reads several together."""
    for name, config in experiment.modalities.items():
        if config.columns:
            manifest = manifest.with_joined(name, config.columns)
    return manifest


def usable_rows(
    manifest: Manifest, columns: list[str], limit: int | None
) -> tuple[dict[str, np.ndarray], list[Dropped]]:
    """({split: rows}, the rows that have none of the modalities); `limit` is of every split of every data set."""
    has_input = np.zeros(len(manifest), bool)
    for column in columns:
        has_input |= manifest.present(column)
    rows, dropped = {}, []
    splits = manifest.values("split").combine_chunks().dictionary_encode()
    codes, names = np.asarray(splits.indices), splits.dictionary.to_pylist()
    sets = manifest.set_places()
    for split in manifest.splits:
        places = np.flatnonzero(codes == names.index(split))
        if limit is not None:
            places = np.sort(np.concatenate([places[sets[places] == one][:limit] for one in np.unique(sets[places])]))
        rows[split] = places[has_input[places]]
        reason = f"has none of {', '.join(columns)}"
        dropped += [
            Dropped(manifest.id(int(place)), split, "", "no-input", reason) for place in places[~has_input[places]]
        ]
    return rows, dropped


def check_labels(experiment: Experiment, train: Manifest) -> None:
    """Refuse a task without a single label in the training split.

    Raises:
        DataFault: naming the tasks.
    """
    empty = [
        f"{name} (column {config.target!r})"
        for name, config in experiment.tasks.items()
        if not train.present(config.target).any()
    ]
    if empty:
        raise DataFault(
            f"no training sample has a label for {', '.join(empty)}; remove the task or fill in its column",
            code="no-labels",
        )


def count(split: Manifest, inputs: Mapping[str, Source], targets: Mapping[str, Source]) -> dict[str, Any]:
    """Samples of a split, and how many of them have each modality and label."""

    def present(sources: Mapping[str, Source]) -> dict[str, int]:
        return {name: int(split.present(source.column).sum()) for name, source in sources.items()}

    return {"samples": len(split), "modalities": present(inputs), "targets": present(targets)}


def dropped_notes(dropped: list[Dropped]) -> list[str]:
    """The rows that were left out from the start, the first of them by name."""
    if not dropped:
        return []
    names = ", ".join(sample.id for sample in dropped[:5]) + (", …" if len(dropped) > 5 else "")
    return [f"{len(dropped)} samples have none of the modalities and are left out: {names}"]


def field_notes(fields: Mapping[str, Field]) -> list[str]:
    """What the fields found worth saying when they were fitted."""
    return [f"{name}: {note}" for name, field in fields.items() for note in field.facts.get("notes", ())]


def missing_notes(counts: Mapping[str, Any]) -> list[str]:
    """What is missing where, since a column that is half empty by mistake looks like one that is by intent."""
    return [
        f"{split}: {name} is missing in {count['samples'] - present} of {count['samples']} samples"
        for split, count in counts.items()
        for what in ("modalities", "targets")
        for name, present in count[what].items()
        if present < count["samples"]
    ]
