"""Columns of a table by a multilayer perceptron: one vector for the whole row."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from weft.encoders.base import Encoder
from weft.modalities.base import NO_FACTS, Facts
from weft.modalities.columns import UNKNOWN, Column, Layout, columns_of
from weft.registry import Range, register
from weft.types import Features, FeatureSpec

#: Vectors of categories are this wide at most where nothing is said.
_WIDEST = 50


@register("encoder", "table_mlp")
class TableMLP(Encoder):
    """An embedding for each category, and hidden layers over those and the numbers.

    Reference: Gorishniy et al., NeurIPS 2021, arXiv:2106.11959, section 3.1 (MLP).

    Args:
        dim: width of the hidden layers and of the vector.
        layers: hidden layers.
        dropout: probability of hiding a number after each of them in training.
        embedding: width of a category's vector; by default half the number of its values, at most 50.
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
        layers: Annotated[int, Range(1)] = 2,
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.1,
        embedding: Annotated[int, Range(1)] | None = None,
        lr_factor: Annotated[float, Range(0)] = 1.0,
    ) -> None:
        super().__init__()
        columns = columns_of(facts)
        categories = [column for column in columns if column.kind == "category"]
        self.num_parts = Layout(columns).num_parts
        widths = [embedding or min(_WIDEST, (column.num_codes + 1) // 2) for column in categories]
        self.embeddings = nn.ModuleList(
            category_embedding(column, width) for column, width in zip(categories, widths, strict=True)
        )
        sizes = [self.num_parts + sum(widths), *[dim] * layers]
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Linear(size, dim), nn.ReLU(inplace=True), nn.Dropout(dropout)) for size in sizes[:-1]
        )
        self.spec = FeatureSpec("vector", dim)
        self.lr_factor = lr_factor

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        """See `Encoder.extract`: inputs (P, W) float32 as `Layout` says."""
        codes = inputs[:, self.num_parts :].long().unbind(1)
        embedded = [embed(code) for embed, code in zip(self.embeddings, codes, strict=True)]
        vector = torch.cat([inputs[:, : self.num_parts], *embedded], dim=1)
        for layer in self.hidden:
            vector = layer(vector)
        return Features.of_vector(vector)

    def layers(self) -> list[nn.Module]:
        """See `Encoder.layers`."""
        return [self.embeddings, *self.hidden]


def category_embedding(column: Column, width: int) -> nn.Embedding:
    """A vector for each code of a category; that of the unknown starts at zero, since training may never meet it."""
    embedding = nn.Embedding(column.num_codes, width)
    with torch.no_grad():
        embedding.weight[UNKNOWN] = 0
    return embedding
