"""Focal loss: what is already right counts little."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from weft.losses.base import Loss, TargetFacts, known_entries
from weft.losses.class_weights import Beta, ClassWeights, weights_of
from weft.losses.cross_entropy import weighed_entries
from weft.registry import Range, register
from weft.types import Answer

#: What torchvision takes for "no α".
_NO_ALPHA = -1.0


@register("loss", "focal")
class Focal(Loss):
    """Cross-entropy of each entry times (1 − p)^γ, with p the probability given to what is true.

    For exclusive classes p is the softmax's, for labels the sigmoid's, and there every label of every entry has its own
    term. The mean is over entries, weighed by `class_weights` where they are given.

    Reference: Lin et al., ICCV 2017, arXiv:1708.02002, eq. 4 and 5.

    Args:
        gamma: γ; the larger, the less an entry that is right already counts.
        alpha: of labels: factor on the positive terms, 1 − alpha on the negative ones; by default both 1.
        class_weights: of exclusive classes: as of cross_entropy.
        beta: with `class_weights: effective`, β of it; by default 1 − 1 / the mean number of entries of a class.
    """

    takes: ClassVar[tuple[Answer, ...]] = ("classes", "labels")
    class_weights: Tensor | None

    def __init__(
        self,
        target: TargetFacts,
        *,
        gamma: Annotated[float, Range(1)] = 2.0,  # below 1 the slope at p = 1 is infinite
        alpha: Annotated[float, Range(0, 1)] | None = None,
        class_weights: ClassWeights | None = None,
        beta: Beta | None = None,
    ) -> None:
        super().__init__(target)
        if target.answer == "labels" and class_weights is not None:
            raise ValueError("class_weights are of exclusive classes, and these are labels; give `alpha`")
        if target.answer == "classes" and alpha is not None:
            raise ValueError("alpha is of labels that are there or not; give `class_weights`")
        self.gamma = gamma
        self.alpha = _NO_ALPHA if alpha is None else alpha
        self.register_buffer("class_weights", weights_of(class_weights, target, beta=beta), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) of logits.

        Args:
            prediction: (P, K, ...) logits.
            target: (P, ...) int64 class numbers, -100 where not known; of labels (P, K, ...) float in [0, 1], NaN where
                not known.
        """
        known = known_entries(target)
        truth = torch.where(known, target, 0)
        if self.target.answer == "labels":
            terms = sigmoid_focal_loss(prediction.float(), truth.float(), alpha=self.alpha, gamma=self.gamma)
        else:
            right = true_log_probability(prediction, truth)
            terms = -((1 - right.exp()) ** self.gamma) * right
            if self.class_weights is not None:
                terms = terms * self.class_weights[truth]
        return torch.where(known, terms, 0).sum(), self.count(target)

    def count(self, target: Tensor) -> Tensor:
        """Known entries, of classes each weighed by its own."""
        if self.target.answer == "labels":
            return super().count(target)
        return weighed_entries(target, self.class_weights)


def true_log_probability(logits: Tensor, truth: Tensor) -> Tensor:
    """(P, ...) float32: log p of the true class.

    Args:
        logits: (P, K, ...).
        truth: (P, ...) int64 class numbers.
    """
    inner = logits.float().movedim(1, -1)  # over the last dimension: several times faster where it is so in memory
    return F.log_softmax(inner, -1).gather(-1, truth[..., None]).squeeze(-1)
