"""The head of SegFormer: every level through a linear layer, brought to one size, and read together."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from torch import Tensor

from weft.decoders.base import Decoder
from weft.decoders.blocks import resized, with_steady_norms
from weft.registry import Range, register
from weft.types import FeatureSpec


@register("decoder", "segformer")
class SegFormer(Decoder):
    """The all-MLP decoder of SegFormer, from layers of segmentation_models.pytorch, on a pyramid of any strides.

    Nothing in it looks at a neighbouring place: it is for encoders that have seen the whole image, such as Transformers
    (and where the encoder has not, `attention` can).

    Args:
        channels: of every level and of the output.

    Reference: Xie et al., NeurIPS 2021, arXiv:2105.15203.
    """

    detail_strides: ClassVar[tuple[int, ...] | None] = (4, 8, 16)

    def __init__(self, spec: FeatureSpec, *, channels: Annotated[int, Range(1)] = 256) -> None:
        super().__init__()
        self.levels = spec.levels_for(self.detail_strides)
        decoder = SegformerDecoder(
            encoder_channels=[3, *(spec.channels[level] for level in self.levels)],  # the first is the image's
            encoder_depth=max(3, len(self.levels)),  # is only looked at to refuse less
            segmentation_channels=channels,
        )
        self.decoder = with_steady_norms(decoder)
        self.out_channels = channels
        self.output_stride = spec.strides[self.levels[0]]

    def forward(self, pyramid: tuple[Tensor, ...]) -> Tensor:
        """See `Decoder.forward`: the map has the size of the level nearest to stride 4."""
        size = pyramid[self.levels[0]].shape[-2:]
        coarse_first = [pyramid[level] for level in reversed(self.levels)]
        mixed = [resized(mix(level), size) for mix, level in zip(self.decoder.mlp_stage, coarse_first, strict=True)]
        decoded: Tensor = self.decoder.fuse_stage(torch.cat(mixed, dim=1))
        return decoded
