"""SqueezeNet of torchvision, as an encoder of a raster."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import torch
from safetensors import SafetensorError
from timm.models import load_state_dict
from torch import Tensor, nn
from torchvision import models

from weft.encoders.raster import RasterEncoder
from weft.encoders.stem import Stem, input_spec_of, load_adapted
from weft.errors import WeftError
from weft.modalities.base import NO_FACTS, Facts
from weft.registry import Range, register

#: What torchvision's weights expect: ImageNet's statistics, of values in [0, 1].
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_BUILD = {"1_0": models.squeezenet1_0, "1_1": models.squeezenet1_1}
_HUB = {"1_0": models.SqueezeNet1_0_Weights.IMAGENET1K_V1, "1_1": models.SqueezeNet1_1_Weights.IMAGENET1K_V1}


@register("encoder", "squeezenet")
class SqueezeNet(RasterEncoder):
    """SqueezeNet: a very small network, four levels at strides 2 to 16, without BatchNorm.

    Args:
        version: 1_1 needs 2.4 times less computation than 1_0.
        pretrained: start from torchvision's published weights. They are downloaded, unless they are in the cache.
        weights: start from a local file instead, .safetensors or .pth, in torchvision's layout.
        mean: per channel, what the network expects to be subtracted, of values in [0, 1]; by default ImageNet's for
            three channels, and what was measured on the training split for other numbers of channels.
        std: per channel, what the network expects to be divided by; by default as for `mean`.
        stem: what becomes of pretrained filters when the input has not three channels; see encoder `timm`.
        freeze: train nothing of it.
        freeze_stages: train nothing of the first so many stages.
        lr_factor: factor on the learning rate of its parameters.
        vector: give one vector of this width instead of maps: the average over the deepest map, projected anew.

    Reference: Iandola et al., arXiv:1602.07360.
    """

    def __init__(
        self,
        in_channels: int,
        initialise: bool = True,
        facts: Facts = NO_FACTS,
        *,
        version: Literal["1_0", "1_1"] = "1_1",
        pretrained: bool = False,
        weights: str | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[Annotated[float, Range(0, open_low=True)], ...] | None = None,
        stem: Stem = "extend",
        freeze: bool = False,
        freeze_stages: Annotated[int, Range(0)] = 0,
        lr_factor: Annotated[float, Range(0)] = 1.0,
        vector: Annotated[int, Range(1)] | None = None,
    ) -> None:
        if pretrained and weights is not None:
            raise WeftError("encoder squeezenet: give `pretrained: true` or `weights: FILE`, not both")
        network = _network(version, in_channels)
        if initialise and (pretrained or weights is not None):
            path = None if weights is None else Path(weights).expanduser()
            load_adapted(network, _state(version, path, _network(version, 3)), in_channels, stem)
        boundaries = [name for (name, _), (_, after) in pairwise(network.named_children()) if _is_pool(after)]
        boundaries.append(str(len(network) - 1))
        with torch.no_grad():
            channels = [level.shape[1] for level in _maps(network, torch.zeros(1, in_channels, 64, 64))]
        super().__init__(
            network,
            channels=channels,
            strides=[2 ** (level + 1) for level in range(len(channels))],
            boundaries=boundaries,
            input_spec=input_spec_of("squeezenet", in_channels, mean, std, default=(_MEAN, _STD)),
            multiple=1,
            freeze=freeze,
            freeze_stages=freeze_stages,
            freeze_bn=False,  # it has none
            lr_factor=lr_factor,
            vector=vector,
        )

    def maps(self, inputs: Tensor) -> list[Tensor]:
        """See `RasterEncoder.maps`."""
        return _maps(self.network, inputs)


def _network(version: str, in_channels: int) -> nn.Sequential:
    features: nn.Sequential = _BUILD[version](weights=None).features
    first = features[0]
    assert isinstance(first, nn.Conv2d)
    if in_channels != first.in_channels:
        height, width = first.kernel_size
        features[0] = nn.Conv2d(in_channels, first.out_channels, (height, width), stride=2)
    return features


def _is_pool(module: nn.Module) -> bool:
    return isinstance(module, nn.MaxPool2d)


def _maps(network: nn.Module, inputs: Tensor) -> list[Tensor]:
    """What goes into each pooling, and the output."""
    maps = []
    current = inputs
    for module in network.children():
        if _is_pool(module):
            maps.append(current)
        current = module(current)
    return [*maps, current]


def _state(version: str, path: Path | None, network: nn.Module) -> Mapping[str, Tensor]:
    """The weights of `network` (three channels), from a file, or from the hub where `path` is None."""
    if path is None:
        try:
            state = _HUB[version].get_state_dict(progress=False, check_hash=True)
        except OSError as error:
            raise WeftError(
                f"the pretrained weights of squeezenet {version} could not be fetched ({error}). Without a network, "
                "put the file on this machine and write `weights: FILE` instead of `pretrained: true`",
                code="no-network",
            ) from error
    else:
        if not path.is_file():
            raise WeftError(f"the weights {path} of encoder squeezenet are not there; give the path of a file")
        try:
            state = load_state_dict(str(path))
        except (SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError) as error:
            raise WeftError(f"{path} cannot be read as weights: {type(error).__name__}: {error}") from error
    wanted = network.state_dict()
    found = {key: state.get(f"features.{key}") for key in wanted}
    bad = [key for key, tensor in found.items() if tensor is None or tensor.shape != wanted[key].shape]
    if bad:
        raise WeftError(
            f"{path or 'the published file'} does not hold the weights of squeezenet {version}: {len(bad)} of "
            f"{len(wanted)} tensors are missing or of another shape, such as features.{bad[0]}"
        )
    return {key: tensor for key, tensor in found.items() if tensor is not None}
