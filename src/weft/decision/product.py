"""The product of the views' answers."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from weft.decision.base import Decision, sum_of
from weft.decision.weights import ViewWeights
from weft.probabilities import log_odds, log_probabilities
from weft.registry import register
from weft.types import Answer


@register("decision", "product")
class ProductDecision(Decision):
    """A product of experts: probabilities multiplied, each to a power, and normalised; for labels, the odds.

    One view can rule a class out; under `mean` it cannot. Numbers are the means of Gaussian experts of learned
    precisions, whose product has the mean of them weighted by precision.

    Reference: Hinton, Training Products of Experts by Minimizing Contrastive Divergence, Neural Computation 14, 2002.

    Args:
        evidence: mean: the powers sum to one, the geometric mean, for views that see the same; sum: they sum to the
            number of views present, so that views that agree make each other surer, for views that err independently.
        powers: equal for all views, or learned, for every task its own. The precisions of numbers are always learned.
    """

    def __init__(
        self,
        views: tuple[str, ...],
        answer: Answer,
        *,
        evidence: Literal["mean", "sum"] = "mean",
        powers: Literal["equal", "learned"] = "equal",
    ) -> None:
        super().__init__(views, answer)
        self._adds = evidence == "sum"
        equal = powers == "equal" and answer != "values"
        self.weights = ViewWeights(self.views, dict.fromkeys(self.views, 1.0) if equal else None)

    def combine(self, predictions: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """See `Decision.combine`."""
        shares = self.weights(present)
        if self.answer == "values":
            return sum_of({view: shares[view] * prediction for view, prediction in predictions.items()})
        if self._adds:
            number = sum_of({view: there.float() for view, there in present.items()})
            shares = {view: share * number for view, share in shares.items()}
        log = log_probabilities if self.answer == "classes" else log_odds
        pooled = sum_of({view: shares[view] * log(prediction) for view, prediction in predictions.items()})
        if self.answer == "labels":
            return pooled.sigmoid()
        return pooled.movedim(1, -1).softmax(-1).movedim(-1, 1)  # over the last dimension: faster on a processor

    def explain(self) -> dict[str, float]:
        """See `Decision.explain`; of numbers, the precisions over their sum."""
        return self.weights.shares()
