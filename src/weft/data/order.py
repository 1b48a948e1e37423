"""The order of a training epoch: a function of (seed, epoch), in batches of samples of similar length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from weft.data import geometry
from weft.data.dataset import SampleReader


class TrainingOrder:
    """Which samples make the batches of an epoch.

    The samples are shuffled. Where they have sequences, a pool of the next few batches is then sorted by length and cut
    into batches anew, and those batches come in a random order: a batch is padded little, and is as random as before
    but for the lengths.

    Args:
        reader: of the samples; says how long they are.
        batch_size: samples in a batch.
        neighbours: batches in a pool; 0: nothing is sorted.
    """

    def __init__(self, reader: SampleReader, *, batch_size: int, neighbours: int) -> None:
        self._reader, self._batch_size = reader, batch_size
        self._sources = [source for source in reader.inputs.values() if source.field.geometry.kind == "sequence"]
        self._pool = batch_size * neighbours if self._sources else 0

    def num_batches(self, num_samples: int) -> int:
        """Batches of an epoch; a last one of a single sample is left out, since BatchNorm cannot learn from one."""
        whole, rest = divmod(num_samples, self._batch_size)
        return whole + (rest > 1 or (rest == 1 and whole == 0))

    def batches(self, rows: np.ndarray, split: str, *, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """The rows of every batch from the `start`-th on; pools are looked at when they are reached.

        Args:
            rows: (n,) rows of the manifest.
            split: that they are of.
            epoch: from 0.
            start: batches to leave out.
        """
        num_batches, size = self.num_batches(len(rows)), self._batch_size
        rows = self._random(epoch, split, "order").permutation(rows)[: num_batches * size]
        span = self._pool or max(len(rows), 1)
        arranged_from, arranged = -1, rows
        for first in range(start * size, num_batches * size, size):
            pool = first // span
            if pool != arranged_from:
                arranged_from, arranged = pool, rows[pool * span : (pool + 1) * span]
                if self._pool:
                    arranged = self._arrange(arranged, self._random(epoch, split, "neighbours", pool))
            yield arranged[first - pool * span :][:size]

    def _arrange(self, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """A pool as batches of neighbours in length, in random order; one that is not full stays the last."""
        lengths = self._lengths(rows, random)
        if not lengths.any():
            return rows
        by_length = rows[np.argsort(lengths, kind="stable")]
        whole, rest = divmod(len(rows), self._batch_size)
        cut = self._batch_size * int(random.integers(whole + 1))  # the short batch may be of any length
        short, others = by_length[cut : cut + rest], np.delete(by_length, slice(cut, cut + rest))
        return np.concatenate([*random.permutation(others.reshape(whole, self._batch_size)), short])

    def _lengths(self, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """(n,) how long the samples are: of every modality in units of its mean, added up.

        A sample that lacks a modality is taken to be as long as some other: those that lack it are no neighbours.
        """
        view, total = self._reader.manifest.take(rows), np.zeros(len(rows))
        for source in self._sources:
            there = view.present(source.column)
            if there.any():
                cells = view.values(source.column).drop_null().to_pylist()
                known = np.array([source.field.length(cell) for cell in cells], np.float64)
                lengths = random.choice(known, len(rows))
                lengths[there] = known
                total += lengths / max(known.mean(), 1)
        return total

    def _random(self, *words: object) -> np.random.Generator:
        return geometry.generator(self._reader.seed, *words)
