"""Binary cross-entropy of independent yes-or-no labels, per sample or per pixel."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from weft.losses.base import Loss, TargetFacts, known_entries
from weft.losses.class_weights import PositiveWeights, positive_weights_of
from weft.registry import register
from weft.types import Answer


@register("loss", "binary_cross_entropy")
class BinaryCrossEntropy(Loss):
    """Binary cross-entropy: the quotient of sum and count equals `binary_cross_entropy_with_logits` with its mean.

    Args:
        pos_weight: a factor on the positive term of each label, by name (others 1) or in the order of the classes;
            inverse: its negatives over its positives in the training split; by default all 1.
    """

    takes: ClassVar[tuple[Answer, ...]] = ("labels",)
    pos_weight: Tensor | None

    def __init__(self, target: TargetFacts, *, pos_weight: PositiveWeights | None = None) -> None:
        super().__init__(target)
        self.register_buffer("pos_weight", positive_weights_of(pos_weight, target), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) of logits.

        Args:
            prediction: (P, K, ...) logits.
            target: (P, K, ...) float in [0, 1], NaN where not known.
        """
        known = known_entries(target)
        weight = self.pos_weight
        if weight is not None:
            weight = weight.view(-1, *[1] * (prediction.dim() - 2))
        terms = F.binary_cross_entropy_with_logits(
            prediction.float(), torch.where(known, target, 0).float(), pos_weight=weight, reduction="none"
        )
        return torch.where(known, terms, 0).sum(), self.count(target)


@register("loss", "balanced_binary_cross_entropy")
class BalancedBinaryCrossEntropy(Loss):
    """Binary cross-entropy in which the positives and the negatives of a sample's map weigh the same together.

    With the share β of the known pixels of a sample that are negative, its positives weigh β and its negatives 1 − β.
    A sample without a positive then teaches nothing; `binary_cross_entropy` with `pos_weight: inverse` weighs by the
    whole training split instead.

    Reference: Xie and Tu, ICCV 2015, arXiv:1504.06375, eq. 2.
    """

    takes: ClassVar[tuple[Answer, ...]] = ("labels",)
    needs_maps: ClassVar[bool] = True

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) of logits.

        Args:
            prediction: (P, K, H, W) logits.
            target: (P, K, H, W) float in [0, 1], NaN where not known.
        """
        known = known_entries(target)
        truth = torch.where(known, target, 0).float()
        number = known.sum((2, 3), keepdim=True).clamp(min=1)  # clamp: a map may have no known pixel
        positive = truth.sum((2, 3), keepdim=True) / number
        terms = F.binary_cross_entropy_with_logits(prediction.float(), truth, reduction="none")
        weight = truth * (1 - positive) + (1 - truth) * positive
        return torch.where(known, weight * terms, 0).sum(), self.count(target)
