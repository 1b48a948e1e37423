"""Cross-entropy of the hardest pixels."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from weft.losses.base import Loss, TargetFacts, known_entries, per_sample
from weft.losses.class_weights import Beta, ClassWeights, weights_of
from weft.losses.focal import true_log_probability
from weft.registry import Range, register
from weft.types import Answer


@register("loss", "ohem_cross_entropy")
class OhemCrossEntropy(Loss):
    """Mean cross-entropy of a sample's hard pixels: those whose true class has a probability below a threshold.

    Where these are fewer than a share of the sample's known pixels, the hardest ones fill up to it. Chosen in each
    sample by itself, and not across the batch as usual, so that the batch size does not matter; each sample counts as
    its known pixels.

    Reference: Shrivastava et al., CVPR 2016, arXiv:1604.03540; by threshold and least number: Wu et al., 2016,
    arXiv:1605.06885.

    Args:
        threshold: pixels are hard whose true class has a probability below this.
        keep: least share of the known pixels of a sample.
        class_weights: as of cross_entropy; the mean is then weighed by them.
        beta: with `class_weights: effective`, β of it; by default 1 − 1 / the mean number of entries of a class.
    """

    takes: ClassVar[tuple[Answer, ...]] = ("classes",)
    needs_maps: ClassVar[bool] = True
    class_weights: Tensor | None

    def __init__(
        self,
        target: TargetFacts,
        *,
        threshold: Annotated[float, Range(0, 1, open_low=True)] = 0.7,
        keep: Annotated[float, Range(0, 1, open_low=True)] = 0.1,
        class_weights: ClassWeights | None = None,
        beta: Beta | None = None,
    ) -> None:
        super().__init__(target)
        self.limit = -math.log(threshold)
        self.keep = keep
        self.register_buffer("class_weights", weights_of(class_weights, target, beta=beta), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) of logits.

        Args:
            prediction: (P, K, H, W) logits.
            target: (P, H, W) int64 class numbers, -100 where not known.
        """
        known = per_sample(known_entries(target))
        truth = torch.where(known, per_sample(target), 0)
        losses = torch.where(known, -true_log_probability(prediction.flatten(2), truth), 0)
        number = known.sum(1)
        # hardness, with the unknown last; what is hard is no matter of the gradient
        hardness = torch.where(known, losses.detach(), -1)
        least = (self.keep * number).ceil().long().clamp(min=1)  # clamp: there may be no known pixel
        filled = hardness.sort(1, descending=True).values.gather(1, least[:, None] - 1)
        hard = known & ((hardness > self.limit) | (hardness >= filled))
        weights = hard.float() if self.class_weights is None else hard * self.class_weights[truth]
        smallest = torch.finfo(torch.float32).tiny  # all hard pixels may be of classes that weigh nothing
        means = (weights * losses).sum(1) / weights.sum(1).clamp(min=smallest)
        return (number * means).sum(), self.count(target)
