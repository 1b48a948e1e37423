"""Cross-entropy of one class out of K, per sample or per pixel."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from weft.losses.base import Loss
from weft.registry import Range, register

#: Class number of a target that is not known; PyTorch's own default.
IGNORE = -100


@register("loss", "cross_entropy")
class CrossEntropy(Loss):
    """Cross-entropy: the quotient of sum and count equals `torch.nn.functional.cross_entropy` with its mean.

    Args:
        class_weights: a factor per class, in the order of the classes; by default all 1. They are in sum and count.
        label_smoothing: share of the target that is spread evenly over all classes.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        *,
        class_weights: list[float] | None = None,
        label_smoothing: Annotated[float, Range(0, 1, open_high=True)] = 0.0,
    ) -> None:
        super().__init__()
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)
        self.label_smoothing = label_smoothing

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) of logits.

        Args:
            prediction: (P, K, ...) logits.
            target: (P, ...) int64 class numbers, -100 where not known.
        """
        num_classes = prediction.shape[1]
        self._check(num_classes)
        # classes innermost: no copy where they are so in memory, and then several times faster than over dimension 1
        logits = prediction.float().movedim(1, -1).reshape(-1, num_classes)
        total = F.cross_entropy(
            logits,
            target.reshape(-1),
            weight=self.class_weights,
            ignore_index=IGNORE,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        return total, self.count(target)

    def count(self, target: Tensor) -> Tensor:
        """Known entries, each weighed by its class."""
        known = target != IGNORE
        if self.class_weights is None:
            return known.sum().float()
        return self.class_weights[target[known]].sum()

    def _check(self, num_classes: int) -> None:
        if self.class_weights is not None and len(self.class_weights) != num_classes:
            raise ValueError(
                f"class_weights has {len(self.class_weights)} numbers for {num_classes} classes; give one each"
            )
