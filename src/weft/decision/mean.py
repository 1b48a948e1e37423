"""The mean of the views' answers."""

from __future__ import annotations

from torch import Tensor

from weft.decision.base import Decision, sum_of
from weft.registry import register


@register("decision", "mean")
class MeanDecision(Decision):
    """Arithmetic mean of a task's predictions over the views that are present in a row."""

    def combine(self, predictions: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """See `Decision.combine`."""
        number = sum_of({view: there.float() for view, there in present.items()})
        return sum_of(predictions) / number.clamp(min=1)  # clamp: no view is present
