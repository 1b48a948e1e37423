"""Schedules that are functions of progress alone: constant, poly, cosine with or without restarts, step."""

from __future__ import annotations

import math
from typing import Annotated, Any

from weft.engine.schedule import Schedule
from weft.registry import Range, register

Share = Annotated[float, Range(0, 1)]


@register("schedule", "constant")
class Constant(Schedule):
    """The learning rate as it is."""

    def factor(self, epoch: float, epochs: int, state: dict[str, Any]) -> float:
        """1."""
        return 1.0


@register("schedule", "poly")
class Poly(Schedule):
    """(1 - progress) ** power, as DeepLab trains.

    Args:
        power: the exponent.
        floor: smallest factor.
    """

    def __init__(self, *, power: Annotated[float, Range(0)] = 0.9, floor: Share = 0.0) -> None:
        self.power, self.floor = power, floor

    def factor(self, epoch: float, epochs: int, state: dict[str, Any]) -> float:
        """The factor at `epoch`."""
        return max(self.floor, (1 - epoch / epochs) ** self.power)


@register("schedule", "cosine")
class Cosine(Schedule):
    """Half a cosine from 1 to `floor`, again and again where `cycle` is given.

    Reference: Loshchilov and Hutter, ICLR 2017, arXiv:1608.03983, eq. 5.

    Args:
        floor: factor at the end of a cosine.
        cycle: epochs of the first cosine; by default all of them. With it, warm restarts.
        stretch: each cycle is so many times as long as the one before.
    """

    def __init__(
        self,
        *,
        floor: Share = 0.0,
        cycle: Annotated[float, Range(0, open_low=True)] | None = None,
        stretch: Annotated[float, Range(1)] = 1.0,
    ) -> None:
        self.floor, self.cycle, self.stretch = floor, cycle, stretch

    def factor(self, epoch: float, epochs: int, state: dict[str, Any]) -> float:
        """The factor at `epoch`."""
        length = self.cycle or float(epochs)
        while epoch >= length:
            epoch -= length
            length *= self.stretch
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * epoch / length)) / 2


@register("schedule", "step")
class Step(Schedule):
    """Times `gamma` at every milestone.

    Args:
        milestones: epochs at which the learning rate falls.
        gamma: the factor at each.
    """

    def __init__(self, *, milestones: list[float], gamma: Share = 0.1) -> None:
        self.milestones, self.gamma = milestones, gamma

    def factor(self, epoch: float, epochs: int, state: dict[str, Any]) -> float:
        """The factor at `epoch`."""
        return self.gamma ** sum(epoch >= milestone for milestone in self.milestones)
