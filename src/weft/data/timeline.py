"""The frames of a clip: which there are, and when each is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: A moment this near to the beginning of a frame, in seconds, belongs to it: rounding must not move it to the frame
#: before.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Timeline:
    """Some frames, in the order in which they are shown.

    Attributes:
        numbers: (T,) int64, rising: of files and arrays the place from 0 on, in folders what the files' names say.
        times: (T,) float64, when each is shown first, in seconds; where no rate is known, its number.
        end: when the last one is no longer shown.
        in_seconds: whether times are seconds.
    """

    numbers: np.ndarray
    times: np.ndarray
    end: float
    in_seconds: bool

    def __len__(self) -> int:
        return len(self.numbers)

    @classmethod
    def of_numbers(cls, numbers: np.ndarray, rate: float | None = None) -> Timeline:
        """Frames that have numbers and no times of their own, at a rate per second where it is known."""
        times = numbers.astype(np.float64)
        step = usual_step(numbers)
        if rate is None:
            return cls(numbers, times, float(times[-1] + step), in_seconds=False)
        return cls(numbers, times / rate, float((times[-1] + step) / rate), in_seconds=True)

    def at(self, places: np.ndarray) -> Timeline:
        """Those at some places, which do not fall."""
        last = int(places[-1])
        end = self.end if last == len(self) - 1 else float(self.times[last + 1])
        return Timeline(self.numbers[places], self.times[places], end, self.in_seconds)

    def shown(self, moments: np.ndarray) -> np.ndarray:
        """(n,) places of the frames shown at (n,) moments: the latest that has begun; -1 before the first."""
        return np.searchsorted(self.times, moments + TOLERANCE, side="right") - 1

    def same_as(self, other: Timeline) -> np.ndarray:
        """(T,) places here of what is shown with each frame of another timeline; -1 where nothing is.

        By time where both know it in seconds, otherwise by number. The last frame stays for one frame more, so that
        what lies between two frames (motion) may have one fewer; by number so does each whose next is missing.
        """
        if self.in_seconds and other.in_seconds:
            shown = other.times < self.end + usual_step(self.times)
            return np.where(shown, self.shown(other.times), -1)
        places = np.searchsorted(self.numbers, other.numbers, side="right") - 1
        gap = other.numbers - self.numbers[places.clip(0)]
        return np.where(gap <= usual_step(self.numbers), places, -1)


def usual_step(values: np.ndarray) -> float:
    """The most frequent distance of neighbours, the smallest of several; 1 of a single one."""
    distances, counts = np.unique(np.round(np.diff(values), 6), return_counts=True)
    distances, counts = distances[distances > 0], counts[distances > 0]
    return float(distances[counts.argmax()]) if len(distances) else 1.0
