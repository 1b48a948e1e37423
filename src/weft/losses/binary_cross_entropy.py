"""Binary cross-entropy of independent yes-or-no labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from weft.losses.base import Loss
from weft.losses.regression import known_values
from weft.registry import register


@register("loss", "binary_cross_entropy")
class BinaryCrossEntropy(Loss):
    """Binary cross-entropy: the quotient of sum and count equals `binary_cross_entropy_with_logits` with its mean.

    Args:
        pos_weight: a factor on the positive term of each label, in the order of the classes; by default all 1.
    """

    pos_weight: Tensor | None

    def __init__(self, *, pos_weight: list[float] | None = None) -> None:
        super().__init__()
        weights = None if pos_weight is None else torch.tensor(pos_weight, dtype=torch.float32)
        self.register_buffer("pos_weight", weights, persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) of logits.

        Args:
            prediction: (P, K) logits.
            target: (P, K) float in [0, 1], NaN where not known.
        """
        if self.pos_weight is not None and len(self.pos_weight) != prediction.shape[1]:
            raise ValueError(
                f"pos_weight has {len(self.pos_weight)} numbers for {prediction.shape[1]} classes; give one each"
            )
        known = known_values(target)
        terms = F.binary_cross_entropy_with_logits(
            prediction.float(), torch.where(known, target, 0).float(), pos_weight=self.pos_weight, reduction="none"
        )
        return torch.where(known, terms, 0).sum(), self.count(target)

    def count(self, target: Tensor) -> Tensor:
        """Known entries."""
        return known_values(target).sum().float()
