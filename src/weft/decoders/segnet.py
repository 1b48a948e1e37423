"""SegNet: up step by step, each value to the place where the encoder's maximum was."""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from weft.decoders.base import Decoder
from weft.decoders.blocks import convolution
from weft.registry import Range, register
from weft.types import FeatureSpec


@register("decoder", "segnet")
class SegNet(Decoder):
    """The decoder of SegNet: of the finer levels it reads the pooling indices alone.

    The levels of a VGG are its maps as they go into the poolings, so which of the pooled places held the maximum is
    told by the level itself: the indices are worked out here, and are those of the encoder's own poolings. A step
    puts every value where the maximum of its channel was, the other places become zero, and convolutions fill them.
    Other encoders stride instead of pooling; there the indices are those of a pooling of their levels.

    With several modalities the indices are those of the view that is read: of the fused levels, as in FuseNet, with
    what is present in that row alone. An index has no gradient, so what only the finer levels of a fusion depend on is
    not trained by this decoder: choose a fusion that has nothing to learn there, `{type: weighted, mode: fixed}`.

    Args:
        layers: 3×3 convolutions after each step; two or three in the article, as in the encoder.
        stride: of the output: levels finer than this are not read.

    Reference: Badrinarayanan et al., TPAMI 2017, arXiv:1511.00561; FuseNet, Hazirbas et al., ACCV 2016.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        *,
        layers: Annotated[int, Range(1)] = 2,
        stride: Literal[1, 2, 4] = 1,
    ) -> None:
        super().__init__()
        levels = [level for level, own in enumerate(spec.strides[:-1]) if own >= stride]
        if not levels:
            raise ValueError(
                f"segnet reads the pooling indices of levels of stride {stride} and more above the deepest, and of "
                f"those of strides {list(spec.strides)} none is; choose an encoder with a pyramid, such as vgg16_bn"
            )
        self.levels = tuple(reversed(levels))
        self.windows = tuple(_window(spec.strides[level + 1], spec.strides[level]) for level in self.levels)
        widths = [spec.channels[level] for level in self.levels]  # a value goes where its own channel's maximum was
        self.enter = nn.Identity() if widths[0] == spec.dim else convolution(spec.dim, widths[0], kernel_size=1)
        self.steps = nn.ModuleList(
            nn.Sequential(*(convolution(width, width) for _ in range(layers - 1)), convolution(width, finer))
            for width, finer in zip(widths, [*widths[1:], widths[-1]], strict=True)
        )
        self.out_channels = widths[-1]
        self.output_stride = spec.strides[self.levels[-1]]

    def forward(self, pyramid: tuple[Tensor, ...]) -> Tensor:
        """See `Decoder.forward`."""
        decoded: Tensor = self.enter(pyramid[-1])
        for step, level, window in zip(self.steps, self.levels, self.windows, strict=True):
            decoded = step(unpooled(decoded, pyramid[level], window))
        return decoded


def unpooled(values: Tensor, level: Tensor, window: int) -> Tensor:
    """(B, C, H, W) with each value at the place of the maximum of its window in `level`, and zero elsewhere.

    Args:
        values: (B, C, ceil(H / window), ceil(W / window)).
        level: (B, C, H, W).
        window: side of the pooled squares; those at the far edges may be cut off.
    """
    _, indices = F.max_pool2d(level.detach(), window, ceil_mode=True, return_indices=True)
    flat = values.new_zeros(level.shape).flatten(2)
    return flat.scatter(2, indices.flatten(2), values.flatten(2)).view(level.shape)


def _window(coarse: int, fine: int) -> int:
    if coarse % fine:
        raise ValueError(
            f"segnet: a level of stride {coarse} is no pooling of one of stride {fine}; choose an encoder whose "
            "strides are multiples of each other, or another decoder"
        )
    return coarse // fine
