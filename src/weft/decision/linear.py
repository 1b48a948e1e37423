"""A weighted mean of the views' answers."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from weft.decision.base import Decision, sum_of
from weft.decision.weights import ViewWeights
from weft.registry import Range, register
from weft.types import Answer


@register("decision", "linear")
class LinearDecision(Decision):
    """A weighted mean, of probabilities the linear opinion pool. Weights renormalise over the views present in a row.

    Learned weights are fitted to the answers of the heads as these train: stacking with weights that are positive and
    sum to one.

    Reference: Breiman, Stacked Regressions, Machine Learning 24, 1996.

    Args:
        weights: {view: weight}, every view that a task reads; by default they are learned, for every task its own.
    """

    def __init__(
        self,
        views: tuple[str, ...],
        answer: Answer,
        *,
        weights: dict[str, Annotated[float, Range(0, open_low=True)]] | None = None,
    ) -> None:
        super().__init__(views, answer)
        self.weights = ViewWeights(self.views, weights)

    def combine(self, predictions: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """See `Decision.combine`."""
        shares = self.weights(present)
        return sum_of({view: shares[view] * prediction for view, prediction in predictions.items()})

    def explain(self) -> dict[str, float]:
        """See `Decision.explain`."""
        return self.weights.shares()
