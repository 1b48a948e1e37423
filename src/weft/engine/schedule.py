"""What every learning-rate schedule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class Schedule(ABC):
    """The factor on the learning rate, from how far training is. Constructors take keyword-only options.

    A schedule that watches a figure keeps what it saw in `state`, an argument and a result, so that resuming is exact.
    """

    @abstractmethod
    def factor(self, epoch: float, epochs: int, state: dict[str, Any]) -> float:
        """The factor at `epoch` (fractional, 0 ≤ epoch < epochs)."""

    def observe(self, value: float, state: dict[str, Any]) -> dict[str, Any]:
        """The state after an evaluation whose figure, larger being better, was `value`."""
        return state


def warmed_up(factor: float, epoch: float, warmup: float) -> float:
    """`factor` times a ramp from 0 that reaches 1 after `warmup` epochs."""
    return factor * min(1.0, epoch / warmup) if warmup else factor
