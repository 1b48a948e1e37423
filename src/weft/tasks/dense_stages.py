"""What a dense task can add to its decoder: attention before it, a second stage after it, and heads beside it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import log2
from typing import Annotated

import torch
from torch import Tensor, nn

from weft.decoders.blocks import convolution, resized
from weft.experiment import Count
from weft.fusion.attention import encoder_layer
from weft.fusion.positions import grid_positions
from weft.registry import Range
from weft.types import FeatureSpec

#: Positions start at this strength beside tokens of variance one, as in the fusions by attention.
_POSITION = 0.1


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Self-attention between encoder and decoder: every place of the deepest map sees all others.

    A Transformer encoder over the places of the deepest map, whose answer is added to the map.

    Args:
        heads: of every layer.
        layers: of the Transformer.
        dim: width of its tokens, a multiple of the heads and of 4.
        dropout: within its layers.

    Reference: as in TransUNet, Chen et al., 2021, arXiv:2102.04306.
    """

    heads: Count = 8
    layers: Count = 1
    dim: Count = 256
    dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.1


@dataclass(frozen=True, kw_only=True)
class Auxiliary:
    """Deep supervision: heads on the maps that the decoder is given, which are there in training only.

    Each is two convolutions that must answer from one level alone; its loss, times `weight`, is added to the task's.

    Args:
        strides: a head on the level nearest to each.
        weight: of the loss of each head beside that of the answer.
        channels: of the hidden map.

    Reference: Lee et al., AISTATS 2015, arXiv:1409.5185; the weight is that of Zhao et al., CVPR 2017,
    arXiv:1612.01105.
    """

    strides: tuple[Count, ...] = (16,)
    weight: Annotated[float, Range(0, open_low=True)] = 0.4
    channels: Count = 128


@dataclass(frozen=True, kw_only=True)
class Refine:
    """A second stage that reads a finer map beside the first stage's coarse answer, and adds the detail to it.

    The answer of the decoder is brought to the size of a fine level; a few convolutions read both and say what is to be
    added to the logits. The first stage keeps a loss of its own: with L₁ and L₂ those of the two, L₂ + weight · L₁.

    Args:
        stride: of the fine level, the nearest there is; the answer has its size then.
        channels: of the second stage.
        layers: 3×3 convolutions of it.
        weight: of the loss of the first stage.

    Reference: a second network that reads the first's coarse prediction, Eigen and Fergus, ICCV 2015, arXiv:1411.4734,
    section 3; what is added to it, with a loss at every stage, Ghiasi and Fowlkes, ECCV 2016, arXiv:1605.02264.
    """

    stride: Count = 2
    channels: Count = 32
    layers: Count = 2
    weight: Annotated[float, Range(0, open_low=True)] = 0.5


class SelfAttention(nn.Module):
    """`Attention`, built for a map of some channels."""

    def __init__(self, channels: int, options: Attention) -> None:
        super().__init__()
        dim, heads = options.dim, options.heads
        if dim % heads or dim % 4:
            raise ValueError(f"attention: dim is {dim} with {heads} heads; give a multiple of the heads and of 4")
        self.embed = nn.Sequential(nn.Linear(channels, dim), nn.LayerNorm(dim))
        layers = [encoder_layer(dim, heads=heads, dropout=options.dropout) for _ in range(options.layers)]
        self.layers = nn.Sequential(*layers)
        self.project = nn.Linear(dim, channels)

    def forward(self, level: Tensor) -> Tensor:
        """(R, C, h, w) from (R, C, h, w)."""
        height, width = level.shape[-2:]
        tokens = self.embed(level.flatten(2).transpose(1, 2))
        positions = grid_positions((1, height, width), tokens.shape[-1], device=tokens.device)
        answer = self.project(self.layers(tokens + _POSITION * positions.to(tokens.dtype)))
        return level + answer.transpose(1, 2).unflatten(2, (height, width)).to(level.dtype)


class AuxiliaryHeads(nn.Module):
    """`Auxiliary`, built for a pyramid: a head per level."""

    def __init__(self, spec: FeatureSpec, num_channels: int, options: Auxiliary) -> None:
        super().__init__()
        self.levels = tuple(nearest_level(spec, stride) for stride in options.strides)
        if not self.levels:
            raise ValueError("auxiliary: `strides` is empty; give one stride at least, or leave auxiliary out")
        if len(set(self.levels)) < len(self.levels):
            raise ValueError(
                f"auxiliary: two of the strides {list(options.strides)} mean the same level; there are levels of the "
                f"strides {list(spec.strides)}"
            )
        # by name, so that a run with other strides can take over those that it shares
        self.heads = nn.ModuleDict(
            {
                f"stride{spec.strides[level]}": nn.Sequential(
                    convolution(spec.channels[level], options.channels), nn.Conv2d(options.channels, num_channels, 1)
                )
                for level in self.levels
            }
        )

    def forward(self, pyramid: tuple[Tensor, ...]) -> list[Tensor]:
        """The logits of each head, (R, K, h_l, w_l), from the levels fine to coarse."""
        return [head(pyramid[level]) for head, level in zip(self.heads.values(), self.levels, strict=True)]


class Refinement(nn.Module):
    """`Refine`, built for a pyramid."""

    def __init__(self, spec: FeatureSpec, num_channels: int, options: Refine) -> None:
        super().__init__()
        self.level = nearest_level(spec, options.stride)
        self.detail = convolution(spec.channels[self.level], options.channels, kernel_size=1)
        widths = [options.channels + num_channels, *[options.channels] * options.layers]
        self.body = nn.Sequential(*(convolution(*pair) for pair in pairwise(widths)))
        self.project = nn.Conv2d(options.channels, num_channels, kernel_size=1)

    def forward(self, coarse: Tensor, pyramid: tuple[Tensor, ...]) -> Tensor:
        """(R, K, h_l, w_l) from the coarse logits (R, K, h, w) and the levels fine to coarse."""
        fine = self.detail(pyramid[self.level])
        coarse = resized(coarse, fine.shape[-2:])
        added: Tensor = self.project(self.body(torch.cat([fine, coarse.to(fine.dtype)], dim=1)))
        return coarse + added


def nearest_level(spec: FeatureSpec, stride: int) -> int:
    """The place in the pyramid of the level whose stride is nearest."""
    return min(range(len(spec.strides)), key=lambda level: abs(log2(spec.strides[level] / stride)))
