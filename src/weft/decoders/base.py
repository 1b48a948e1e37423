"""What every decoder of dense tasks is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn


class Decoder(nn.Module, ABC):
    """A pyramid in, one map out. A constructor takes `spec: FeatureSpec` (with maps), then keyword-only options.

    Attributes:
        detail_strides: strides of the levels that it reads besides the deepest, each by the nearest there is; None:
            all levels. Those that no task reads are left out of the pyramid. A decoder that an option makes read others
            says so in `strides_read`.
        out_channels: channels of the map.
        output_stride: stride of the map in pixels.
    """

    detail_strides: ClassVar[tuple[int, ...] | None] = None
    out_channels: int
    output_stride: int

    @classmethod
    def strides_read(cls, options: Mapping[str, Any]) -> tuple[int, ...] | None:
        """What `detail_strides` says, with these options as they stand in a configuration."""
        return cls.detail_strides

    @abstractmethod
    def forward(self, pyramid: tuple[Tensor, ...]) -> Tensor:
        """(B, out_channels, h, w) from the levels fine to coarse, each (B, C_l, h_l, w_l)."""
