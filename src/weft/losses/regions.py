"""Losses of how well whole regions overlap: Dice and Lovász."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import Tensor

from weft.losses.base import IGNORE, Loss, TargetFacts, known_entries, per_sample
from weft.registry import Range, register
from weft.types import Answer


@register("loss", "dice")
class Dice(Loss):
    """1 − Dice of each class: 1 − (2 Σ p y + s) / (Σ p + Σ y + s), summed over a sample's known pixels.

    The loss of a sample is the mean over the classes that occur in it; of labels, over all of them, where one that is
    absent is pulled towards 0 by s alone. Sums run over one sample, and not over the batch, so that the batch size does
    not matter; each sample counts as its known entries.

    Reference: Milletari et al., 3DV 2016, arXiv:1606.04797, section 3, without the squares; Sudre et al., DLMIA 2017,
    arXiv:1707.03237.

    Args:
        smooth: s.
    """

    takes: ClassVar[tuple[Answer, ...]] = ("classes", "labels")
    needs_maps: ClassVar[bool] = True

    def __init__(self, target: TargetFacts, *, smooth: Annotated[float, Range(0, open_low=True)] = 1.0) -> None:
        super().__init__(target)
        self.smooth = smooth

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) of logits.

        Args:
            prediction: (P, K, H, W) logits.
            target: (P, H, W) int64 class numbers, -100 where not known; of labels (P, K, H, W) float in [0, 1], NaN
                where not known.
        """
        logits = prediction.float().flatten(2)
        overlap, said, true, counted = self._of_labels(logits, target) if self._labels else _of_classes(logits, target)
        losses = torch.where(counted, 1 - (2 * overlap + self.smooth) / (said + true + self.smooth), 0)
        means = losses.sum(1) / counted.sum(1).clamp(min=1)  # clamp: a sample may have no known pixel
        return (per_sample(known_entries(target)).sum(1) * means).sum(), self.count(target)

    @property
    def _labels(self) -> bool:
        return self.target.answer == "labels"

    @staticmethod
    def _of_labels(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(P, K) each: Σ p y, Σ p, Σ y, and whether any pixel is known."""
        known = known_entries(target).flatten(2)
        truth = torch.where(known, target.flatten(2), 0).float()
        said = torch.where(known, logits.sigmoid(), 0)
        return (said * truth).sum(2), said.sum(2), truth.sum(2), known.any(2)


def _of_classes(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(P, K) each: Σ p y, Σ p, Σ y, and whether the class occurs.

    Args:
        logits: (P, K, n).
        target: (P, ...) int64.
    """
    known = per_sample(known_entries(target))
    truth = torch.where(known, per_sample(target), 0)
    said = torch.where(known[:, None], logits.movedim(1, -1).softmax(-1).movedim(-1, 1), 0)
    right = said.gather(1, truth[:, None]).squeeze(1)
    nothing = logits.new_zeros(logits.shape[:2])
    true = nothing.scatter_add(1, truth, known.float())
    return nothing.scatter_add(1, truth, right), said.sum(2), true, true > 0


@register("loss", "lovasz")
class Lovasz(Loss):
    """Lovász-softmax: the continuous extension of 1 − IoU, of each sample the mean over the classes that occur in it.

    Taken in each sample by itself, so that the batch size does not matter; each sample counts as its known pixels. It
    sorts the pixels once for every class that occurs.

    Reference: Berman et al., CVPR 2018, arXiv:1705.08790, eq. 11 and algorithm 1.
    """

    takes: ClassVar[tuple[Answer, ...]] = ("classes",)
    needs_maps: ClassVar[bool] = True

    def __init__(self, target: TargetFacts) -> None:
        from segmentation_models_pytorch.losses import LovaszLoss  # slow to import, and only this loss needs it

        super().__init__(target)
        self.of_sample = LovaszLoss("multiclass", per_image=True, ignore_index=IGNORE)

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) of logits.

        Args:
            prediction: (P, K, H, W) logits.
            target: (P, H, W) int64 class numbers, -100 where not known.
        """
        total = prediction[:0].float().sum()
        for logits, truth in zip(prediction.float().split(1), target.split(1), strict=True):
            number = known_entries(truth).sum()
            if bool(number):
                total = total + number * self.of_sample(logits, truth)
        return total, self.count(target)
