"""DeepLabV3+: atrous spatial pyramid pooling on the deepest level, refined by a fine one."""

from __future__ import annotations

from math import log2
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.deeplabv3.decoder import ASPPPooling, DeepLabV3PlusDecoder
from torch import Tensor, nn

from weft.decoders.base import Decoder
from weft.decoders.blocks import with_steady_norms
from weft.registry import Range, register
from weft.types import FeatureSpec


@register("decoder", "deeplabv3plus")
class DeepLabV3Plus(Decoder):
    """The decoder of DeepLabV3+, from segmentation_models.pytorch, on a pyramid of any strides and sizes.

    The context comes from the deepest level (an encoder with `output_stride` 16 or 8 keeps it fine), the detail from
    the level whose stride is nearest to 4, which is also the stride of the output.

    Args:
        channels: of the context and of the output.
        atrous_rates: dilations of the three atrous convolutions where the deepest stride is 16; scaled with the stride.
        dropout: after the spatial pyramid pooling, in training.
        separable: depthwise separable atrous convolutions, as in the article.

    Reference: Chen et al., ECCV 2018, arXiv:1802.02611.
    """

    detail_strides: ClassVar[tuple[int, ...] | None] = (4,)

    def __init__(
        self,
        spec: FeatureSpec,
        *,
        channels: Annotated[int, Range(1)] = 256,
        atrous_rates: tuple[int, int, int] = (6, 12, 18),
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.5,
        separable: bool = True,
    ) -> None:
        super().__init__()
        self.detail_level = min(range(len(spec.strides)), key=lambda level: abs(log2(spec.strides[level] / 4)))
        self.out_channels = channels
        self.output_stride = spec.strides[self.detail_level]
        fine = spec.channels[self.detail_level]
        decoder = DeepLabV3PlusDecoder(
            encoder_channels=(0, 0, fine, spec.channels[-1]),  # the library reads the third and the last
            encoder_depth=3,
            out_channels=channels,
            atrous_rates=[max(1, round(rate * 16 / spec.strides[-1])) for rate in atrous_rates],
            output_stride=16,  # only chooses a factor of upsampling, which is by size here
            aspp_separable=separable,
            aspp_dropout=dropout,
        )
        self.decoder = with_steady_norms(decoder)
        pyramid_pooling = self.decoder.aspp[0]
        pyramid_pooling.convs[-1] = ImagePooling(pyramid_pooling.convs[-1])

    def forward(self, pyramid: tuple[Tensor, ...]) -> Tensor:
        """See `Decoder.forward`: the map has the size of the level nearest to stride 4."""
        detail = pyramid[self.detail_level]
        context = self.decoder.aspp(pyramid[-1])
        context = F.interpolate(context, detail.shape[-2:], mode="bilinear", align_corners=True)
        refined: Tensor = self.decoder.block2(torch.cat([context, self.decoder.block1(detail)], dim=1))
        return refined


class ImagePooling(nn.Module):
    """The image-wide branch of the pyramid pooling; its BatchNorm sees one value per channel and row."""

    def __init__(self, pooling: ASPPPooling) -> None:
        super().__init__()
        _, self.conv, self.norm, self.activation = pooling

    def forward(self, level: Tensor) -> Tensor:
        """(B, C, h, w) from (B, C', h, w)."""
        pooled = self.activation(self.norm(self.conv(level.mean((2, 3), keepdim=True))))
        return pooled.expand(-1, -1, *level.shape[-2:])
