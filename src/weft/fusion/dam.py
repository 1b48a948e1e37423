"""Dual-modal attention: its parts that answer token by token, one after the other."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, cast

import torch
from torch import Tensor, nn

from weft.fusion.attention import traced
from weft.fusion.dam_composition import CompositionAttention
from weft.fusion.dam_inter import InterAttention
from weft.fusion.dam_memory import LongMemory, ShortMemory
from weft.fusion.dam_part import Part
from weft.fusion.places import Places
from weft.types import Memory

PartName = Literal["inter", "composition", "short_memory", "long_memory"]


class DualModalAttention(nn.Module):
    """Parts of dual-modal attention over the joined tokens of all modalities, each x + part(norm(x)).

    Args:
        dim: width D of the tokens.
        num_modalities: M.
        parts: those that are there, whatever their order; they come as inter, composition, short and long memory.
        heads: of every attention.
        window: steps of the short memory.
        slots: learned slots of the long memory.
        records: entries of its record.
        causal: attend to nothing that is later; see `Places.within_reach`.
        dropout: probability of hiding a number in training, in what a part adds.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_modalities: int,
        parts: Collection[PartName],
        heads: int,
        window: int,
        slots: int,
        records: int,
        causal: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        every: dict[PartName, Part] = {
            "inter": InterAttention(dim, heads=heads, causal=causal),
            "composition": CompositionAttention(dim, num_modalities=num_modalities, causal=causal),
            "short_memory": ShortMemory(dim, heads=heads, window=window),
            "long_memory": LongMemory(dim, heads=heads, window=window, slots=slots, records=records),
        }
        self.parts = nn.ModuleDict({name: part for name, part in every.items() if name in parts})
        self.norms = nn.ModuleDict({name: nn.LayerNorm(dim) for name in self.parts})
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, places: Places) -> Tensor:
        """(B, N, D) from the joined tokens (B, N, D)."""
        for name, part in self.parts.items():
            tokens = tokens + self.dropout(part(self.norms[name](tokens), places))
        return tokens

    def step(self, tokens: Tensor, places: Places, memory: Memory | None) -> tuple[Tensor, Memory]:
        """As `forward`, of one step of a stream; see `Part.step`."""
        carried: dict[str, Tensor] = {}
        for name, part in self._named_parts():
            before = None if memory is None else below(memory, name)
            answer, after = part.step(self.norms[name](tokens), places, before)
            tokens = tokens + self.dropout(answer)
            carried |= {f"{name}/{key}": value for key, value in after.items()}
        return tokens, carried

    def trace(self, relevance: Tensor, tokens: Tensor, places: Places) -> tuple[Tensor, dict[str, Tensor]]:
        """Relevance before the parts, from that of what became of the tokens; see `traced`.

        Args:
            relevance: (B, N) after the parts.
            tokens: (B, N, D) before them.
            places: of the tokens.

        Returns:
            (B, N) of the tokens, and {part: (B, N)} what of it went through each part, from which token.
        """
        through: dict[str, Tensor] = {}
        for name, weights in reversed(self.looked(tokens, places).items()):
            kept, through[name] = traced(relevance, weights)
            relevance = kept + through[name]
        return relevance, through

    def looked(self, tokens: Tensor, places: Places) -> dict[str, Tensor]:
        """{part: (B, N, N) float32} what each token looked at in each part, in their order."""
        weights = {}
        for name, part in self._named_parts():
            normalised = self.norms[name](tokens)
            weights[name] = part.weights(normalised, places)
            tokens = tokens + part(normalised, places)
        return weights

    def _named_parts(self) -> list[tuple[str, Part]]:
        return [(name, cast(Part, part)) for name, part in self.parts.items()]


def below(memory: Memory, name: str) -> Memory:
    """What a memory holds under `name/`."""
    return {key.removeprefix(f"{name}/"): value for key, value in memory.items() if key.startswith(f"{name}/")}


def by_step(through: Tensor, places: Places) -> Tensor:
    """(B, S) the share of each step in what went through a part, (B, N) by the token that it came from; 0 where nothing
    went through.
    """
    real = torch.where(places.mask, through.float(), 0)
    total = real.sum(1, keepdim=True).clamp(min=torch.finfo(real.dtype).tiny)  # clamp: nothing went through
    return real @ places.of_step.T.float() / total


def by_modality(weights: Tensor, places: Places) -> Tensor:
    """(B, M) of what the real tokens looked at, (B, N, N), the share of each modality; zero where they saw nothing."""
    seen = torch.where(places.mask[:, :, None], weights, 0).sum(1) @ places.of_modality.T.float()
    return seen / seen.sum(1, keepdim=True).clamp(min=torch.finfo(seen.dtype).tiny)  # clamp: they saw nothing
