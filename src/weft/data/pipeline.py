"""From an experiment to its data: the manifest opened and checked, the fields fitted, the loader over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from weft.data.batches import Data
from weft.data.cache import open_cache
from weft.data.checks import (
    check_columns,
    check_labels,
    dropped_notes,
    field_notes,
    given_away,
    joined,
    missing_notes,
    usable_rows,
)
from weft.data.collate import Sample, collate
from weft.data.dataset import SampleReader
from weft.data.fit import Fitter, target_options
from weft.data.found_classes import found_classes
from weft.data.leaks import check_leaks
from weft.data.loader import BatchReader, Loader, auto_workers
from weft.data.manifest import Manifest
from weft.data.rare import Remedies, amounts_of, open_remedies
from weft.data.shard import WHOLE, Shard
from weft.data.shares import at_shares
from weft.data.sources import Dropped, source_of
from weft.data.splits import with_validation
from weft.errors import DataFault
from weft.experiment import Experiment
from weft.modalities.base import Field, Modality

__all__ = ["Data", "Dropped", "Sample", "build_data", "collate"]


@dataclass(frozen=True)
class _Opened:
    """The manifest of an experiment, checked.

    Attributes:
        manifest: all splits.
        rows: {split: rows of the manifest that are used}.
        dropped: the others, and why.
        notes: what is worth logging.
    """

    manifest: Manifest
    rows: dict[str, np.ndarray]
    dropped: list[Dropped]
    notes: list[str]

    @property
    def train(self) -> np.ndarray:
        """The rows of the training split."""
        return self.rows.get("train", np.zeros(0, np.int64))


def build_data(
    experiment: Experiment,
    *,
    facts: Mapping[str, Any] | None = None,
    manifest: Manifest | None = None,
    shard: Shard = WHOLE,
) -> Data:
    """Open, check and fit the data of an experiment.

    Args:
        experiment: what to train.
        facts: of an earlier run, `Data.facts`: then nothing is fitted and labels may be missing.
        manifest: other samples than the experiment's own, as for prediction: columns may be missing.
        shard: what this process reads of it.

    Raises:
        ConfigError: a column is not in the data.
        DataFault: no samples, a task without labels, leaks where they are refused, cells that cannot be read.
    """
    config, seed, own = experiment.data, experiment.train.seed, manifest is None
    opened = _usable(experiment, manifest) if manifest is not None else _own(experiment, new=facts is None)
    manifest, notes = opened.manifest, opened.notes
    fitter = Fitter(manifest, opened.train, facts or {}, config, seed)
    modalities, targets = fitter.modalities(experiment), fitter.targets(experiment)
    reader, said = _reader(experiment, manifest, modalities, targets)
    remedies, rates = Remedies(), None
    if own:
        known = (facts or {}).get("class_counts", {})
        remedies = open_remedies(config, manifest, opened.train, reader.inputs, reader.targets, seed=seed, facts=known)
        reader = replace(reader, paste=remedies.paste)
        rates = at_shares(manifest, opened.train, remedies.rates)
        if facts is None:
            train = manifest.take(opened.train)
            notes += found_classes(reader.targets, train, remedies.counts, on_bad=config.on_bad)
    data = Data(
        manifest,
        opened.rows,
        reader,
        Loader(
            BatchReader(reader, modalities, targets),
            workers=auto_workers(shard.beside) if config.workers is None else config.workers,
            pin=experiment.train.device != "cpu" and torch.accelerator.is_available(),
        ),
        facts={
            "modalities": {name: dict(field.facts) for name, field in modalities.items()},
            "targets": {name: dict(field.facts) for name, field in targets.items()},
            "class_counts": dict(remedies.facts),
        },
        rates={} if rates is None else {"train": rates},
        class_counts=amounts_of(targets, remedies.counts),
        config=config,
        batch_size=experiment.train.batch_size,
        shard=shard,
        dropped=opened.dropped,
        notes=[*notes, *said, *dropped_notes(opened.dropped), *field_notes({**modalities, **targets}), *remedies.notes],
    )
    data.notes += missing_notes(data.counts)
    return data


def _own(experiment: Experiment, *, new: bool) -> _Opened:
    """The experiment's own data: what `data` names.

    Args:
        experiment: what to train.
        new: nothing was trained on it so far: labels must be there, and splits must share nothing.

    Raises:
        ConfigError, DataFault: as of `build_data`.
    """
    config = experiment.data
    manifest = config.format().manifest().with_roots(config.roots)
    manifest = with_validation(manifest, config.validation, group=config.group, seed=experiment.train.seed)
    check_columns(experiment, manifest)
    opened = _usable(experiment, manifest)
    columns = _columns(experiment)
    if not len(opened.train):
        without = sum(one.split == "train" for one in opened.dropped)
        lacking = (
            f"; {without} rows of train have none of {', '.join(columns)}: are the files there?" if without else ""
        )
        raise DataFault(
            f"there is no training sample; the data has {len(manifest)} rows and the splits "
            f"{', '.join(manifest.splits) or 'none'}{lacking}",
            code="no-samples",
        )
    if not new:
        return opened
    check_labels(experiment, opened.manifest.take(opened.train))
    leaks = check_leaks(opened.manifest, columns, group=config.group, strict=config.strict)
    return replace(opened, notes=[*opened.notes, *given_away(experiment), *leaks])


def _usable(experiment: Experiment, manifest: Manifest) -> _Opened:
    """A manifest with its rows of which some input is there; columns may be missing."""
    manifest = joined(experiment, manifest)
    rows, dropped = usable_rows(manifest, _columns(experiment), experiment.data.limit)
    return _Opened(manifest, rows, dropped, list(manifest.notes))


def _columns(experiment: Experiment) -> list[str]:
    """Of the inputs."""
    return [modality.source(name) for name, modality in experiment.modalities.items()]


def _reader(
    experiment: Experiment, manifest: Manifest, modalities: Mapping[str, Modality], targets: Mapping[str, Field]
) -> tuple[SampleReader, Iterable[str]]:
    """What reads single samples, and what is worth logging of its cache."""
    config = experiment.data
    cache, said = open_cache(config.cache)
    reader = SampleReader(
        manifest=manifest,
        inputs={
            name: source_of(manifest, config.format, name, modality, modalities[name], options=modality.options)
            for name, modality in experiment.modalities.items()
        },
        targets={
            name: source_of(manifest, config.format, name, task, targets[name], options=target_options(task))
            for name, task in experiment.tasks.items()
        },
        size=config.size,
        augment=config.augment,
        frames=config.frames,
        seed=experiment.train.seed,
        cache=cache,
        copies=experiment.train.features.copies,
    )
    return reader, said
