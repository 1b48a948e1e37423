"""Losses of values: absolute error, squared error, what lies between, and the scale-invariant error of logarithms."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from weft.losses.base import Loss, TargetFacts, known_entries
from weft.registry import Range, register
from weft.types import Answer

#: Smallest value whose logarithm is taken: the log of 0 is not finite.
SMALLEST = 1e-6


class _Elementwise(Loss):
    """A loss that is a sum over known entries."""

    takes: ClassVar[tuple[Answer, ...]] = ("values",)

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count).

        Args:
            prediction: (P, ...) values.
            target: (P, ...) values, NaN where not known.
        """
        known = known_entries(target)
        # the unknown are replaced before the difference: where() alone would still send NaN through the gradient
        difference = prediction.float() - torch.where(known, target.float(), 0)
        return torch.where(known, self.term(difference), 0).sum(), self.count(target)

    @abstractmethod
    def term(self, difference: Tensor) -> Tensor:
        """The loss of each entry."""


@register("loss", "l1")
class L1(_Elementwise):
    """Absolute error."""

    def term(self, difference: Tensor) -> Tensor:
        """|difference|."""
        return difference.abs()


@register("loss", "mse")
class MSE(_Elementwise):
    """Squared error."""

    def term(self, difference: Tensor) -> Tensor:
        """difference²."""
        return difference.square()


@register("loss", "huber")
class Huber(_Elementwise):
    """Half the squared error of small differences and the absolute error of large ones: outliers pull less.

    Reference: Huber, Annals of Mathematical Statistics 35(1), 1964.

    Args:
        delta: differences up to this are squared. Beyond, the loss goes on in a straight line of this slope.
    """

    def __init__(self, target: TargetFacts, *, delta: Annotated[float, Range(0, open_low=True)] = 1.0) -> None:
        super().__init__(target)
        self.delta = delta

    def term(self, difference: Tensor) -> Tensor:
        """difference² / 2, or delta · (|difference| − delta / 2)."""
        size = difference.abs()
        return torch.where(size <= self.delta, difference.square() / 2, self.delta * (size - self.delta / 2))


@register("loss", "scale_invariant")
class ScaleInvariant(Loss):
    """Scale-invariant error of logarithms: how far the ratios within a sample are off, whatever its overall scale.

    Of a sample with n known entries and d = log prediction − log target it is Σd²/n − λ(Σd)²/n². Each sample counts as
    n entries, so that sums over parts of a batch add up to the sum over the batch.

    Reference: Eigen et al., NeurIPS 2014, arXiv:1406.2283, eq. 4.

    Args:
        balance: λ; 0 is the plain squared error of logarithms, 1 ignores the overall scale altogether.
    """

    takes: ClassVar[tuple[Answer, ...]] = ("values",)
    needs_positive: ClassVar[bool] = True

    def __init__(self, target: TargetFacts, *, balance: Annotated[float, Range(0, 1)] = 0.5) -> None:
        super().__init__(target)
        self.balance = balance

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count).

        Args:
            prediction: (P, ...) positive values.
            target: (P, ...) values; those that are NaN, zero or negative are not known.
        """
        known = self._known(target)
        # the unknown are given a log of 0 on both sides, so that no gradient comes from them
        truth = torch.where(known, target.float(), 1).log()
        guess = torch.where(known, prediction.float(), 1).clamp(min=SMALLEST).log()
        difference = (guess - truth).flatten(1)
        num_known = known.flatten(1).sum(1)
        mean = difference.sum(1) / num_known.clamp(min=1)  # clamp: a sample may have no known entry
        total = difference.square().sum() - self.balance * (num_known * mean.square()).sum()
        return total, num_known.sum().float()

    def count(self, target: Tensor) -> Tensor:
        """Known entries."""
        return self._known(target).sum().float()

    @staticmethod
    def _known(target: Tensor) -> Tensor:
        return target > 0  # False for NaN too
