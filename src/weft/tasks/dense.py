"""The head of every task that answers per pixel: a decoder, a convolution, and the way up to the pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft import registry
from weft.decoders.base import Decoder
from weft.metrics.calibration import NUM_BINS
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


def at_one_size(logits: dict[str, Tensor]) -> dict[str, Tensor]:
    """{view: (P, K, h, w)} with all maps at the size of the finest."""
    height = max(view_logits.shape[-2] for view_logits in logits.values())
    width = max(view_logits.shape[-1] for view_logits in logits.values())
    return {view: to_pixels(view_logits, (height, width)) for view, view_logits in logits.items()}


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


def calibration_bins(confidence: Tensor, right: Tensor, known: Tensor) -> dict[str, np.ndarray]:
    """What `Reliability` sums, per sample: `bin_count`, `bin_confidence` and `bin_true`, each (P, 15).

    Args:
        confidence: (P, H, W) probabilities of what is answered.
        right: (P, H, W) bool.
        known: (P, H, W) bool, the pixels that have a label.
    """
    num_rows = len(confidence)
    row = torch.arange(num_rows, device=confidence.device).view(-1, 1, 1)
    places = (confidence * NUM_BINS).ceil().long().sub(1).clamp(0, NUM_BINS - 1)
    places = ((row * NUM_BINS + places) * 2 + right).where(known, num_rows * NUM_BINS * 2)  # one more for the others
    shape, size = (num_rows, NUM_BINS, 2), num_rows * NUM_BINS * 2
    counts = torch.bincount(places.flatten(), minlength=size + 1)[:size].view(shape).cpu().numpy()
    sums = torch.bincount(places.flatten(), confidence.double().flatten(), minlength=size + 1)[:size].view(shape)
    return {"bin_count": counts.sum(2), "bin_confidence": sums.sum(2).cpu().numpy(), "bin_true": counts[..., 1]}
