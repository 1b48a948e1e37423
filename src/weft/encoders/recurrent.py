"""A GRU or LSTM over sequences of any lengths, whole or token by token."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from weft.types import Memory

Cell = Literal["gru", "lstm"]

_CELLS: dict[Cell, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


def build_recurrent(
    cell: Cell, width: int, hidden: int, *, layers: int, bidirectional: bool, dropout: float
) -> nn.GRU | nn.LSTM:
    """The network, rows first.

    Args:
        cell: its unit.
        width: of the tokens.
        hidden: of its states, in each direction.
        layers: how many are stacked.
        bidirectional: read sequences from both ends.
        dropout: share of the values that are dropped between the layers in training.
    """
    between = dropout if layers > 1 else 0.0  # torch warns where there is no between
    return _CELLS[cell](width, hidden, layers, batch_first=True, bidirectional=bidirectional, dropout=between)


def read_sequences(network: nn.GRU | nn.LSTM, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The state at every token (P, N, H · directions), zero after a row's end, and the last of each direction beside
    one another (P, H · directions).

    Args:
        network: of `build_recurrent`.
        tokens: (P, N, D).
        lengths: (P,) how many of each row are real, one at least.
    """
    packed = pack_padded_sequence(tokens, lengths.cpu(), batch_first=True, enforce_sorted=False)
    states, state = network(packed)
    states, _ = pad_packed_sequence(states, batch_first=True, total_length=tokens.shape[1])
    last = state[0] if isinstance(state, tuple) else state  # (layers · directions, P, H); an LSTM's second is its cell
    directions = 2 if network.bidirectional else 1
    return states, last[-directions:].transpose(0, 1).flatten(1)


def read_token(network: nn.GRU | nn.LSTM, token: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
    """The state (P, 1, H) at the next token (P, 1, D) of sequences that go on, and the memory that the next one needs.

    Args:
        network: of `build_recurrent`, in one direction.
        token: the next one of every row.
        memory: of the token before; None before the first.
    """
    if isinstance(network, nn.LSTM):
        states, (hidden, cell) = network(token, None if memory is None else (memory["hidden"], memory["cell"]))
        return states, {"hidden": hidden, "cell": cell}
    states, hidden = network(token, None if memory is None else memory["hidden"])
    return states, {"hidden": hidden}
