"""Which samples of a batch are read by which of several processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shard:
    """The part of one process in what several read together; by default there is one process, and it reads all.

    Attributes:
        index: of this process, from 0.
        number: of processes.
        beside: those of them that are on this machine.
    """

    index: int = 0
    number: int = 1
    beside: int = 1

    def least(self, batch_size: int) -> int:
        """Fewest samples that a process is given of a training batch: two, since BatchNorm cannot learn from one, or
        what there is to give.
        """
        return max(1, min(2, batch_size // self.number))

    def of_batch(self, rows: np.ndarray, batch_size: int) -> np.ndarray:
        """This process' samples of a training batch: an even share, or none where a short batch has not enough for all.

        Args:
            rows: (b, ...) of the batch.
            batch_size: that most batches have.
        """
        if self.number == 1:
            return rows
        takers = min(self.number, max(1, len(rows) // self.least(batch_size)))
        return np.array_split(rows, takers)[self.index] if self.index < takers else rows[:0]

    def of_places(self, places: range) -> range:
        """This process' batches of an evaluation: every so many-th, each whole, as one process would see it."""
        return places[self.index :: self.number]


#: All of it: there is one process.
WHOLE = Shard()
