"""The largest of the views' answers."""

from __future__ import annotations

import torch
from torch import Tensor

from weft.decision.base import Decision
from weft.registry import register


@register("decision", "maximum")
class MaximumDecision(Decision):
    """The largest probability that any view gives, for classes divided by their sum; of numbers the largest.

    Reference: Kittler et al., On Combining Classifiers, IEEE TPAMI 20(3), 1998, section 3.
    """

    def combine(self, predictions: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """See `Decision.combine`."""
        first = next(iter(predictions.values()))
        lowest = torch.finfo(first.dtype).min
        largest = torch.full_like(first, lowest)
        for view, prediction in predictions.items():
            largest = torch.maximum(largest, torch.where(present[view], prediction, lowest))
        largest = torch.where(largest == lowest, 0, largest)  # no view is present
        if self.answer != "classes":
            return largest
        return largest / largest.sum(1, keepdim=True).clamp(min=torch.finfo(first.dtype).tiny)
