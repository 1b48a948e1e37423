"""PSPNet: the deepest level beside its averages over grids of a few cells."""

from __future__ import annotations

from typing import Annotated, ClassVar

from segmentation_models_pytorch.base.modules import Conv2dReLU
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPModule
from torch import Tensor

from weft.decoders.base import Decoder
from weft.decoders.blocks import with_steady_norms
from weft.registry import Range, register
from weft.types import FeatureSpec


@register("decoder", "pspnet")
class PSPNet(Decoder):
    """Pyramid scene parsing, from blocks of segmentation_models.pytorch.

    The deepest level is averaged over grids of `bins` × `bins` cells, each average goes through a 1×1 convolution and
    is brought back to the size of the level, and another reads them all beside the level. Nothing finer is read, so
    an encoder with `output_stride` 8, as in the article, or 16 keeps detail that one of 32 does not.

    Args:
        channels: of the output.
        bins: sides of the grids.

    Reference: Zhao et al., CVPR 2017, arXiv:1612.01105.
    """

    detail_strides: ClassVar[tuple[int, ...] | None] = ()

    def __init__(
        self,
        spec: FeatureSpec,
        *,
        channels: Annotated[int, Range(1)] = 512,
        bins: tuple[Annotated[int, Range(1)], ...] = (1, 2, 3, 6),
    ) -> None:
        super().__init__()
        if not 1 <= len(bins) <= spec.dim:
            raise ValueError(f"pspnet: {len(bins)} bins on {spec.dim} channels; give one or more, such as [1, 2, 3, 6]")
        self.psp = with_steady_norms(PSPModule(spec.dim, sizes=bins))
        joined = spec.dim + len(bins) * (spec.dim // len(bins))  # each grid gives an equal share of the channels
        self.conv = with_steady_norms(Conv2dReLU(joined, channels, kernel_size=1))
        self.out_channels = channels
        self.output_stride = spec.strides[-1]

    def forward(self, pyramid: tuple[Tensor, ...]) -> Tensor:
        """See `Decoder.forward`: the map has the size of the deepest level."""
        decoded: Tensor = self.conv(self.psp(pyramid[-1]))
        return decoded
