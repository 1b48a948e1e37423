"""Where training stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from weft.balancing.base import State


@dataclass
class Position:
    """Where training stands: all that is not a tensor and that resuming needs.

    Attributes:
        epoch, step_in_epoch: the next step to take.
        step: steps taken.
        loss_sums, loss_counts: of the epoch so far, per task.
        noted: {column of metrics.csv: [sum, number]} over the steps of the epoch so far, of what each step tells.
        lr: learning rate of the last step.
        balancing, schedule: the states of the two.
        best: the figure that the best checkpoint has, with its epoch; larger is better.
        waited: evaluations since then.
        num_rows: rows of metrics.csv written.
        seconds: spent training.
        num_samples: samples trained on.
        num_skipped: steps left out because something was not finite.
        precision: fp32 or bf16.
        stopped_early: whether the figure no longer rose.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    lr: float = 0.0
    loss_sums: dict[str, float] = field(default_factory=dict)
    loss_counts: dict[str, float] = field(default_factory=dict)
    noted: dict[str, list[float]] = field(default_factory=dict)
    balancing: State = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] | None = None
    waited: int = 0
    num_rows: int = 0
    seconds: float = 0.0
    num_samples: int = 0
    num_skipped: int = 0
    precision: str = "fp32"
    stopped_early: bool = False

    def note(self, column: str, value: float) -> None:
        """Add what a step tells to a column of the epoch's row, which gets the mean over its steps."""
        total, number = self.noted.get(column, [0.0, 0])
        self.noted[column] = [total + value, number + 1]


def seed_step(seed: int, step: int, device: torch.device, *, rank: int = 0) -> None:
    """Seed what is random in a step, on the processor and on the device."""
    # torch.manual_seed asks for every kind of device there is, which takes longer than many a layer
    seeded = torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed
    seeded(seed_of_step(seed, step, rank))


def seed_of_step(seed: int, step: int, rank: int = 0) -> int:
    """The seed of everything random in a step of a process, so that resuming needs no state of a random generator."""
    # odd constants spread the bits
    return (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) % 2**63
