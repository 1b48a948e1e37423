"""The mean of the views' answers."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from weft.box_fusion import fused
from weft.decision.base import Decision, sum_of
from weft.registry import register
from weft.types import Answer


@register("decision", "mean")
class MeanDecision(Decision):
    """Arithmetic mean of a task's predictions over the views that are present in a row; of boxes, those of one class
    that overlap are averaged.
    """

    combines: ClassVar[tuple[Answer, ...]] = ("classes", "labels", "values", "boxes")

    def combine(self, predictions: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """See `Decision.combine`."""
        if self.answer == "boxes":
            return _mean_boxes(predictions, present)
        number = sum_of({view: there.float() for view, there in present.items()})
        return sum_of(predictions) / number.clamp(min=1)  # clamp: no view is present


def _mean_boxes(predictions: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
    """(B, N, 6) see `fused`; a row at a time: how many boxes there are differs."""
    first = next(iter(predictions.values()))
    there = {view: rows.flatten().tolist() for view, rows in present.items()}
    rows = []
    for row in range(len(first)):
        said = [boxes[row] for view, boxes in predictions.items() if there[view][row]]
        rows.append(fused(said, most=first.shape[1]) if said else first.new_zeros(first.shape[1:]))
    return torch.stack(rows)
