"""Weights learned so that tasks that lag behind have the longer gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from weft.balancing.adam import adam_step
from weft.balancing.base import At, Balancing, Seen, State, adding_up, of, with_values
from weft.balancing.gls import SMALLEST
from weft.registry import Range, register

#: Weights never fall below this share of an even one: at 0 a task would never be heard again.
LEAST = 0.01


@register("balancing", "gradnorm")
class GradNorm(Balancing):
    """Minimise Σ |w g - G r^alpha| over the weights w, by Adam beside the network's own steps.

    g is the length of a task's gradient, G the mean of w g over the tasks, and r how far behind a task is: its loss
    over that of its first step, over the mean of that over the tasks. The weights act on the whole loss, and those of
    the tasks in a step keep their sum. Gradients are taken at the features that the heads read, where the paper takes
    the last shared layer.

    Reference: Chen et al., ICML 2018, arXiv:1711.02257, eq. 1 and 2.

    Args:
        alpha: how strongly a task that lags behind is pulled; 0: gradients of one length.
        lr: step size on the weights.
        at: where gradients are taken: features, or all parameters of encoders and fusion.
    """

    measures: ClassVar[bool] = True

    def __init__(
        self,
        *,
        alpha: Annotated[float, Range(0)] = 1.5,
        lr: Annotated[float, Range(0, open_low=True)] = 0.025,
        at: At = "features",
    ) -> None:
        self.alpha, self.lr, self.at = alpha, lr, at

    def weights(self, seen: Seen, state: State) -> dict[str, float]:
        """Adding up to the number of tasks."""
        return adding_up(of("weight", seen.tasks, state, start=1.0), len(seen.tasks))

    def update(self, seen: Seen, state: State, *, after: Mapping[str, float]) -> State:
        """One step on w; the target of the lengths counts as a constant."""
        tasks = seen.tasks
        first = {task: state.get("first", {}).get(task, seen.losses[task]) for task in tasks}
        state = with_values(state, first=first)
        if len(tasks) < 2:
            return state
        assert seen.gramian is not None
        norms = seen.gramian.norms()
        weights = self.weights(seen, state)
        behind = {task: seen.losses[task] / max(first[task], SMALLEST) for task in tasks}
        mean_behind = max(sum(behind.values()) / len(tasks), SMALLEST)
        length = sum(weights[task] * norms[task] for task in tasks) / len(tasks)
        gradients = {}
        for task in tasks:
            gap = weights[task] * norms[task] - length * (behind[task] / mean_behind) ** self.alpha
            gradients[task] = norms[task] * ((gap > 0) - (gap < 0))
        total = sum(of("weight", tasks, state, start=1.0).values())
        moved = adam_step("weight", gradients, state, start=1.0, lr=self.lr)
        kept = {task: max(value, LEAST) for task, value in of("weight", tasks, moved, start=1.0).items()}
        return with_values(moved, weight=adding_up(kept, total))
