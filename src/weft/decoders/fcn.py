"""FCN: scores from the deepest level, added to those of one or two finer ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor, nn

from weft.decoders.base import Decoder
from weft.decoders.blocks import convolution, resized
from weft.registry import Range, register
from weft.types import FeatureSpec

Stride = Literal[8, 16, 32]

_STRIDE: Stride = 8

#: {stride of the output: strides of the finer levels that are read}
_SKIPS: dict[int, tuple[int, ...]] = {32: (), 16: (16,), 8: (8, 16)}


@register("decoder", "fcn")
class FCN(Decoder):
    """Fully convolutional networks: FCN-32s, FCN-16s and FCN-8s, by `stride`.

    Two convolutions in the place of the classifier's fully connected layers read the deepest level; what they say is
    brought up and added to what a 1×1 convolution says of each finer level that is read. The article adds scores of
    classes; here the sum is of `channels` maps, of which the task's head, which is linear, makes the scores. Going up
    is bilinear; the article starts there, too, and lets part of it learn.

    Args:
        stride: 32: only the deepest level is read; 16: and that of stride 16; 8: and those of strides 16 and 8. On an
            encoder whose deepest level is finer, that level takes the place of the coarser ones.
        channels: of the sum.
        hidden: channels between the two convolutions.
        kernel_size: of the first of them, odd; 7 in the article.
        dropout: after each of them, in training; 0.5 in the article.

    Reference: Long et al., CVPR 2015, arXiv:1411.4038.
    """

    detail_strides: ClassVar[tuple[int, ...] | None] = _SKIPS[_STRIDE]

    def __init__(
        self,
        spec: FeatureSpec,
        *,
        stride: Stride = _STRIDE,
        channels: Annotated[int, Range(1)] = 128,
        hidden: Annotated[int, Range(1)] = 512,
        kernel_size: Annotated[int, Range(1)] = 3,
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.1,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"fcn: kernel_size is {kernel_size}; give an odd number, so that the map keeps its size")
        *self.skips, _ = spec.levels_for(_SKIPS[stride])
        self.context = nn.Sequential(
            convolution(spec.dim, hidden, kernel_size=kernel_size),
            nn.Dropout2d(dropout),
            convolution(hidden, hidden, kernel_size=1),
            nn.Dropout2d(dropout),
            nn.Conv2d(hidden, channels, kernel_size=1),
        )
        self.scores = nn.ModuleList(nn.Conv2d(spec.channels[level], channels, 1) for level in self.skips)
        self.out_channels = channels
        self.output_stride = spec.strides[self.skips[0] if self.skips else -1]

    @classmethod
    def strides_read(cls, options: Mapping[str, Any]) -> tuple[int, ...] | None:
        """See `Decoder.strides_read`: by the option `stride`."""
        return _SKIPS[options.get("stride", _STRIDE)]

    def forward(self, pyramid: tuple[Tensor, ...]) -> Tensor:
        """See `Decoder.forward`."""
        total: Tensor = self.context(pyramid[-1])
        for score, level in zip(reversed(self.scores), reversed(self.skips), strict=True):
            finer = score(pyramid[level])
            total = resized(total, finer.shape[-2:]) + finer
        return total
