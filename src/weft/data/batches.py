"""The samples of an experiment as batches: in which order, by how many processes, and what happens to those that cannot
be read.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from weft.data.checks import count
from weft.data.collate import Sample, collate
from weft.data.dataset import Key, SampleReader
from weft.data.features import FeatureReader
from weft.data.loader import Loader, Request
from weft.data.manifest import SET, Manifest
from weft.data.order import TrainingOrder
from weft.data.shard import Shard
from weft.data.sources import Dropped
from weft.errors import ONE_OF_SOME, DataFault, WeftError
from weft.experiment import DataConfig
from weft.modalities.base import BadCell
from weft.types import Batch


class Data:
    """The samples of an experiment, as batches.

    Args:
        manifest: all splits.
        rows: {split: rows of the manifest that are used}.
        reader: of single samples.
        loader: of batches.
        facts: {"modalities": {name: facts}, "targets": {name: facts}, "class_counts": {task: `ClassCounts.as_facts`}}.
        rates: {split: (n,) how often each of its rows comes in a training epoch}; once in other splits.
        class_counts: {task: {class: what the training split has of it}} where classes were counted.
        config: of the data.
        batch_size: samples in a batch.
        shard: what this process reads of each training batch, and of the batches of an evaluation.
        dropped: those that are left out from the start.
        notes: what is worth logging.

    Attributes:
        modalities, targets: the fields by name, fitted.
        facts: JSON-able; with them the same fields are built again without looking at the data.
        counts: {split: {"samples": n, "modalities": {name: n}, "targets": {name: n}}}.
        class_counts: {task: {class: samples, pixels or boxes of it in the training split}} where they were counted.
        dropped: every sample that was left out so far, and why.
        found_bad: {(split, id): those of them that were found while reading}, by this process or told by others.
        notes: what is worth logging.
    """

    def __init__(
        self,
        manifest: Manifest,
        rows: Mapping[str, np.ndarray],
        reader: SampleReader,
        loader: Loader,
        *,
        facts: dict[str, Any],
        rates: Mapping[str, np.ndarray],
        class_counts: Mapping[str, Mapping[str, int]],
        config: DataConfig,
        batch_size: int,
        shard: Shard,
        dropped: Iterable[Dropped] = (),
        notes: Iterable[str] = (),
    ) -> None:
        self.manifest = manifest
        self.modalities = loader.batches.modalities
        self.targets = loader.batches.targets
        self.facts = facts
        self.class_counts = class_counts
        self.dropped = list(dropped)
        self.notes = list(notes)
        self.counts = {
            split: count(manifest.take(places), reader.inputs, reader.targets) for split, places in rows.items()
        }
        self._rows = dict(rows)
        self._reader = reader
        self._loader = loader
        self._config = config
        self._batch_size = batch_size
        self._shard = shard
        self._order = TrainingOrder(reader, batch_size=batch_size, neighbours=config.neighbours, rates=rates)
        self.found_bad: dict[tuple[str, str], Dropped] = {}

    def num_steps(self, split: str, *, training: bool) -> int:
        """Batches of a split in an epoch."""
        rows = self._split_rows(split)
        return self._order.num_batches(rows, split) if training else -(-len(rows) // self._batch_size)

    def batches(
        self,
        split: str,
        *,
        epoch: int = 0,
        training: bool = False,
        multiple: int = 1,
        whole: Container[int] = (),
    ) -> Iterator[Batch]:
        """The batches of a split, made ahead of their use.

        In training the order is a function of (seed, epoch), see `TrainingOrder`, what is random in a sample of (seed,
        epoch, its id), and a batch of a single sample is left out, since BatchNorm cannot learn from one. Otherwise all
        samples come, in order, with nothing random.

        Args:
            split: train, val, test or another.
            epoch: from 0.
            training: shuffle and augment.
            multiple: height and width are padded up to a multiple of this.
            whole: places of batches whose inputs are read even where their features are stored.

        Raises:
            DataFault: a sample cannot be used, or more of them than `max_bad` allows.
            ResourceFault: a worker process was killed.
        """
        places = range(self.num_steps(split, training=training))
        found = self._load(split, places, epoch=epoch if training else None, multiple=multiple, whole=whole)
        return (batch for batch in found if batch is not None)

    def places(self, split: str, *, multiple: int = 1, whole: Container[int] = ()) -> Iterator[tuple[int, Batch]]:
        """The batches of a split that this process evaluates, each with its place among all, with nothing random.

        Args:
            split: train, val, test or another.
            multiple: height and width are padded up to a multiple of this.
            whole: places of batches whose inputs are read even where their features are stored.

        Raises:
            DataFault: a sample cannot be used, or more of them than `max_bad` allows.
            ResourceFault: a worker process was killed.
        """
        places = self._shard.of_places(range(self.num_steps(split, training=False)))
        found = self._load(split, places, epoch=None, multiple=multiple, whole=whole)
        return ((place, batch) for place, batch in zip(places, found, strict=True) if batch is not None)

    def steps(self, split: str, *, epoch: int, start: int, accumulate: int, multiple: int = 1) -> Iterator[list[Batch]]:
        """The training batches of an epoch as `batches` gives them, in groups for one step each.

        Of each batch this process has its share of the samples. One that has none, or of which drops leave fewer than
        two samples, is missing in its group, which may then be empty: a step has the same samples whether or not
        training was resumed before it.

        Args:
            split: train or another.
            epoch: from 0.
            start: steps to leave out at the beginning: those a resumed run has seen.
            accumulate: batches of a step.
            multiple: height and width are padded up to a multiple of this.

        Raises:
            DataFault: a sample cannot be used, or more of them than `max_bad` allows.
            ResourceFault: a worker process was killed.
        """
        places = range(start * accumulate, self.num_steps(split, training=True))
        found = self._load(split, places, epoch=epoch, multiple=multiple, share=True)
        while group := list(islice(found, accumulate)):
            yield [batch for batch in group if batch is not None]

    def _load(
        self,
        split: str,
        places: range,
        *,
        epoch: int | None,
        multiple: int,
        whole: Container[int] = (),
        share: bool = False,
    ) -> Iterator[Batch | None]:
        """The batches at some places, in training up to the last; None of which there are too few samples.

        Of each, all samples, or this process' share.
        """
        rows, size = self._split_rows(split), self._batch_size
        groups: Iterator[list[Key]] = (
            [Key(int(row)) for row in rows[place * size : (place + 1) * size]] for place in places
        )
        if epoch is not None:
            turns = self._order.batches(rows, split, epoch=epoch, start=places.start)
            turns = (self._shard.of_batch(batch, size) for batch in turns) if share else turns
            groups = ([Key(int(row), epoch, int(repeat)) for row, repeat in batch] for batch in turns)
        least = self._shard.least(size) if share else 2
        smallest = 1 if epoch is None else min(least, size, self._order.num_samples(rows, split))
        requests = (
            Request(tuple(group), multiple, smallest, stored=place not in whole)
            for place, group in zip(places, groups, strict=True)
        )
        with closing(self._loader.run(requests)) as answers:
            for loaded in answers:
                for dropped in loaded.dropped:
                    self._drop(dropped)
                yield loaded.batch

    def shares_all(self, split: str) -> bool:
        """Whether of every training batch of an epoch each process has some samples."""
        rest = self._order.num_samples(self._split_rows(split), split) % self._batch_size
        last = Shard(self._shard.number - 1, self._shard.number).of_batch(np.arange(rest), self._batch_size)
        return rest <= 1 or len(last) > 0  # a last batch of one is left out

    def use_features(self, features: FeatureReader) -> None:
        """From now on leave out of batches what frozen encoders need not see again."""
        self._reader = replace(self._reader, features=features)
        self._loader.use(self._reader)

    def samples(self, split: str) -> Iterator[Sample]:
        """The samples of a split one by one, in order, with nothing random.

        Raises:
            DataFault: a sample cannot be used, or more of them than `max_bad` allows.
        """
        for row in self._split_rows(split):
            found = self._reader[Key(int(row))]
            if isinstance(found, Sample):
                yield found
            else:
                self._drop(found)

    def sample_from(self, inputs: Mapping[str, Any], *, name: str = "sample") -> Sample:
        """A sample that is in no table, read and resized as all others.

        Args:
            inputs: {modality: a file or an array as the modality reads it, a text, or a row {column: value}}, at least
                one.
            name: its id.

        Raises:
            DataFault: an unknown modality, none at all, or an input that cannot be used.
        """
        unknown = [given for given in inputs if given not in self.modalities]
        if unknown or not inputs:
            given = f"{', '.join(unknown)} is not among them" if unknown else "none was given"
            raise DataFault(f"the modalities are {', '.join(self.modalities)}; {given}", code="no-modality")
        cells = {
            given: Path(cell) if isinstance(cell, str) and self.modalities[given].cell == "file" else cell
            for given, cell in inputs.items()
        }
        try:
            return self._reader.of_cells(name, cells)
        except BadCell as error:
            raise DataFault(str(error), code=error.code) from error

    def ids(self, split: str) -> list[str]:
        """The sample ids of a split, in order."""
        return [self.manifest.id(int(row)) for row in self._split_rows(split)]

    def select(self, split: str, ids: Iterable[str]) -> Iterator[Sample]:
        """Some samples of a split, in the order of `ids`; those that cannot be used are left out."""
        rows = {self.manifest.id(int(row)): int(row) for row in self._split_rows(split)}
        for sample in ids:
            found = self._reader[Key(rows[sample])]
            if isinstance(found, Sample):
                yield found

    def collate(self, samples: Iterable[Sample], *, multiple: int = 1) -> Batch:
        """Samples as a batch, padded to a multiple of `multiple` pixels."""
        return collate(list(samples), self.modalities, self.targets, multiple=multiple)

    def column(self, split: str, name: str) -> dict[str, str]:
        """{sample id: what it has in a column of the manifest, as text} of a split."""
        rows = self._split_rows(split)
        values = self.manifest.take(rows).values(name).to_pylist()
        return {self.manifest.id(int(row)): str(value) for row, value in zip(rows, values, strict=True)}

    def groups(self, split: str) -> dict[str, str] | None:
        """{sample id: group} where the samples belong together in groups, else None."""
        name = self._config.group or self.manifest.group
        return self.column(split, name) if name is not None and name in self.manifest.names else None

    def subgroups(self, split: str) -> dict[str, dict[str, str]]:
        """{column: {sample id: value}} of the columns that results are broken down by: the data set among them."""
        names = dict.fromkeys([*([SET] if self.manifest.sets else []), *self._config.subgroups])
        return {name: self.column(split, name) for name in names if name in self.manifest.names}

    def _split_rows(self, split: str) -> np.ndarray:
        if split not in self._rows:
            raise WeftError(f"there is no split {split!r}; there are {', '.join(self._rows)}", code="no-split")
        return self._rows[split]

    def take_note(self, found_bad: Iterable[Dropped]) -> None:
        """Count samples that other processes could not use as if this one had read them.

        Raises:
            DataFault: they are more than `max_bad` allows.
        """
        for dropped in found_bad:
            self._drop(dropped)

    def _drop(self, dropped: Dropped) -> None:
        """Take note of a sample that cannot be used; stop where that is not allowed."""
        where = f"sample {dropped.id} of {dropped.split}, column {dropped.column!r}: {dropped.reason}"
        if self._config.on_bad == "error":
            self._loader.close()
            raise DataFault(f"{where}. {ONE_OF_SOME}", code=dropped.code)
        if (dropped.split, dropped.id) in self.found_bad:
            return
        self.found_bad[dropped.split, dropped.id] = dropped
        self.dropped.append(dropped)
        count = sum(split == dropped.split for split, _ in self.found_bad)
        allowed = self._config.max_bad * len(self._rows[dropped.split])
        if count > allowed:
            raise DataFault(
                f"{count} of {len(self._rows[dropped.split])} samples of {dropped.split} cannot be used, more than "
                f"max_bad: {self._config.max_bad:g} allows; the last is {where}. `weft data` lists them all",
                code="too-many-bad",
            )
