"""A schedule that lowers the learning rate when the validation figure stops rising."""

from __future__ import annotations

from typing import Annotated, Any

from weft.engine.schedule import Schedule
from weft.registry import Range, register


@register("schedule", "plateau")
class Plateau(Schedule):
    """Times `gamma` after `patience` evaluations without a better figure.

    Args:
        gamma: the factor each time.
        patience: evaluations to wait.
        margin: how much better counts as better.
    """

    def __init__(
        self,
        *,
        gamma: Annotated[float, Range(0, 1)] = 0.1,
        patience: Annotated[int, Range(1)] = 5,
        margin: Annotated[float, Range(0)] = 0.0,
    ) -> None:
        self.gamma, self.patience, self.margin = gamma, patience, margin

    def factor(self, epoch: float, epochs: int, state: dict[str, Any]) -> float:
        """The factor so far."""
        return float(self.gamma ** state.get("falls", 0))

    def observe(self, value: float, state: dict[str, Any]) -> dict[str, Any]:
        """Count the evaluations without a better figure, and a fall after enough of them."""
        best, waited, falls = state.get("best"), state.get("waited", 0), state.get("falls", 0)
        if best is None or value > best + self.margin:
            return {"best": value, "waited": 0, "falls": falls}
        if waited + 1 >= self.patience:
            return {"best": best, "waited": 0, "falls": falls + 1}
        return {"best": best, "waited": waited + 1, "falls": falls}
