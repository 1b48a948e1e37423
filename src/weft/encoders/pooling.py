"""One vector of the tokens of a sequence, whole or token by token."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from weft.types import Memory

Pooling = Literal["mean", "max", "attention"]


class Pool(nn.Module, ABC):
    """From the tokens of sequences to a vector each."""

    @abstractmethod
    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(P, D) from tokens (P, N, D), of which those are real that the mask (P, N) says, one at least in a row."""

    @abstractmethod
    def step(self, token: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        """(P, D) of all tokens up to the next one (P, 1, D), and the memory that the one after needs."""


class MeanPool(Pool):
    """The mean of the tokens."""

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """See `Pool.forward`."""
        return _mean(tokens, mask.float())

    def step(self, token: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        """See `Pool.step`."""
        total, count = token[:, 0].float(), torch.ones_like(token[:, 0, :1], dtype=torch.float32)
        if memory is not None:
            total, count = memory["sum"] + total, memory["count"] + count
        return total / count, {"sum": total, "count": count}


class MaxPool(Pool):
    """The largest number of each channel."""

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """See `Pool.forward`."""
        return torch.where(mask[:, :, None], tokens, torch.finfo(tokens.dtype).min).amax(1)

    def step(self, token: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        """See `Pool.step`."""
        largest = token[:, 0] if memory is None else torch.maximum(memory["largest"], token[:, 0])
        return largest, {"largest": largest}


class AttentionPool(Pool):
    """The mean of the tokens, weighted by the softmax over the scores w · tanh(V h).

    Args:
        dim: width of the tokens.

    Reference: Ilse et al., ICML 2018, arXiv:1802.04712, eq. 8.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1, bias=False))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """See `Pool.forward`."""
        scores = self.score(tokens)[:, :, 0].float()
        scores = torch.where(mask, scores, torch.finfo(torch.float32).min)
        return _mean(tokens, torch.where(mask, scores.softmax(1), 0))

    def step(self, token: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        """See `Pool.step`: the sums of exponentials are kept relative to that of the largest score."""
        score, value = self.score(token)[:, 0].float(), token[:, 0].float()
        if memory is None:
            return value, {"top": score, "weight": torch.ones_like(score), "sum": value}
        top = torch.maximum(memory["top"], score)
        fade, share = (memory["top"] - top).exp(), (score - top).exp()
        weight, total = memory["weight"] * fade + share, memory["sum"] * fade + value * share
        return total / weight, {"top": top, "weight": weight, "sum": total}


def build_pool(pooling: Pooling, dim: int) -> Pool:
    """The pooling of tokens of width `dim`."""
    return AttentionPool(dim) if pooling == "attention" else MaxPool() if pooling == "max" else MeanPool()


def _mean(tokens: Tensor, weights: Tensor) -> Tensor:
    """(P, D) float32, of tokens (P, N, D) by weights (P, N) of at least 0, of which some is not."""
    by = weights[:, :, None]
    real = torch.where(by > 0, tokens, 0).float()  # where, not *: 0 x NaN is NaN
    return (real * by).sum(1) / by.sum(1)
