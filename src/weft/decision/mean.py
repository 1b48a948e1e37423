"""The mean of the views' answers."""

from __future__ import annotations

import torch
from torch import Tensor

from weft.decision.base import Decision
from weft.registry import register


@register("decision", "mean")
class MeanDecision(Decision):
    """Arithmetic mean of a task's predictions over the views that are present in a row."""

    def forward(self, predictions: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """See `Decision.forward`."""
        total = torch.zeros_like(next(iter(predictions.values())))
        count = torch.zeros_like(next(iter(present.values())), dtype=total.dtype)
        for view, prediction in predictions.items():
            row = present[view].view(-1, *[1] * (prediction.dim() - 1))
            total = total + torch.where(row, prediction, 0)
            count = count + present[view]
        return total / count.clamp(min=1).view(-1, *[1] * (total.dim() - 1))  # clamp: no view is present
