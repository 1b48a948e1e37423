"""Weights learned as the tasks' homoscedastic uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from weft.balancing.base import Balancing, Seen, State, of, with_values
from weft.registry import Range, register


@register("balancing", "uncertainty")
class Uncertainty(Balancing):
    """Minimise Σ exp(-s) L + s over the log variances s, by gradient descent beside the network's own steps.

    The minimum over s is at s = log L, so a task whose loss stays large counts less. A task without labels in a step
    keeps its s.

    Reference: Kendall et al., CVPR 2018, arXiv:1705.07115, eq. 7 in the log-variance form of section 3.3.

    Args:
        lr: step size on the log variances.
        limit: largest absolute log variance.
    """

    def __init__(
        self,
        *,
        lr: Annotated[float, Range(0, open_low=True)] = 0.01,
        limit: Annotated[float, Range(0, open_low=True)] = 7.0,
    ) -> None:
        self.lr, self.limit = lr, limit

    def weights(self, seen: Seen, state: State) -> dict[str, float]:
        """exp(-s) per task; s starts at 0."""
        return {task: math.exp(-value) for task, value in of("log_variance", seen.tasks, state, start=0.0).items()}

    def update(self, seen: Seen, state: State, *, after: Mapping[str, float]) -> State:
        """One gradient step on s: d/ds (exp(-s) L + s) = 1 - exp(-s) L."""
        moved = {
            task: value - self.lr * (1 - math.exp(-value) * seen.losses[task])
            for task, value in of("log_variance", seen.tasks, state, start=0.0).items()
        }
        return with_values(
            state, log_variance={task: min(self.limit, max(-self.limit, value)) for task, value in moved.items()}
        )
