"""A recurrent network over the joined tokens of all modalities, in order of time."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from weft.fusion.places import Places
from weft.types import Memory

Cell = Literal["gru", "lstm"]

_CELLS: dict[Cell, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


class Recurrence(nn.Module):
    """A GRU or LSTM with the same weights for all modalities, forwards or both ways.

    The order is that of time: first what is known, modality after modality, then step by step, in each step modality
    after modality. Tokens that are not real are no part of the sequence, and are answered zero.

    Args:
        dim: width D of the tokens and of the answers; with both ways each is half as wide.
        cell: the recurrent unit.
        both_ways: read the sequence backwards too; a stream cannot.

    Reference: Schuster and Paliwal, IEEE Transactions on Signal Processing 45(11), 1997 (both ways); Cho et al., EMNLP
    2014, arXiv:1406.1078 (GRU); Hochreiter and Schmidhuber, Neural Computation 9(8), 1997 (LSTM).
    """

    def __init__(self, dim: int, *, cell: Cell, both_ways: bool) -> None:
        super().__init__()
        width = dim // 2 if both_ways else dim
        self.forwards = _CELLS[cell](dim, width, batch_first=True)
        self.backwards = _CELLS[cell](dim, width, batch_first=True) if both_ways else None

    def forward(self, tokens: Tensor, places: Places) -> Tensor:
        """(B, N, D) from the joined tokens (B, N, D)."""
        order = _order(places)
        answers = [_read(self.forwards, tokens, order)]
        if self.backwards is not None:
            position = torch.arange(order.shape[1], device=order.device)
            last = places.mask.sum(1, keepdim=True) - 1
            backwards = torch.where(position <= last, last - position, position)
            answers.append(_read(self.backwards, tokens, order.gather(1, backwards)))
        return torch.where(places.mask[:, :, None], torch.cat(answers, dim=2), 0)

    def step(self, tokens: Tensor, places: Places, memory: Memory | None) -> tuple[Tensor, Memory]:
        """The answers of one step of a stream, and what it carries on: the state after each row's last real token."""
        order = _order(places)
        answers, states = torch.zeros_like(tokens), []
        for row, (known, new) in enumerate(zip(*_counts(places), strict=True)):
            sequence = tokens[row, order[row]]
            said, state = self.forwards(sequence[None, :known]) if known else (sequence[None, :0], None)
            if memory is not None:
                state = _unpacked(memory["state"][row])
            if new:
                more, state = self.forwards(sequence[None, known : known + new], state)
                said = torch.cat([said, more], dim=1)
            answers[row, order[row, : known + new]] = said[0].to(answers.dtype)
            states.append(self._packed(state, tokens))
        return answers, {"state": torch.stack(states)}

    def _packed(self, state: Tensor | tuple[Tensor, Tensor] | None, like: Tensor) -> Tensor:
        """(S, D) of one row: the state, and of an LSTM its memory too; zero before the first token."""
        if state is None:
            return like.new_zeros(2 if isinstance(self.forwards, nn.LSTM) else 1, self.forwards.hidden_size)
        return torch.cat([one[0] for one in state]) if isinstance(state, tuple) else state[0]


def _unpacked(state: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    return (state[:1, None], state[1:, None]) if len(state) == 2 else state[:, None]


def _order(places: Places) -> Tensor:
    """(B, N) the real tokens of each row in order of time, then the others."""
    in_time = torch.where(places.known, -1, places.step).argsort(stable=True)
    real_first = (~places.mask[:, in_time]).to(torch.uint8).argsort(dim=1, stable=True)
    return in_time[real_first]


def _counts(places: Places) -> tuple[list[int], list[int]]:
    """Per row: how many real tokens are known, and how many come in steps."""
    known = (places.mask & places.known).sum(1)
    return known.tolist(), (places.mask.sum(1) - known).tolist()


def _read(cell: nn.GRU | nn.LSTM, tokens: Tensor, order: Tensor) -> Tensor:
    """(B, N, d) what a network says of each token that it reads in an order (B, N)."""
    places = order[:, :, None]
    said = cell(tokens.gather(1, places.expand_as(tokens)))[0]
    return torch.zeros_like(said).scatter(1, places.expand_as(said), said)
