"""What every loss is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn


class Loss(nn.Module, ABC):
    """A prediction and a target in, a sum and a count out. Constructors take keyword-only options.

    Whatever the type of the prediction (bf16 under autocast), the sum is taken in float32. Entries of the target that
    are not known (-100 for class numbers, NaN for values) are in neither the sum nor the count, and where all are
    unknown both are 0 with zero gradients.

    Attributes:
        needs_positive: whether predictions must be above zero.
    """

    needs_positive: ClassVar[bool] = False

    @abstractmethod
    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count), two scalars in float32: the mean is their quotient."""

    @abstractmethod
    def count(self, target: Tensor) -> Tensor:
        """The count that `forward` returns, from the target alone."""
