"""Which classes the samples hold, and how much of each: from the labels of a column, or all pixels of its masks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from weft.data.hashing import hash_strings
from weft.data.inspection import class_names
from weft.data.manifest import Manifest
from weft.data.sources import Source
from weft.errors import ONE_OF_SOME, DataFault
from weft.modalities.base import BadCell


@dataclass(frozen=True)
class ClassCounts:
    """What n samples hold of K classes, as E entries; a sample and a class that are in no entry have nothing in common.

    Attributes:
        classes: names of the classes.
        labelled: (n,) bool: which samples have a label at all.
        sample: (E,) place of a sample, from 0 to n − 1, rising.
        label: (E,) number of a class that it holds.
        amount: (E,) how much of it: 1 of a label, pixels of a mask.
    """

    classes: tuple[str, ...]
    labelled: np.ndarray
    sample: np.ndarray
    label: np.ndarray
    amount: np.ndarray

    def at_least(self, amount: int) -> ClassCounts:
        """The same without the entries below an amount."""
        kept = self.amount >= amount
        return replace(self, sample=self.sample[kept], label=self.label[kept], amount=self.amount[kept])

    @property
    def num_labelled(self) -> int:
        """Samples with a label."""
        return int(self.labelled.sum())

    @property
    def samples(self) -> np.ndarray:
        """(K,) samples that hold each class."""
        return np.bincount(self.label, minlength=len(self.classes))

    @property
    def amounts(self) -> np.ndarray:
        """(K,) all of each class, in every sample."""
        return self.amounts_at(np.ones(len(self.labelled))).astype(np.int64)

    def amounts_at(self, rates: np.ndarray) -> np.ndarray:
        """(K,) all of each class where sample i comes rates[i] times."""
        return np.bincount(self.label, self.amount * rates[self.sample], minlength=len(self.classes))

    def samples_at(self, rates: np.ndarray) -> np.ndarray:
        """(K,) samples that hold each class where sample i comes rates[i] times."""
        return np.bincount(self.label, rates[self.sample], minlength=len(self.classes))

    def largest(self, per_class: np.ndarray) -> np.ndarray:
        """(n,) the largest of a (K,) number over the classes that a sample holds.

        A sample that holds none gets the smallest over all that occur: nothing about it is rare.
        """
        found = np.full(len(self.labelled), -np.inf)
        np.maximum.at(found, self.sample, per_class[self.label])
        return self._or_least(found, found > -np.inf, per_class)

    def total(self, per_class: np.ndarray) -> np.ndarray:
        """(n,) the sum of a (K,) number over the classes that a sample holds; of one that holds none, as `largest`."""
        found = np.bincount(self.sample, per_class[self.label], minlength=len(self.labelled))
        return self._or_least(found, np.bincount(self.sample, minlength=len(self.labelled)) > 0, per_class)

    def _or_least(self, found: np.ndarray, holds: np.ndarray, per_class: np.ndarray) -> np.ndarray:
        return np.where(holds, found, per_class[self.samples > 0].min())

    def as_facts(self, samples: Manifest) -> dict[str, Any]:
        """JSON-able: with them `of_facts` needs not look at the same samples again."""
        return {
            "samples": _digest(samples),
            "classes": list(self.classes),
            "unlabelled": np.flatnonzero(~self.labelled).tolist(),
            "entries": [self.sample.tolist(), self.label.tolist(), self.amount.tolist()],
        }

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any], samples: Manifest) -> ClassCounts | None:
        """What `as_facts` kept; None where it was of other samples, or where nothing was kept."""
        if not facts or facts["samples"] != _digest(samples):
            return None
        labelled = np.ones(len(samples), bool)
        labelled[np.asarray(facts["unlabelled"], np.int64)] = False
        return cls(tuple(facts["classes"]), labelled, *(np.asarray(one, np.int64) for one in facts["entries"]))


def count_classes(source: Source, samples: Manifest, *, on_bad: str) -> ClassCounts:
    """Read a target of some samples once. Cells that are the same are read once.

    Args:
        source: the target.
        samples: a view of them.
        on_bad: error, or drop: a cell that cannot be read then counts as not labelled; the sample is dropped, and told
            of, when its turn comes.

    Raises:
        DataFault: a cell cannot be read, with `on_bad` error.
    """
    labelled = samples.present(source.column)
    rows = np.flatnonzero(labelled)
    firsts, which = _different(samples.take(rows), source.column)

    def look(row: int) -> np.ndarray | BadCell:
        place = samples.set_of(row)
        try:
            value = source.of(place).field.read(samples.cell(row, source.column), samples.resolver(place))
        except BadCell as error:
            return error
        return source.field.class_counts(value)

    found = _mapped(look, rows[firsts].tolist(), threads=source.field.decodes)
    bad = {place: one for place, one in enumerate(found) if isinstance(one, BadCell)}
    if bad and on_bad == "error":
        place, error = next(iter(bad.items()))
        where = f"sample {samples.id(int(rows[firsts[place]]))} of train, column {source.column!r}"
        raise DataFault(f"{where}: {error}. {ONE_OF_SOME}", code=error.code)
    labelled[rows[np.isin(which, list(bad))]] = False
    return _joined(class_names(source.field), labelled, rows, which, found)


def _different(samples: Manifest, column: str) -> tuple[np.ndarray, np.ndarray]:
    """(places of samples whose cells are all different, and for every sample which of these has its cell)."""
    values = samples.values(column)
    if pa.types.is_nested(values.type):
        return np.arange(len(samples)), np.arange(len(samples))
    encoded = values.combine_chunks().dictionary_encode()
    cells = np.asarray(encoded.indices, np.int64) + len(encoded.dictionary) * samples.set_places()
    _, firsts, which = np.unique(cells, return_index=True, return_inverse=True)
    return firsts, which


def _mapped(
    look: Callable[[int], np.ndarray | BadCell], rows: list[int], *, threads: bool
) -> list[np.ndarray | BadCell]:
    if not threads:  # a label is read faster than it is handed to a thread
        return list(map(look, rows))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(look, rows))


def _joined(
    classes: tuple[str, ...],
    labelled: np.ndarray,
    rows: np.ndarray,
    which: np.ndarray,
    found: list[np.ndarray | BadCell],
) -> ClassCounts:
    """The entries of all samples, from the counts of cells and which of them each of `rows` has."""
    if not any(isinstance(one, BadCell) or len(one) for one in found):
        classes = ()  # the field reads a map of classes, and asks for something else, such as the edges between them
    held = [np.zeros(0, np.int64) if isinstance(one, BadCell) else np.flatnonzero(one) for one in found]
    amounts = [one[numbers] for one, numbers in zip(found, held, strict=True) if not isinstance(one, BadCell)]
    sizes = np.array([len(numbers) for numbers in held], np.int64)
    starts = np.cumsum(sizes) - sizes
    own = sizes[which]  # entries of every sample
    entry = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own) + np.repeat(starts[which], own)
    nothing = [np.zeros(0, np.int64)]
    return ClassCounts(
        classes,
        labelled,
        sample=np.repeat(rows, own),
        label=np.concatenate([*nothing, *held])[entry],
        amount=np.concatenate([*nothing, *amounts])[entry].astype(np.int64),
    )


def _digest(samples: Manifest) -> str:
    """Of the ids, in their order."""
    return hashlib.blake2b(hash_strings(samples.values("id"), 0).tobytes(), digest_size=16).hexdigest()
