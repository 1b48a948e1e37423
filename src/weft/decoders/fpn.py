"""FPN: every level is given the context of the coarser ones, brought to the finest, and added."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, ClassVar

import torch.nn.functional as F
from segmentation_models_pytorch.decoders.fpn.decoder import Conv3x3GNReLU
from torch import Tensor, nn

from weft.decoders.base import Decoder
from weft.registry import Range, register
from weft.types import FeatureSpec

#: Groups of the library's normalisation.
_GROUPS = 32


@register("decoder", "fpn")
class FPN(Decoder):
    """The semantic branch of panoptic feature pyramid networks, on a pyramid of any strides and sizes.

    From the deepest level to the one nearest to stride 4 each is given what the coarser one says; then each is brought
    to the finest in steps of a convolution and an interpolation, and they are added. The convolutions of these steps
    are those of segmentation_models.pytorch, whose own decoder knows levels of twice the size alone.

    Args:
        pyramid_channels: of the levels with their context.
        channels: of the output, a multiple of 32.

    Reference: Kirillov et al., CVPR 2019, arXiv:1901.02446, section 3; Lin et al., CVPR 2017, arXiv:1612.03144.
    """

    detail_strides: ClassVar[tuple[int, ...] | None] = (4, 8, 16)

    def __init__(
        self,
        spec: FeatureSpec,
        *,
        pyramid_channels: Annotated[int, Range(1)] = 256,
        channels: Annotated[int, Range(2 * _GROUPS)] = 128,
    ) -> None:
        super().__init__()
        if channels % _GROUPS:
            raise ValueError(f"fpn: channels is {channels}; give a multiple of {_GROUPS}")
        self.levels = spec.levels_for(self.detail_strides)
        self.laterals = nn.ModuleList(nn.Conv2d(spec.channels[i], pyramid_channels, 1) for i in self.levels)
        self.branches = nn.ModuleList(
            Branch(pyramid_channels, channels, num_steps=place) for place in range(len(self.levels))
        )
        self.out_channels = channels
        self.output_stride = spec.strides[self.levels[0]]

    def forward(self, pyramid: tuple[Tensor, ...]) -> Tensor:
        """See `Decoder.forward`: the map has the size of the level nearest to stride 4."""
        levels = [lateral(pyramid[level]) for lateral, level in zip(self.laterals, self.levels, strict=True)]
        for place in range(len(levels) - 2, -1, -1):
            levels[place] = levels[place] + F.interpolate(levels[place + 1], levels[place].shape[-2:], mode="nearest")
        sizes = [tuple(level.shape[-2:]) for level in levels]
        finest, *others = (
            branch(level, sizes[:place][::-1])
            for place, (branch, level) in enumerate(zip(self.branches, levels, strict=True))
        )
        total: Tensor = finest
        for other in others:
            total = total + other
        return total


class Branch(nn.Module):
    """A level's way to the finest, in steps of a convolution and an interpolation; without steps, a convolution."""

    def __init__(self, in_channels: int, channels: int, *, num_steps: int) -> None:
        super().__init__()
        widths = [in_channels, *[channels] * max(1, num_steps)]
        self.block = nn.Sequential(*(Conv3x3GNReLU(*pair) for pair in pairwise(widths)))

    def forward(self, level: Tensor, sizes: Sequence[tuple[int, ...]]) -> Tensor:
        """(B, C, *sizes[-1]) from (B, C', h, w) by way of the sizes; at its own where there are none."""
        if not sizes:
            own: Tensor = self.block(level)
            return own
        for convolution, size in zip(self.block, sizes, strict=True):
            level = F.interpolate(convolution(level), size, mode="bilinear", align_corners=True)
        return level
