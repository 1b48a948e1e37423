"""What every part of dual-modal attention is that answers token by token."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from weft.fusion.places import Places
from weft.types import Memory


class Part(nn.Module, ABC):
    """A kind of attention over the joined tokens of all modalities, (B, N, D)."""

    @abstractmethod
    def forward(self, tokens: Tensor, places: Places) -> Tensor:
        """(B, N, D) what each token is answered."""

    @abstractmethod
    def weights(self, tokens: Tensor, places: Places) -> Tensor:
        """(B, N, N) float32: how much each token (second axis) looks at each; rows sum to 1, or less."""

    def step(self, tokens: Tensor, places: Places, memory: Memory | None) -> tuple[Tensor, Memory]:
        """As `forward`, of one step of a stream, from what went before; by default nothing of it matters.

        Args:
            tokens: (B, N, D) of what is known, and of this step.
            places: theirs; all of one step.
            memory: what the last step gave back; None in the first.
        """
        return self(tokens, places), {}
