"""UPerNet: pyramid pooling on the deepest level, a feature pyramid below it, and all levels read together."""

from __future__ import annotations

from typing import Annotated, ClassVar

from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import Tensor

from weft.decoders.base import Decoder
from weft.decoders.blocks import with_steady_norms
from weft.registry import Range, register
from weft.types import FeatureSpec


@register("decoder", "upernet")
class UPerNet(Decoder):
    """The decoder of unified perceptual parsing, from segmentation_models.pytorch, on a pyramid of any strides.

    The deepest level goes through pyramid pooling, as in PSPNet, then through a feature pyramid to the level nearest to
    stride 4; a convolution reads all of its levels at that size. Every level is normalised first, place by place, as
    the levels of Transformers and ConvNeXt want to be.

    Args:
        channels: of every level and of the output.

    Reference: Xiao et al., ECCV 2018, arXiv:1807.10221.
    """

    detail_strides: ClassVar[tuple[int, ...] | None] = (4, 8, 16)

    def __init__(self, spec: FeatureSpec, *, channels: Annotated[int, Range(1)] = 256) -> None:
        super().__init__()
        self.levels = spec.levels_for(self.detail_strides)
        decoder = UPerNetDecoder(
            encoder_channels=(0, 0, *(spec.channels[level] for level in self.levels)),  # the first two are not read
            encoder_depth=max(3, len(self.levels) + 1),  # is only looked at to refuse less
            decoder_channels=channels,
        )
        self.decoder = with_steady_norms(decoder)
        self.out_channels = channels
        self.output_stride = spec.strides[self.levels[0]]

    def forward(self, pyramid: tuple[Tensor, ...]) -> Tensor:
        """See `Decoder.forward`: the map has the size of the level nearest to stride 4."""
        unread = pyramid[-1]
        decoded: Tensor = self.decoder([unread, unread, *(pyramid[level] for level in self.levels)])
        return decoded
