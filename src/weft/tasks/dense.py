"""The head of every task that answers per pixel: a decoder, a convolution, and the way up to the pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft import registry
from weft.decoders.base import Decoder
from weft.registry import Part
from weft.types import Features, FeatureSpec


def strides_read(options: Mapping[str, Any], default: Part) -> tuple[int, ...] | None:
    """What the decoder among a dense task's options reads; see `Task.strides_read`."""
    decoder: type[Decoder] = registry.get("decoder", registry.as_part("decoder", options.get("decoder", default)).type)  # type: ignore[assignment]
    return decoder.detail_strides


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
        return to_pixels(self.coarse(features), size)

    def coarse(self, features: Features) -> Tensor:
        """(P, K, h, w) at the stride of the decoder."""
        logits: Tensor = self.project(self.dropout(self.decoder(features.pyramid)))
        return logits


def to_pixels(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(P, K, H, W) float32 from (P, K, h, w), bilinearly, with the classes innermost in memory.

    Args:
        logits: a map over the whole of the image.
        size: (H, W) of the image.
    """
    # float32: neighbours in bf16 are too close to interpolate between. Channels last: what follows runs over the
    # classes of a pixel (softmax, maximum), which is several times faster on a processor where they lie side by side.
    logits = logits.float().contiguous(memory_format=torch.channels_last)
    if logits.shape[-2:] == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
