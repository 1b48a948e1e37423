"""Cross-entropy of one class out of K, per sample or per pixel."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch.nn.functional as F
from torch import Tensor

from weft.losses.base import IGNORE, Loss, TargetFacts
from weft.losses.class_weights import Beta, ClassWeights, weights_of
from weft.registry import Range, register
from weft.types import Answer


@register("loss", "cross_entropy")
class CrossEntropy(Loss):
    """Cross-entropy: the quotient of sum and count equals `torch.nn.functional.cross_entropy` with its mean.

    Args:
        class_weights: a factor per class, by name (others weigh 1) or in the order of the classes; inverse: entries /
            (classes · entries of the class) of the training split; effective: by the effective number of entries; by
            default all 1. They are in sum and count.
        beta: with `class_weights: effective`, β of it; by default 1 − 1 / the mean number of entries of a class.
        label_smoothing: share of the target that is spread evenly over all classes.
    """

    takes: ClassVar[tuple[Answer, ...]] = ("classes",)
    class_weights: Tensor | None

    def __init__(
        self,
        target: TargetFacts,
        *,
        class_weights: ClassWeights | None = None,
        beta: Beta | None = None,
        label_smoothing: Annotated[float, Range(0, 1, open_high=True)] = 0.0,
    ) -> None:
        super().__init__(target)
        self.register_buffer("class_weights", weights_of(class_weights, target, beta=beta), persistent=False)
        self.label_smoothing = label_smoothing

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) of logits.

        Args:
            prediction: (P, K, ...) logits.
            target: (P, ...) int64 class numbers, -100 where not known.
        """
        # classes innermost: no copy where they are so in memory, and then several times faster than over dimension 1
        logits = prediction.float().movedim(1, -1).reshape(-1, prediction.shape[1])
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
        return weighed_entries(target, self.class_weights)


def weighed_entries(target: Tensor, weights: Tensor | None) -> Tensor:
    """Known entries of class numbers, each weighed by its class: a scalar in float32."""
    known = target != IGNORE
    return known.sum().float() if weights is None else weights[target[known]].sum()
