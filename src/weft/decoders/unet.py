"""U-Net: up step by step, with a skip from every finer level."""

from __future__ import annotations

from typing import Annotated, Literal

from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoderBlock
from torch import Tensor, nn

from weft.decoders.base import Decoder
from weft.decoders.blocks import with_steady_norms
from weft.registry import Range, register
from weft.types import FeatureSpec

#: The library divides channels by this inside the attention.
_SCSE_REDUCTION = 16


@register("decoder", "unet")
class Unet(Decoder):
    """The decoder of U-Net, from blocks of segmentation_models.pytorch, on a pyramid of any strides and sizes.

    Every block goes up to the size of the next finer level and reads it; where the pyramid ends above `stride`, blocks
    without a skip go on by factors of two. Levels finer than `stride` are not read.

    Args:
        channels: of the blocks, coarse to fine; as many as are needed are used, and the last is repeated where
            there are too few.
        attention: none, or scse: squeeze and excitation over channels and places.
        stride: of the output; the task's head brings it to the size of the image.

    Reference: Ronneberger et al., MICCAI 2015, arXiv:1505.04597.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        *,
        channels: tuple[Annotated[int, Range(1)], ...] = (256, 128, 64, 32, 16),
        attention: Literal["none", "scse"] = "none",
        stride: Literal[1, 2, 4] = 2,
    ) -> None:
        super().__init__()
        if not channels:
            raise ValueError("unet: `channels` is empty; give one number per block, such as [256, 128, 64, 32]")
        read = [level for level, s in enumerate(spec.strides[:-1]) if s >= stride]
        self.skips = tuple(reversed(read))
        self.output_stride = spec.strides[read[0]] if read else spec.strides[-1]
        num_extra = 0
        while self.output_stride > stride and self.output_stride % 2 == 0:  # a patch of 14 pixels halves once
            self.output_stride //= 2
            num_extra += 1
        skip_channels = [spec.channels[level] for level in self.skips] + [0] * num_extra
        widths = [channels[min(i, len(channels) - 1)] for i in range(len(skip_channels))]
        if attention == "scse" and min([spec.dim, *widths]) < _SCSE_REDUCTION:
            raise ValueError(
                f"unet: attention scse needs {_SCSE_REDUCTION} channels or more in every block, and there are {widths} "
                f"on an encoder of {spec.dim}; give more `channels`, or attention none"
            )
        self.blocks = nn.ModuleList(
            with_steady_norms(
                UnetDecoderBlock(below, skip, width, attention_type=None if attention == "none" else attention)
            )
            for below, skip, width in zip([spec.dim, *widths], skip_channels, widths, strict=False)
        )
        for block in list(self.blocks)[len(self.skips) :]:
            block.attention1 = nn.Identity()  # the library builds it for the skip, and here would never call it
        self.out_channels = widths[-1] if widths else spec.dim

    def forward(self, pyramid: tuple[Tensor, ...]) -> Tensor:
        """See `Decoder.forward`."""
        decoded = pyramid[-1]
        for block, level in zip(self.blocks, self.skips, strict=False):
            decoded = block(decoded, *pyramid[level].shape[-2:], skip_connection=pyramid[level])
        for block in self.blocks[len(self.skips) :]:
            height, width = decoded.shape[-2:]
            decoded = block(decoded, 2 * height, 2 * width)
        return decoded
