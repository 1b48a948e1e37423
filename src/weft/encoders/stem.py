"""How a pretrained network meets its input: statistics, and first convolutions for other numbers of channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from weft.errors import WeftError
from weft.types import InputSpec

Stem = Literal["extend", "sum", "repeat", "fresh"]


def adapt_stem(weight: Tensor, in_channels: int, stem: Stem) -> Tensor:
    """Filters for `in_channels` channels from RGB filters.

    Args:
        weight: (C, 3, h, w) filters over red, green and blue.
        in_channels: channels that the new filters read.
        stem: extend: from three channels on the first three keep their filters and the others start at zero; below
            three, the first gets the sum of the filters, so that it is seen as a grey picture, the other zero.
            sum: every channel gets the sum of the three, divided by the number of channels. repeat: red, green, blue,
            red, … scaled by 3 / number of channels, as timm does above three.

    Returns:
        (C, in_channels, h, w).
    """
    if stem == "sum":
        return weight.sum(1, keepdim=True).expand(-1, in_channels, -1, -1) / in_channels
    if stem == "repeat":
        order = torch.arange(in_channels, device=weight.device) % 3
        return weight[:, order] * (3 / in_channels)
    known = weight if in_channels >= 3 else weight.sum(1, keepdim=True)
    rest = known.new_zeros(known.shape[0], in_channels - known.shape[1], *known.shape[2:])
    return torch.cat([known, rest], dim=1)


def load_adapted(network: nn.Module, state: Mapping[str, Tensor], in_channels: int, stem: Stem) -> None:
    """Load RGB weights into a network that was built for `in_channels` channels and is otherwise the same.

    A tensor whose shape differs is a first convolution; with `fresh` it keeps its random start.
    """
    own = network.state_dict()
    adapted = {}
    for name, tensor in state.items():
        if tensor.shape == own[name].shape:
            adapted[name] = tensor
        elif stem == "fresh":
            adapted[name] = own[name]
        else:
            adapted[name] = adapt_stem(tensor, in_channels, stem)
    network.load_state_dict(adapted)


def input_spec_of(
    encoder: str,
    in_channels: int,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    *,
    default: tuple[tuple[float, ...], tuple[float, ...]] | None,
) -> InputSpec:
    """What an encoder wants of its input: as given, or for three channels the `default` (mean, std) of its weights.

    Raises:
        WeftError: a number of values that is not the number of channels, or one of the two without the other.
    """
    for option, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) != in_channels:
            raise WeftError(
                f"encoder {encoder}: {option} has {len(values)} values for {in_channels} channels; give one each"
            )
    if in_channels == 3 and default is not None:
        mean, std = mean or default[0], std or default[1]
    if (mean is None) != (std is None):
        raise WeftError(f"encoder {encoder}: give both `mean` and `std`, or neither")
    return InputSpec(mean, std)
