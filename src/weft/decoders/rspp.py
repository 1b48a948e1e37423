"""Recursive spatial pyramid pooling: one pyramid-pooling block, applied several times."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.decoders.base import Decoder
from weft.decoders.blocks import resized
from weft.registry import Range, register
from weft.types import FeatureSpec

#: Groups of the normalisation. It takes no statistics over a batch: those of one round are not those of the next.
_GROUPS = 8


@register("decoder", "rspp")
class RSPP(Decoder):
    """Recursive spatial pyramid pooling: a pyramid-pooling block with one set of weights, applied `rounds` times.

    Each round reads the output of the last one, so that what holds for a region reaches further with every round, at no
    more parameters. One round is a pyramid scene parsing network. There is no single article behind the name; the block
    is that of PSPNet. As there, nothing finer than the deepest level is read.

    Args:
        channels: of every round, a multiple of 8.
        rounds: how often the block is applied.
        bins: sides of the grids that a round averages over.

    Reference: the block, Zhao et al., CVPR 2017, arXiv:1612.01105.
    """

    detail_strides: ClassVar[tuple[int, ...] | None] = ()

    def __init__(
        self,
        spec: FeatureSpec,
        *,
        channels: Annotated[int, Range(16)] = 256,
        rounds: Annotated[int, Range(1)] = 3,
        bins: tuple[Annotated[int, Range(1)], ...] = (1, 2, 3, 6),
    ) -> None:
        super().__init__()
        if channels % _GROUPS:
            raise ValueError(f"rspp: channels is {channels}; give a multiple of {_GROUPS}")
        if not 1 <= len(bins) <= channels:
            raise ValueError(f"rspp: {len(bins)} bins on {channels} channels; give one or more, such as [1, 2, 3, 6]")
        self.rounds = rounds
        self.enter = nn.Sequential(nn.Conv2d(spec.dim, channels, 1, bias=False), *_normalised(channels))
        self.block = PyramidPooling(channels, bins)
        self.out_channels = channels
        self.output_stride = spec.strides[-1]

    def forward(self, pyramid: tuple[Tensor, ...]) -> Tensor:
        """See `Decoder.forward`: the map has the size of the deepest level."""
        context: Tensor = self.enter(pyramid[-1])
        for _ in range(self.rounds):
            context = self.block(context)
        return context


class PyramidPooling(nn.Module):
    """A map beside its averages over grids, and a convolution over them: as many channels out as in."""

    def __init__(self, channels: int, bins: tuple[int, ...]) -> None:
        super().__init__()
        self.bins = bins
        share = channels // len(bins)
        self.branches = nn.ModuleList(nn.Conv2d(channels, share, kernel_size=1) for _ in bins)
        joined = channels + share * len(bins)
        self.join = nn.Sequential(nn.Conv2d(joined, channels, 3, padding=1, bias=False), *_normalised(channels))

    def forward(self, context: Tensor) -> Tensor:
        """(B, C, h, w) from (B, C, h, w)."""
        size = context.shape[-2:]
        averages = [
            resized(branch(F.adaptive_avg_pool2d(context, side)).relu(), size)
            for branch, side in zip(self.branches, self.bins, strict=True)
        ]
        joined: Tensor = self.join(torch.cat([context, *averages], dim=1))
        return joined


def _normalised(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.GroupNorm(_GROUPS, channels), nn.ReLU(inplace=True)
