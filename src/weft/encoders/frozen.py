"""Encoders that learn as a whole or not at all."""

from __future__ import annotations

from typing import Self

import torch

from weft.encoders.base import Encoder


class WholeEncoder(Encoder):
    """An encoder of which nothing learns when it is frozen, else everything. Its constructor ends with `freeze`."""

    _frozen = False

    def freeze(self, frozen: bool) -> None:
        """Let nothing learn, without dropout and with BatchNorm's statistics as they are; or let all of it learn."""
        self._frozen = frozen
        self.requires_grad_(not frozen)
        self.train(self.training)

    def learning(self) -> torch.set_grad_enabled:
        """A context in which gradients are followed where somebody asks for them and it is not frozen."""
        return torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen)

    @property
    def extract_frozen(self) -> bool:
        """See `Encoder.extract_frozen`."""
        return self._frozen

    def train(self, mode: bool = True) -> Self:
        """Training mode; a frozen one stays in evaluation mode."""
        super().train(mode and not self._frozen)
        return self
