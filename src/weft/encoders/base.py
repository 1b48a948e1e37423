"""What every encoder is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from weft.types import Features, FeatureSpec, InputSpec


class Encoder(nn.Module, ABC):
    """One modality's network: normalised input in, `Features` out.

    A constructor takes `in_channels: int`, then `initialise: bool = True`, whether to load the pretrained weights that
    the options name (weft says no where trained ones are loaded next), then keyword-only options.

    Attributes:
        spec: what `forward` returns, known at construction.
        input_spec: what it wants of its input.
        lr_factor: factor on the learning rate of its parameters.
    """

    spec: FeatureSpec
    input_spec: InputSpec
    lr_factor: float = 1.0

    @abstractmethod
    def forward(self, inputs: Tensor) -> Features:
        """Encode P rows, all present.

        Args:
            inputs: (P, C, H, W) float for rasters, normalised by the modality's preprocessor.

        Returns:
            Features of P rows; level l is exactly (ceil(H / s_l), ceil(W / s_l)) large.
        """

    @abstractmethod
    def layers(self) -> list[nn.Module]:
        """Its stages from input to output, for freezing and for learning rates that fall with depth."""
