"""The fields of an experiment, built from what the data declares and fitted on the training split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from weft import registry
from weft.data import frames, geometry
from weft.data.joining import readings
from weft.data.manifest import Manifest
from weft.data.sources import Source, row_timeline
from weft.data.timeline import Timeline
from weft.encoders.base import Encoder
from weft.errors import ONE_OF_SOME, ConfigError, DataFault
from weft.experiment import DataConfig, Experiment, ModalityConfig, TaskConfig
from weft.modalities.base import NO_FACTS, BadCell, Facts, Field, Modality
from weft.tasks.base import Task

#: Training samples that statistics are fitted on: enough for a mean and a deviation.
_FIT_IMAGES = 200
#: Label maps that classes are looked for in, where nobody names them.
_FIT_MAPS = 1000
#: Cells that need no decoding of a file.
_FIT_CELLS = 100_000


class Fitter:
    """Builds the fields and fits those that want it.

    Args:
        manifest: all splits.
        train: the rows of the training split.
        facts: of an earlier run, as `Data.facts`; fields that are in it are not fitted again.
        config: of the data.
        seed: which samples are looked at.
    """

    def __init__(
        self, manifest: Manifest, train: np.ndarray, facts: Mapping[str, Any], config: DataConfig, seed: int
    ) -> None:
        self._manifest, self._train, self._facts, self._config, self._seed = manifest, train, facts, config, seed
        self._clips: dict[str, Source] = {}  # fields with frames so far: the first says which frames a sample has

    def modalities(self, experiment: Experiment) -> dict[str, Modality]:
        """The inputs by name."""
        saved = self._facts.get("modalities", {})
        return {
            name: self._field(
                registry.get("modality", config.type),
                name,
                config.source(name),
                config.options,
                saved,
                _FIT_IMAGES,
                brought={} if name in saved else _brought(config, experiment),
            )
            for name, config in experiment.modalities.items()
        }

    def targets(self, experiment: Experiment) -> dict[str, Field]:
        """The tasks' targets by name; of a task's options they take those that are theirs."""
        saved = self._facts.get("targets", {})
        targets = {}
        for name, config in experiment.tasks.items():
            task: type[Task] = registry.get("task", config.type)  # type: ignore[assignment]  # every task is a class
            target = task.Target
            options = target_options(config)
            brought = NO_FACTS if name in saved else task.brings(config.options)
            targets[name] = self._field(target, name, config.target, options, saved, _FIT_MAPS, brought=brought)
        return targets

    def _field(
        self,
        part: Any,
        name: str,
        column: str,
        options: Mapping[str, Any],
        saved: Mapping[str, Any],
        num_images: int,
        *,
        brought: Facts = NO_FACTS,
    ) -> Any:
        declared = self._manifest.columns[column].facts if column in self._manifest.columns else {}
        facts = {**declared, **brought, **saved.get(name, {})}
        try:
            field = part(facts, **options)
        except ValueError as error:
            raise ConfigError([f"{name}: {error}"]) from error
        if name in saved or not field.wants_fit:
            return self._made(name, column, field, options)
        rows = self._some(column, num_images if field.decodes else _FIT_CELLS)
        remarks: Counter[str] = Counter()
        fitted = field.fit(self._values(self._source(column, field, options), rows, remarks))
        said = [f"{count} of {len(rows)} training samples looked at: {remark}" for remark, count in remarks.items()]
        if said:
            fitted["notes"] = [*fitted.get("notes", ()), *said]
        return self._made(name, column, part({**facts, **fitted}, **options), options)

    def _made(self, name: str, column: str, field: Field, options: Mapping[str, Any]) -> Field:
        if field.geometry.has_frames:
            self._clips[name] = self._source(column, field, options)
        return field

    def _source(self, column: str, field: Field, options: Mapping[str, Any]) -> Source:
        """What reads a column, in each of several data sets as that set stores it."""
        own = readings(self._manifest, column, field, options)
        return Source(column, field, sets=tuple(Source(column, one) for one in own))

    def _some(self, column: str, most: int) -> np.ndarray:
        """Training rows that have a column, at most so many; the same ones for one seed."""
        rows = self._train[self._manifest.take(self._train).present(column)]
        if len(rows) > most:
            random = geometry.generator(self._seed, column, "fit")
            rows = np.sort(random.choice(rows, most, replace=False))
        return rows

    def _values(self, source: Source, rows: np.ndarray, remarks: Counter[str]) -> Iterator[np.ndarray]:
        """Decoded values of some rows, each read as its data set says; what is remarkable is counted in `remarks`."""
        for row in rows:
            place = self._manifest.set_of(int(row))
            reader, resolve = source.of(place).field, self._manifest.resolver(place)
            try:
                cell = self._manifest.cell(int(row), source.column)
                yield reader.read_frames(cell, resolve, self._taken(source, int(row)))
                remarks.update(reader.remarks(cell, resolve))
            except BadCell as error:
                if self._config.on_bad == "error":
                    where = f"sample {self._manifest.id(int(row))} of train, column {source.column!r}"
                    raise DataFault(f"{where}: {error}. {ONE_OF_SOME}", code=error.code) from error

    def _taken(self, source: Source, row: int) -> Timeline | None:
        """The frames that are taken of a sample outside training; None where its field has none."""
        if not source.field.geometry.has_frames:
            return None
        sources = {**self._clips, "": source}
        whole = row_timeline(sources, self._manifest.row(row), self._manifest, self._manifest.set_of(row))
        return None if whole is None else frames.choose(whole[1], self._config.frames)


def target_options(task: TaskConfig) -> dict[str, Any]:
    """Those of a task's options that are its target's."""
    known = registry.options_of(registry.get("task", task.type).Target)  # type: ignore[attr-defined]
    return {option: value for option, value in task.options.items() if option in known}


def _brought(config: ModalityConfig, experiment: Experiment) -> Facts:
    """What a modality's encoder, its own or a shared one, brings to it."""
    part = config.encoder if config.share is None else experiment.modalities[config.share].encoder
    if part is None:
        return NO_FACTS
    encoder: type[Encoder] = registry.get("encoder", part.type)  # type: ignore[assignment]  # every encoder is a class
    return encoder.brings(part.options)
