"""The views' answers weighted by how sure each one is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from weft.decision.base import Decision, sum_of
from weft.decision.weights import ViewWeights
from weft.registry import register
from weft.types import Answer

#: Added to every certainty, so that views that all know nothing count the same instead of 0 / 0.
FLOOR = 1e-3


@register("decision", "uncertainty")
class UncertaintyDecision(Decision):
    """A mean weighted by certainty, row by row and pixel by pixel: one minus the entropy over the largest there can be.

    Each label has a certainty of its own. A number does not say how sure it is: there a variance per view is learned,
    for every task its own, and the weights are the inverse variances.

    Reference: Misra et al., New Entropy Based Combination Rules in HMM/ANN Multi-Stream ASR, ICASSP 2003.
    """

    def __init__(self, views: tuple[str, ...], answer: Answer) -> None:
        super().__init__(views, answer)
        self.precisions = ViewWeights(self.views) if answer == "values" else None

    def combine(self, predictions: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """See `Decision.combine`."""
        if self.precisions is not None:
            weights = self.precisions(present)
        else:
            sure = {view: torch.where(present[view], self._certainty(p) + FLOOR, 0) for view, p in predictions.items()}
            total = sum_of(sure).clamp(min=FLOOR)  # clamp: no view is present
            weights = {view: certainty / total for view, certainty in sure.items()}
        return sum_of({view: weights[view] * prediction for view, prediction in predictions.items()})

    def explain(self) -> dict[str, float]:
        """See `Decision.explain`: of numbers the inverse variances over their sum; certainties differ by row."""
        return {} if self.precisions is None else self.precisions.shares()

    def _certainty(self, probabilities: Tensor) -> Tensor:
        """In [0, 1]: (B, 1, ...) of classes, (B, ...) of labels."""
        if self.answer == "classes":
            entropy = torch.special.entr(probabilities).sum(1, keepdim=True)
            largest = math.log(probabilities.shape[1])
        else:
            entropy = torch.special.entr(probabilities) + torch.special.entr(1 - probabilities)
            largest = math.log(2)
        return (1 - entropy / largest).clamp(min=0)  # clamp: rounding
