"""Weights by how slowly each loss fell from one epoch to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from weft.balancing.base import Balancing, Seen, State, adding_up, of, softmax, with_values
from weft.registry import Range, register


@register("balancing", "dwa")
class DynamicWeightAverage(Balancing):
    """K softmax(r / temperature) with r the loss of the last epoch over that of the epoch before.

    A task whose loss falls slowly counts more. Until a task has had labels in two epochs its r is 1; an epoch without
    labels for it is passed over.

    Reference: Liu et al., CVPR 2019, arXiv:1803.10704, eq. 7.

    Args:
        temperature: the larger, the more even the weights.
    """

    def __init__(self, *, temperature: Annotated[float, Range(0, open_low=True)] = 2.0) -> None:
        self.temperature = temperature

    def weights(self, seen: Seen, state: State) -> dict[str, float]:
        """Adding up to the number of tasks."""
        last, before = state.get("last", {}), state.get("before", {})
        rates = {task: last[task] / before[task] if before.get(task) else 1.0 for task in seen.tasks}
        shares = softmax({task: rate / self.temperature for task, rate in rates.items()})
        return adding_up(shares, len(seen.tasks))

    def end_epoch(self, losses: Mapping[str, float], state: State) -> State:
        """The last epoch becomes the one before."""
        before = of("last", (task for task in losses if task in state.get("last", {})), state, start=0.0)
        return with_values(state, before=before, last=losses)
