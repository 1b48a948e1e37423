"""What every loss is, and what it is told of its target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from weft.types import Answer

#: Class number of a target that is not known; PyTorch's own default.
IGNORE = -100


@dataclass(frozen=True)
class TargetFacts:
    """What a loss is told of its target.

    Attributes:
        answer: exclusive classes, independent labels, or values.
        maps: whether a sample has an answer for every pixel, or one for the whole of it.
        classes: names of the classes or labels, in the order of their numbers; empty where there are none.
        counts: entries of the training split (samples, or pixels) of each class; empty where they were not counted.
        num_counted: entries of the training split with a label, or with a word on having none.
        known: of those, of each class, how many tell whether they have it; empty: all do.
    """

    answer: Answer
    maps: bool = False
    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    num_counted: int = 0
    known: tuple[int, ...] = ()


class Loss(nn.Module, ABC):
    """A prediction and a target in, a sum and a count out.

    Whatever the type of the prediction (bf16 under autocast), the sum is taken in float32. Entries of the target that
    are not known (-100 for class numbers, NaN for labels and values) are in neither the sum nor the count, and where
    all are unknown both are 0 with zero gradients. Sums and counts of parts of a batch add up to those of the whole: a
    loss that looks at a map as a whole does so sample by sample, and each sample then counts as its known entries, as
    if every one of them had the sample's loss.

    A constructor takes `target`, the facts of it, and keyword-only options. It raises a `ValueError` where its options
    do not fit the target.

    Attributes:
        takes: the kinds of answers that it is for.
        needs_maps: whether it is only for answers per pixel.
        needs_positive: whether predictions must be above zero.
    """

    takes: ClassVar[tuple[Answer, ...]]
    needs_maps: ClassVar[bool] = False
    needs_positive: ClassVar[bool] = False

    def __init__(self, target: TargetFacts) -> None:
        super().__init__()
        self.target = target

    @classmethod
    def wants_counts(cls, options: Mapping[str, Any]) -> bool:
        """Whether, with these options, the classes of the training split have to be counted: by default where weights
        of classes say how they follow from the counts.
        """
        return any(isinstance(options.get(option), str) for option in ("class_weights", "pos_weight"))

    @abstractmethod
    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count), two scalars in float32: the mean is their quotient."""

    def count(self, target: Tensor) -> Tensor:
        """The count that `forward` returns, from the target alone: by default the known entries."""
        return known_entries(target).sum().float()


def known_entries(target: Tensor) -> Tensor:
    """Bool, the shape of the target: which entries are known."""
    return ~torch.isnan(target) if target.is_floating_point() else target != IGNORE


def per_sample(tensor: Tensor) -> Tensor:
    """(P, n) of (P, ...)."""
    return tensor.flatten(1) if tensor.dim() > 1 else tensor[:, None]
