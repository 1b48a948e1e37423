"""What every decision rule is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Decision(nn.Module, ABC):
    """Combine a task's predictions of several views into one. Constructors take keyword-only options."""

    @abstractmethod
    def forward(self, predictions: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """(B, ...) from {view: (B, ...)} and {view: (B,) bool}; weights renormalise over the views present in a row.

        What an absent view holds must change nothing, to the bit.
        """
