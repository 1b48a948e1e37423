"""A mean weighted by softmax over a stream, of which no part is kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from weft.fusion.levels import masked_softmax

#: The logarithm of no weight at all; finite, as infinities less infinities are not numbers.
_NOTHING = torch.finfo(torch.float32).min / 2


@dataclass(frozen=True)
class Running:
    """The softmax-weighted mean of all values so far: with one more it is as if all had been there at once.

    Attributes:
        weight: (...) float32, the logarithm of the sum of exp(score) so far.
        mean: (..., D) the weighted mean; zero where there was nothing.
    """

    weight: Tensor
    mean: Tensor

    @classmethod
    def empty(cls, *shape: int, like: Tensor) -> Running:
        """Of nothing yet: the mean has this shape."""
        return cls(torch.full(shape[:-1], _NOTHING, device=like.device), like.new_zeros(shape, dtype=torch.float32))

    @property
    def any(self) -> Tensor:
        """(...) bool: whether there was anything."""
        return self.weight > _NOTHING

    def and_more(self, scores: Tensor, values: Tensor, there: Tensor) -> Running:
        """With K more values.

        Args:
            scores: (..., K).
            values: (..., K, D).
            there: (..., K) bool, those that count.
        """
        scores = torch.cat([self.weight[..., None], torch.where(there, scores.float(), _NOTHING)], dim=-1)
        weights = masked_softmax(scores, scores > _NOTHING, dim=-1)[..., None]
        mean = weights[..., 0, :] * self.mean + (weights[..., 1:, :] * values.float()).sum(-2)
        return Running(scores.logsumexp(-1), mean)

    def where(self, rows: Tensor, other: Running) -> Running:
        """This where `rows` (...) is True, another elsewhere."""
        return Running(
            torch.where(rows, self.weight, other.weight), torch.where(rows[..., None], self.mean, other.mean)
        )
