"""Losses that fall at the same relative rate, from the losses alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

from weft.balancing.adam import adam_step
from weft.balancing.base import Balancing, Reads, Seen, State, adding_up, of, softmax
from weft.balancing.gls import SMALLEST
from weft.registry import Range, register


@register("balancing", "famo")
class Famo(Balancing):
    """Fast adaptive multitask optimisation: weights in proportion to z / L, z = softmax(w).

    After every step the losses of the same samples are taken once more, without gradients: w moves, by Adam, towards
    the tasks whose logarithm of the loss fell least. That second look costs a forward pass.

    Reference: Liu et al., NeurIPS 2023, arXiv:2306.03792, algorithm 1.

    Args:
        lr: step size on w.
        decay: how strongly w is drawn back to 0.
    """

    reads: ClassVar[Reads] = "losses"
    looks_again: ClassVar[bool] = True

    def __init__(
        self,
        *,
        lr: Annotated[float, Range(0, open_low=True)] = 0.025,
        decay: Annotated[float, Range(0)] = 0.001,
    ) -> None:
        self.lr, self.decay = lr, decay

    def weights(self, seen: Seen, state: State) -> dict[str, float]:
        """z / L, adding up to the number of tasks."""
        shares = softmax(of("logit", seen.tasks, state, start=0.0))
        over = {task: share / max(seen.losses[task], SMALLEST) for task, share in shares.items()}
        return adding_up(over, len(seen.tasks))

    def update(self, seen: Seen, state: State, *, after: Mapping[str, float]) -> State:
        """One step on w against d/dw of Σ z δ, δ the fall of log L."""
        logits = of("logit", seen.tasks, state, start=0.0)
        shares = softmax(logits)
        falls = {task: _log(seen.losses[task]) - _log(after[task]) for task in seen.tasks}
        mean = sum(shares[task] * fall for task, fall in falls.items())
        gradients = {task: shares[task] * (falls[task] - mean) + self.decay * logits[task] for task in seen.tasks}
        return adam_step("logit", gradients, state, start=0.0, lr=self.lr)


def _log(loss: float) -> float:
    return math.log(max(loss, SMALLEST))
