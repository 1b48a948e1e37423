"""Exchange, recurrent network and dual-modal attention, one after the other: a block for any fusion of tokens."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weft.fusion.dam import DualModalAttention, PartName, below
from weft.fusion.exchange import Exchange
from weft.fusion.places import Places
from weft.fusion.recurrence import Cell, Recurrence
from weft.types import Memory


@dataclass(frozen=True)
class BlockSizes:
    """Numbers of a `DualModalBlock`; see there."""

    heads: int = 8
    temperature: float = 0.1
    window: int = 4
    slots: int = 4
    records: int = 4
    dropout: float = 0.0


class DualModalBlock(nn.Module):
    """Tokens of all modalities are exchanged, read in order of time, and attend to each other; each may be left out.

    Args:
        dim: width D of the tokens.
        num_modalities: M.
        exchange: whether there is an `Exchange`.
        cell: of the `Recurrence`; None: there is none.
        parts: of `DualModalAttention`.
        sizes: of all these; of no matter is the record's where nothing comes in steps.
        in_steps: whether any modality comes in steps.
        causal: nothing sees what is later: the recurrent network reads forwards only; see also `Places.within_reach`.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_modalities: int,
        exchange: bool,
        cell: Cell | None,
        parts: Collection[PartName],
        sizes: BlockSizes,
        in_steps: bool,
        causal: bool,
    ) -> None:
        super().__init__()
        self.exchange = Exchange(dim, temperature=sizes.temperature, causal=causal) if exchange else None
        self.norm = None if cell is None else nn.LayerNorm(dim)
        self.recurrence = None if cell is None else Recurrence(dim, cell=cell, both_ways=not causal)
        self.dropout = nn.Dropout(sizes.dropout)
        self.attention = DualModalAttention(
            dim,
            num_modalities=num_modalities,
            parts=parts,
            heads=sizes.heads,
            window=sizes.window,
            slots=sizes.slots,
            records=sizes.records if in_steps else 0,
            causal=causal,
            dropout=sizes.dropout,
        )

    def forward(self, tokens: Tensor, places: Places) -> Tensor:
        """(B, N, D) from the joined tokens (B, N, D)."""
        attended: Tensor = self.attention(self._read(tokens, places), places)
        return attended

    def step(self, tokens: Tensor, places: Places, memory: Memory | None) -> tuple[Tensor, Memory]:
        """As `forward`, of one step of a stream; see `Part.step`."""
        carried: dict[str, Tensor] = {}
        tokens = self.exchanged(tokens, places)
        if self.recurrence is not None and self.norm is not None:
            before = None if memory is None else below(memory, "recurrence")
            said, after = self.recurrence.step(self.norm(tokens), places, before)
            tokens = tokens + said
            carried |= {f"recurrence/{key}": value for key, value in after.items()}
        tokens, after = self.attention.step(tokens, places, None if memory is None else below(memory, "attention"))
        return tokens, carried | {f"attention/{key}": value for key, value in after.items()}

    def exchanged(self, tokens: Tensor, places: Places) -> Tensor:
        """(B, N, D) the joined tokens after the exchange, and as they are where there is none."""
        if self.exchange is None:
            return tokens
        changed: Tensor = self.exchange(tokens, places)
        return changed

    def trace(self, relevance: Tensor, tokens: Tensor, places: Places) -> tuple[Tensor, dict[str, Tensor]]:
        """Relevance before the block, from that of what became of the tokens.

        Attention hands on by its weights, the exchange by what it replaced; the recurrent network is taken to leave
        everything at its token.

        Args:
            relevance: (B, N) after the block.
            tokens: (B, N, D) before it.
            places: of the tokens.

        Returns:
            (B, N) of the tokens, and {part: (B, N)} what of it went through each part, from which token; in the order
            of the parts.
        """
        relevance, through = self.attention.trace(relevance, self._read(tokens, places), places)
        through = dict(reversed(through.items()))
        if self.exchange is None:
            return relevance, through
        replaced = self._replaced(tokens, places)
        before = torch.bmm(relevance[:, None], self.exchange.weights(tokens, places))[:, 0]
        return before, {"exchange": torch.bmm(relevance[:, None], replaced)[:, 0], **through}

    def looked(self, tokens: Tensor, places: Places) -> dict[str, Tensor]:
        """{part: (B, N, N) float32} what each token took from which in each part that is there, in their order."""
        found = {} if self.exchange is None else {"exchange": self._replaced(tokens, places)}
        return found | self.attention.looked(self._read(tokens, places), places)

    def _replaced(self, tokens: Tensor, places: Places) -> Tensor:
        """(B, N, N) what each token took over from which of other modalities in the exchange."""
        assert self.exchange is not None
        others = places.modality[:, None] != places.modality
        return torch.where(others, self.exchange.weights(tokens, places), 0)

    def _read(self, tokens: Tensor, places: Places) -> Tensor:
        """The tokens as dual-modal attention gets them."""
        tokens = self.exchanged(tokens, places)
        if self.recurrence is None or self.norm is None:
            return tokens
        said: Tensor = self.recurrence(self.norm(tokens), places)
        return tokens + self.dropout(said)
