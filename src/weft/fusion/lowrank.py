"""Fusion by a tensor of low rank: every product of the modalities' features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, cast

import torch
from torch import Tensor, nn

from weft.fusion.levels import Level, LevelFusion, Width
from weft.registry import Range, register
from weft.types import FeatureSpec


@register("fusion", "lowrank")
class LowRankFusion(LevelFusion):
    """Sums of products of the modalities' features, each with every other, through a tensor of low rank.

    At every place h = sum_r w_r prod_m (F_mr z_m + c_mr) + b, the products number by number. An absent modality brings
    its learned constants c alone. It starts close to the mean of the modalities, with small products.

    Args:
        rank: number of products r that are added up.
        width: channels of a fused level: those of the widest modality, or of the first.
        strides: the levels to fuse, by their stride; others are left out of the view. Empty: all.

    Reference: Liu et al., ACL 2018, arXiv:1806.00064, section 3.2; the constants are the 1 that is appended there.
    """

    def __init__(
        self,
        specs: Mapping[str, FeatureSpec],
        *,
        rank: Annotated[int, Range(1)] = 4,
        width: Width = "widest",
        strides: tuple[int, ...] = (),
    ) -> None:
        self._rank = rank
        super().__init__(specs, width=width, strides=strides)

    def build_level(self, width: int) -> Level:
        """See `LevelFusion.build_level`."""
        return LowRankLevel(self.modalities, width, rank=self._rank)


class LowRankLevel(Level):
    """The sum of products at one level."""

    def __init__(self, modalities: tuple[str, ...], width: int, *, rank: int) -> None:
        super().__init__()
        self.modalities = modalities
        self.rank = rank
        self.factors = nn.ModuleDict({m: nn.Conv2d(width, rank * width, 1) for m in modalities})
        self.weights = nn.Parameter(torch.full((rank,), 1 / rank))
        # Factors start near one, so their product is one plus the mean of the modalities plus small products.
        self.bias = nn.Parameter(torch.full((width,), -1.0))
        mean = torch.eye(width).repeat(rank, 1) / len(modalities)
        with torch.no_grad():
            for factor in cast(Iterable[nn.Conv2d], self.factors.values()):
                # The default start, made small, tells the ranks and the channels of a mean apart.
                factor.weight.mul_(0.1).add_(mean[:, :, None, None])
                cast(Tensor, factor.bias).fill_(1)

    def forward(self, maps: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """See `Level.forward`. Maps are zero where they are absent, so what is left of a factor is its constant."""
        first, *others = self.modalities
        product: Tensor = self.factors[first](maps[first])
        for m in others:
            product = product * self.factors[m](maps[m])
        total = torch.einsum("brchw,r->bchw", product.unflatten(1, (self.rank, -1)), self.weights.to(product.dtype))
        return total + self.bias.to(total.dtype).view(1, -1, 1, 1)
