"""Columns of a table as tokens, so that a Transformer can attend to each of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from weft.encoders.base import Encoder
from weft.encoders.table_mlp import category_embedding
from weft.modalities.base import NO_FACTS, Facts
from weft.modalities.columns import Column, Layout, columns_of
from weft.registry import Range, register
from weft.types import Features, FeatureSpec


@register("encoder", "table_tokens")
class TableTokens(Encoder):
    """A token for each column: of a number or date its value times a vector, plus another; of a category a vector.

    A missing value has a learned token where training has seen one. `fusion: transformer` makes it an FT-Transformer,
    of the table alone or with other modalities, and shows what attends to which column; to a fusion of vectors the row
    is the mean of its tokens.

    Reference: Gorishniy et al., NeurIPS 2021, arXiv:2106.11959, section 3.3 (feature tokenizer).

    Args:
        dim: width of the tokens.
        lr_factor: factor on the learning rate of its parameters.
    """

    reads: ClassVar[str] = "table"

    def __init__(
        self,
        in_channels: int,
        initialise: bool = True,
        facts: Facts = NO_FACTS,
        *,
        dim: Annotated[int, Range(1)] = 128,
        lr_factor: Annotated[float, Range(0)] = 1.0,
    ) -> None:
        super().__init__()
        self.tokenize = FeatureTokenizer(columns_of(facts), dim)
        self.spec = FeatureSpec("sequence", dim)
        self.lr_factor = lr_factor

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        """See `Encoder.extract`: inputs (P, W) float32 as `Layout` says; F tokens, in the order of the columns."""
        tokens = self.tokenize(inputs)
        return Features.of_sequence(tokens, torch.full((len(tokens),), tokens.shape[1], device=tokens.device))

    def layers(self) -> list[nn.Module]:
        """See `Encoder.layers`."""
        return [self.tokenize]


class FeatureTokenizer(nn.Module):
    """(P, W) to (P, F, D): a token for each column.

    Args:
        columns: of the table.
        dim: D.
    """

    def __init__(self, columns: Sequence[Column], dim: int) -> None:
        super().__init__()
        layout = Layout(columns)
        widest = max(map(len, layout.parts.values()), default=0)
        nothing = layout.width  # a place behind the row, where a zero is put
        places = [[*parts, *[nothing] * (widest - len(parts))] for parts in layout.parts.values()]
        self.register_buffer("places", torch.tensor(places, dtype=torch.int64).view(-1, widest), persistent=False)
        self.code_places = list(layout.codes.values())
        order = [*layout.parts, *layout.codes]
        columns_in_order = [order.index(column.name) for column in columns]
        self.register_buffer("order", torch.tensor(columns_in_order), persistent=False)
        self.weight = nn.Parameter(_uniform(len(places), widest, dim))
        self.bias = nn.Parameter(_uniform(len(columns), dim))
        self.embeddings = nn.ModuleList(
            category_embedding(column, dim) for column in columns if column.kind == "category"
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(P, F, D) tokens of (P, W)."""
        parts = nn.functional.pad(inputs, (0, 1))[:, self.get_buffer("places")]  # (P, C, widest)
        measured = torch.einsum("pcw,cwd->pcd", parts, self.weight)
        coded = [
            embed(inputs[:, place].long())[:, None]
            for embed, place in zip(self.embeddings, self.code_places, strict=True)
        ]
        return torch.cat([measured, *coded], dim=1)[:, self.get_buffer("order")] + self.bias


def _uniform(*shape: int) -> Tensor:
    """Random numbers as the reference starts its tokens: within 1 / √D."""
    return (2 * torch.rand(shape) - 1) / sqrt(shape[-1])
