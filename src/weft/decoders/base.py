"""What every decoder of dense tasks is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Decoder(nn.Module, ABC):
    """A pyramid in, one map out. A constructor takes `spec: FeatureSpec` (with maps), then keyword-only options.

    Attributes:
        out_channels: channels of the map.
        output_stride: stride of the map in pixels.
    """

    out_channels: int
    output_stride: int

    @abstractmethod
    def forward(self, pyramid: tuple[Tensor, ...]) -> Tensor:
        """(B, out_channels, h, w) from the levels fine to coarse, each (B, C_l, h_l, w_l)."""
