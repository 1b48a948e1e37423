"""The head of every task that answers per pixel: a decoder, a convolution, and the way up to the pixels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from weft.registry import Part
from weft.types import Features, FeatureSpec


class DenseHead(nn.Module):
    """Features with maps in, K numbers per pixel out.

    Args:
        spec: of the features.
        num_channels: K.
        decoder: the decoder, not yet built.
        dropout: probability of hiding a channel of the decoder's map in training.
    """

    def __init__(self, spec: FeatureSpec, num_channels: int, *, decoder: Part, dropout: float) -> None:
        super().__init__()
        self.decoder = decoder(spec)
        self.dropout = nn.Dropout2d(dropout)
        self.project = nn.Conv2d(self.decoder.out_channels, num_channels, kernel_size=1)

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        """(P, K, H, W) float32 at `size` (H, W)."""
        logits = self.project(self.dropout(self.decoder(features.pyramid)))
        return to_pixels(logits, self.decoder.output_stride, size)


def to_pixels(logits: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """(P, K, H, W) float32 from (P, K, h, w), bilinearly; what lies beyond `size` is what the encoder padded.

    Args:
        logits: a map of stride `stride`; it covers (h · stride, w · stride) pixels from the top left.
        size: (H, W) of the pixels that are wanted.
    """
    height, width = logits.shape[-2] * stride, logits.shape[-1] * stride
    if stride > 1:
        # float32: neighbours in bf16 are too close to interpolate between
        logits = F.interpolate(logits.float(), size=(height, width), mode="bilinear", align_corners=False)
    return logits.float()[..., : size[0], : size[1]]
