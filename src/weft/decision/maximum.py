"""The largest of the views' answers."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from weft.box_fusion import surest
from weft.decision.base import Decision
from weft.registry import register
from weft.types import Answer


@register("decision", "maximum")
class MaximumDecision(Decision):
    """The largest probability that any view gives, for classes divided by their sum; of numbers the largest; of boxes
    of one class that overlap the one with the highest score.

    Reference: Kittler et al., On Combining Classifiers, IEEE TPAMI 20(3), 1998, section 3.
    """

    combines: ClassVar[tuple[Answer, ...]] = ("classes", "labels", "values", "boxes")

    def combine(self, predictions: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """See `Decision.combine`."""
        first = next(iter(predictions.values()))
        if self.answer == "boxes":  # an absent view has none
            together = torch.cat(list(predictions.values()), 1)
            return torch.stack([surest(boxes, most=first.shape[1]) for boxes in together])
        lowest = torch.finfo(first.dtype).min
        largest = torch.full_like(first, lowest)
        for view, prediction in predictions.items():
            largest = torch.maximum(largest, torch.where(present[view], prediction, lowest))
        largest = torch.where(largest == lowest, 0, largest)  # no view is present
        if self.answer != "classes":
            return largest
        return largest / largest.sum(1, keepdim=True).clamp(min=torch.finfo(first.dtype).tiny)
