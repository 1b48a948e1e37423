"""What encoders of rasters share: exact level sizes, one level per stride, stages, and freezing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.encoders.base import Encoder
from weft.encoders.frames import FrameMapsEncoder, FramesEncoder
from weft.types import Features, FeatureSpec, InputSpec


class RasterEncoder(Encoder):
    """A convolutional or transformer network that gives a pyramid of maps.

    Of several maps of one stride only the deepest is kept: nothing downstream would read the others. With `vector`
    there are no maps: the deepest is averaged over its pixels and projected anew.

    Args:
        network: the network; its stages end at `boundaries`.
        channels: channels of the maps that `maps` returns, fine to coarse.
        strides: their strides in pixels.
        boundaries: names of the submodules that end a stage, from input to output.
        input_spec: what it wants of its input.
        multiple: the network takes only heights and widths that are multiples of this; others are padded here.
        freeze: train nothing of it.
        freeze_stages: train nothing of the first so many stages.
        freeze_bn: keep statistics and factors of all its BatchNorm layers as they are.
        lr_factor: factor on the learning rate of its parameters.
        vector: width of the one vector to give instead of maps.
    """

    reads: ClassVar[str] = "raster"
    lends_to: ClassVar[tuple[str, ...]] = ("video",)
    gives_maps: ClassVar[bool] = True

    def __init__(
        self,
        network: nn.Module,
        *,
        channels: Sequence[int],
        strides: Sequence[int],
        boundaries: Sequence[str],
        input_spec: InputSpec,
        multiple: int,
        freeze: bool,
        freeze_stages: int,
        freeze_bn: bool,
        lr_factor: float,
        vector: int | None,
    ) -> None:
        super().__init__()
        self.network = network
        self.input_spec = input_spec
        self.lr_factor = lr_factor
        last = len(strides) - 1
        self._kept = [i for i, stride in enumerate(strides) if i == last or strides[i + 1] != stride]
        kept_channels = tuple(channels[i] for i in self._kept)
        self._pyramid = FeatureSpec("grid", kept_channels[-1], kept_channels, tuple(strides[i] for i in self._kept))
        self.spec = self._pyramid if vector is None else FeatureSpec("vector", vector)
        self.project = None if vector is None else nn.Linear(self._pyramid.dim, vector)
        self._boundaries = [_plain(name) for name in boundaries]
        self._multiple = multiple
        self._freeze_bn = freeze_bn
        num_stages = len(self.layers())
        if freeze_stages > num_stages:
            raise ValueError(f"freeze_stages is {freeze_stages}, but the network has {num_stages} stages")
        self._frozen_stages = num_stages if freeze else freeze_stages
        self._frozen_whole = self._frozen_stages == num_stages
        for module in self._frozen():
            module.requires_grad_(False)
        self.train(self.training)

    def lent_to(self, kind: str, in_channels: int) -> Encoder:
        """See `Encoder.lent_to`: a clip is seen frame by frame."""
        if kind not in self.lends_to:
            return super().lent_to(kind, in_channels)
        frames: type[Encoder] = FrameMapsEncoder if self.spec.has_maps else FramesEncoder
        return frames(in_channels, backbone=self)

    @abstractmethod
    def maps(self, inputs: Tensor) -> list[Tensor]:
        """All maps of the network, fine to coarse, (P, C_l, h_l, w_l), for (P, C, H, W)."""

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        """See `Encoder.extract`: inputs (P, C, H, W) float, normalised. With `vector`, (P, 1, C) averages."""
        height, width = inputs.shape[-2:]
        pad_down, pad_right = -height % self._multiple, -width % self._multiple
        padded = F.pad(inputs, (0, pad_right, 0, pad_down)) if pad_down or pad_right else inputs
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen_whole):
            maps = self.maps(padded)
        if self.project is not None:
            height, width = self._pyramid.level_size(-1, (height, width))
            return Features.of_vector(maps[-1][..., :height, :width].mean((2, 3)))
        pyramid = []
        for level, index in enumerate(self._kept):
            expected = self._pyramid.level_size(level, (height, width))
            # What lies over the padding is cut off; then sizes differ only in networks that round down or do not pad.
            inside = maps[index][..., : expected[0], : expected[1]] if padded is not inputs else maps[index]
            exact = inside.shape[-2:] == expected
            pyramid.append(inside if exact else F.interpolate(inside, expected, mode="bilinear", align_corners=False))
        return Features.of_pyramid(pyramid)

    def finish(self, features: Features) -> Features:
        """See `Encoder.finish`: the projection of `vector`."""
        if self.project is None:
            return features
        return replace(features, tokens=self.project(features.tokens))

    @property
    def extract_frozen(self) -> bool:
        """See `Encoder.extract_frozen`: with `freeze`, or all stages frozen."""
        return self._frozen_whole

    def layers(self) -> list[nn.Module]:
        """See `Encoder.layers`: a stage ends where a level of the pyramid does."""
        stages: list[list[nn.Module]] = [[]]
        remaining = list(self._boundaries)
        for name, unit in _units(self.network, "", remaining):
            stages[-1].append(unit)
            if remaining and name == remaining[0]:
                remaining.pop(0)
                stages.append([])
        if len(stages) > 1:
            stages[-2].extend(stages.pop())  # what follows the last level belongs to its stage
        return [nn.ModuleList(stage) for stage in stages]

    def train(self, mode: bool = True) -> RasterEncoder:
        """Training mode, except for what is frozen: its BatchNorm and dropout stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        norms = [m for m in self.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)] if self._freeze_bn else []
        return [*self.layers()[: self._frozen_stages], *norms]


def _plain(name: str) -> str:
    """One spelling of a submodule's path: timm flattens `layers.0` to `layers_0`, or puts `model.` before it."""
    return name.removeprefix("model.").replace("_", ".")


def _units(module: nn.Module, name: str, boundaries: list[str]) -> Iterator[tuple[str, nn.Module]]:
    """The largest submodules that no boundary cuts through, in order; loose parameters come before the submodules."""
    own = list(module.parameters(recurse=False))
    if own:
        yield f"{name}.", nn.ParameterList(own)
    for child_name, child in module.named_children():
        path = _plain(f"{name}.{child_name}".removeprefix("."))
        if path == "model" or any(end.startswith(f"{path}.") for end in boundaries):
            yield from _units(child, "" if path == "model" else path, boundaries)
        else:
            yield path, child
