"""The order of a training epoch: a function of (seed, epoch), in batches of samples of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np

from weft.data import geometry
from weft.data.dataset import SampleReader

#: Every sample comes once.
ONCE: Mapping[str, np.ndarray] = MappingProxyType({})


class TrainingOrder:
    """Which samples make the batches of an epoch.

    Every sample comes once, or as often as its rate says: at a rate of 2.3 twice or three times, by a systematic draw
    of its own for each epoch, so that all epochs have the same number of samples. The samples are shuffled. Where they
    have sequences, a pool of the next few batches is then sorted by length and cut into batches anew, and those batches
    come in a random order: a batch is padded little, and is as random as before but for the lengths.

    Args:
        reader: of the samples; says how long they are.
        batch_size: samples in a batch.
        neighbours: batches in a pool; 0: nothing is sorted.
        rates: {split: (n,) how often each of its rows comes in an epoch, on average}; once in other splits.

    Reference: Madow, Annals of Mathematical Statistics 1949, doi:10.1214/aoms/1177729988 (the systematic draw).
    """

    def __init__(
        self, reader: SampleReader, *, batch_size: int, neighbours: int, rates: Mapping[str, np.ndarray] = ONCE
    ) -> None:
        self._reader, self._batch_size, self._rates = reader, batch_size, rates
        self._sources = [source for source in reader.inputs.values() if source.field.geometry.kind == "sequence"]
        self._pool = batch_size * neighbours if self._sources else 0

    def num_samples(self, rows: np.ndarray, split: str) -> int:
        """Samples of an epoch, each as often as it comes."""
        return epoch_length(self._rates[split]) if split in self._rates else len(rows)

    def num_batches(self, rows: np.ndarray, split: str) -> int:
        """Batches of an epoch; a last one of a single sample is left out, since BatchNorm cannot learn from one."""
        whole, rest = divmod(self.num_samples(rows, split), self._batch_size)
        return whole + (rest > 1 or (rest == 1 and whole == 0))

    def batches(self, rows: np.ndarray, split: str, *, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """(b, 2) of every batch from the `start`-th on: a row, and 0, or k where it comes for the k-th time again.

        Pools are looked at when they are reached.

        Args:
            rows: (n,) rows of the manifest.
            split: that they are of.
            epoch: from 0.
            start: batches to leave out.
        """
        num_batches, size = self.num_batches(rows, split), self._batch_size
        turns = self._random(epoch, split, "order").permutation(self._turns(rows, split, epoch))[: num_batches * size]
        span = self._pool or max(len(turns), 1)
        arranged_from, arranged = -1, turns
        for first in range(start * size, num_batches * size, size):
            pool = first // span
            if pool != arranged_from:
                arranged_from, arranged = pool, turns[pool * span : (pool + 1) * span]
                if self._pool:
                    arranged = self._arrange(arranged, self._random(epoch, split, "neighbours", pool))
            yield arranged[first - pool * span :][:size]

    def _turns(self, rows: np.ndarray, split: str, epoch: int) -> np.ndarray:
        """(m, 2) what comes in an epoch: a row, and how often it came before."""
        if split not in self._rates:
            return np.column_stack([rows, np.zeros_like(rows)])
        sets = self._reader.manifest.take(rows).set_places()
        times = drawn_times(self._rates[split], self._random(epoch, split, "sampling"), sets)
        first = np.repeat(np.cumsum(times) - times, times)
        return np.column_stack([np.repeat(rows, times), np.arange(times.sum()) - first])

    def _arrange(self, turns: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """A pool as batches of neighbours in length, in random order; one that is not full stays the last."""
        lengths = self._lengths(turns[:, 0], random)
        if not lengths.any():
            return turns
        by_length = turns[np.argsort(lengths, kind="stable")]
        whole, rest = divmod(len(turns), self._batch_size)
        cut = self._batch_size * int(random.integers(whole + 1))  # the short batch may be of any length
        short, others = by_length[cut : cut + rest], np.delete(by_length, slice(cut, cut + rest), axis=0)
        return np.concatenate([*random.permutation(others.reshape(whole, self._batch_size, 2)), short])

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


def epoch_length(rates: np.ndarray) -> int:
    """Samples of an epoch in which sample i comes rates[i] times: their sum to the nearest whole number, 1 at least."""
    return max(1, round(float(rates.sum())))


def drawn_times(rates: np.ndarray, random: np.random.Generator, sets: np.ndarray | None = None) -> np.ndarray:
    """(n,) int64, how often each sample comes in one epoch: its rate rounded down or up, and `epoch_length` in all.

    The rates are laid end to end in random order, and as many points as the epoch has samples are put on them at equal
    distances from a random start: a sample comes as often as points fall on it.

    Args:
        rates: (n,) of at least 0, with a sum above 0.
        random: where the numbers come from.
        sets: (n,) the data set of each, where there are several: then each set as a whole comes as often as its samples
            together, rounded down or up.
    """
    order = random.permutation(len(rates))
    if sets is not None:
        order = order[np.argsort(sets[order], kind="stable")]  # the rates of a set lie side by side
    ends = np.cumsum(rates[order])
    points = np.floor(ends * (epoch_length(rates) / ends[-1]) + random.random())
    points[-1] = epoch_length(rates)  # whatever rounding made of the last end
    times = np.empty(len(rates), np.int64)
    times[order] = np.diff(points, prepend=0)
    return times
