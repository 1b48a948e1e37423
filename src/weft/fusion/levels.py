"""Fusion level by level: the base of every fusion that makes one view, `fused`, on maps as on tokens.

A subclass says only how one level is fused. Here the modalities' pyramids are brought to common strides and widths,
absent rows are taken out, and the fused levels become `Features` again. Tokens of vectors and sequences are fused by
the same block, as maps of one pixel: each token is a row with a presence of its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from math import log2
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.fusion.base import Fusion
from weft.types import Features, FeatureSpec, Layout

Width = Literal["widest", "first"]


class Level(nn.Module):
    """Fuses the modalities at one level."""

    @abstractmethod
    def forward(self, maps: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """(B, C, h, w) from {modality: (B, C, h, w)}, zero in absent rows, and {modality: (B,) bool}.

        A row in which nothing is present may hold anything finite. Nothing may be computed across rows.
        """

    def explain(self, maps: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor | None:
        """The weights behind `forward`, (B, M) or (B, M, h, w) in the order of the modalities, if it has any."""
        return None


class LevelFusion(Fusion):
    """One view, `fused`, from one or more modalities of one layout.

    The deepest level is fused from every modality's deepest and has the finest of their strides; there is a finer level
    for every finer stride that any modality has, fused from each one's level of the nearest stride. Maps of another
    stride are resized, those of other channels pass a 1x1 convolution.

    Args:
        specs: {modality: spec}.
        width: channels of a fused level: those of the widest modality, or of the first.
        strides: the levels to fuse, by their stride; others are left out of the view. Empty: all.
    """

    def __init__(self, specs: Mapping[str, FeatureSpec], *, width: Width, strides: Sequence[int]) -> None:
        super().__init__()
        self.modalities = tuple(specs)
        self._layout = _common_layout(specs)
        own_strides = {m: spec.strides or (1,) for m, spec in specs.items()}  # tokens: one level
        self._strides = _chosen(_common_strides(own_strides), strides if self._layout in ("grid", "clip") else ())
        deepest = min(own[-1] for own in own_strides.values())
        self._sources = {
            m: [_nearest(own, stride, deepest=stride == deepest) for stride in self._strides]
            for m, own in own_strides.items()
        }
        #: per level a modality that has it at its very stride, and so at its size
        self._sized_by = [
            next(m for m, own in own_strides.items() if own[self._sources[m][level]] == stride)
            for level, stride in enumerate(self._strides)
        ]
        channels = {m: [(specs[m].channels or (specs[m].dim,))[i] for i in self._sources[m]] for m in specs}
        widths = [
            channels[self.modalities[0]][level] if width == "first" else max(c[level] for c in channels.values())
            for level in range(len(self._strides))
        ]
        self.project = nn.ModuleDict(
            {
                m: nn.ModuleList(
                    nn.Identity() if c == w else nn.Conv2d(c, w, 1) for c, w in zip(channels[m], widths, strict=True)
                )
                for m in self.modalities
            }
        )
        self.blocks = nn.ModuleList(self.build_level(w) for w in widths)
        with_maps = (tuple(widths), tuple(self._strides)) if self._layout in ("grid", "clip") else ()
        self.specs = {"fused": FeatureSpec(self._layout, widths[-1], *with_maps)}

    @abstractmethod
    def build_level(self, width: int) -> Level:
        """The block for one level of `width` channels; `self.modalities` are the names."""

    def forward(self, features: dict[str, Features]) -> dict[str, Features]:
        """See `Fusion.forward`."""
        levels = self._aligned(features)
        fused = [block(*inputs) for block, inputs in zip(self.blocks, levels, strict=True)]
        return {"fused": self._features(fused, features)}

    def explain(self, features: dict[str, Features]) -> dict[str, Tensor]:
        """See `Fusion.explain`: one entry per level, `stride 4` for maps and `tokens` for tokens."""
        names = [f"stride {stride}" for stride in self._strides] if self.specs["fused"].has_maps else ["tokens"]
        shown = {}
        for name, block, inputs in zip(names, self.blocks, self._aligned(features), strict=True):
            weights = cast(Level, block).explain(*inputs)
            if weights is not None:
                shown[name] = weights
        return shown

    def _aligned(self, features: dict[str, Features]) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        """Per level: {modality: (R, C, h, w)} of one size, zero where absent, and {modality: (R,)}.

        R rows are B samples, frames or tokens.
        """
        self._check(features)
        pyramids = {m: _rows(features[m]) for m in self.modalities}
        present = {m: _row_presence(features[m]) for m in self.modalities}
        levels = []
        for level in range(len(self._strides)):
            raw = {m: pyramids[m][self._sources[m][level]] for m in self.modalities}
            height, width = raw[self._sized_by[level]].shape[-2:]
            maps = {m: self._project(raw[m], m, level, present[m], (height, width)) for m in self.modalities}
            levels.append((maps, present))
        return levels

    def _project(self, level_map: Tensor, modality: str, level: int, present: Tensor, size: tuple[int, int]) -> Tensor:
        rows = present.view(-1, 1, 1, 1)
        project = cast(nn.ModuleList, self.project[modality])[level]
        projected = torch.where(rows, level_map, 0)  # before anything is computed: 0 x NaN is NaN, also in gradients
        if not isinstance(project, nn.Identity):
            projected = torch.where(rows, project(projected), 0)  # the bias of an absent row
        if projected.shape[-2:] != size:
            projected = F.interpolate(projected, size, mode="bilinear", align_corners=False)
        return projected

    def _features(self, fused: list[Tensor], features: dict[str, Features]) -> Features:
        first = features[self.modalities[0]]
        num_rows = len(first.present)
        present = torch.stack([features[m].present for m in self.modalities]).any(0)
        if first.grid is None:
            mask = torch.stack([features[m].mask & features[m].present[:, None] for m in self.modalities]).any(0)
            return Features(
                tokens=fused[0].flatten(1).view(num_rows, -1, fused[0].shape[1]), mask=mask, present=present
            )
        num_frames = first.grid[0]
        height, width = fused[-1].shape[-2:]
        frames = torch.stack([_row_presence(features[m]) for m in self.modalities]).any(0).view(num_rows, num_frames)
        tokens = fused[-1].flatten(2).transpose(1, 2)
        return Features(
            tokens=tokens.reshape(num_rows, num_frames * height * width, -1) if num_frames > 1 else tokens,
            mask=frames[:, :, None].expand(-1, -1, height * width).flatten(1),
            present=present,
            grid=(num_frames, height, width),
            maps=tuple(level.unflatten(0, (num_rows, num_frames)) for level in fused[:-1]),
        )

    def _check(self, features: dict[str, Features]) -> None:
        grids = {m: features[m].grid for m in self.modalities}
        lengths = {m: features[m].tokens.shape[1] if grid is None else grid[0] for m, grid in grids.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"the modalities have different numbers of tokens or frames, {lengths}, and are fused one by one; "
                "bring them to the same number"
            )


def masked_softmax(scores: Tensor, present: Tensor) -> Tensor:
    """Softmax over axis 1 in float32 among what is present; zero elsewhere, and where nothing is.

    Args:
        scores: (B, M, ...).
        present: bool, broadcast to it.
    """
    # The lowest number instead of -inf: a row without anything would be NaN, and so would its gradient.
    scores = scores.float()
    masked = torch.where(present, scores, torch.finfo(torch.float32).min)
    return torch.where(present, masked.softmax(1), 0)


def weighted_sum(maps: Mapping[str, Tensor], weights: Tensor) -> Tensor:
    """(B, C, h, w) from M maps, zero where absent, and weights (B, M, h, w) or (B, M, 1, 1)."""
    first, *others = maps.values()
    weights = weights.to(first.dtype)
    total = first * weights[:, :1]
    for index, level in enumerate(others, start=1):
        total = torch.addcmul(total, level, weights[:, index : index + 1])
    return total


def _common_layout(specs: Mapping[str, FeatureSpec]) -> Layout:
    layouts = {m: spec.layout for m, spec in specs.items()}
    if len(set(layouts.values())) != 1:
        listed = ", ".join(f"{m} ({layout})" for m, layout in layouts.items())
        raise ValueError(
            f"this fusion takes modalities of one layout, and these differ: {listed}; fuse those of one layout, or use "
            "fusion `none` with a decision rule"
        )
    return next(iter(layouts.values()))


def _common_strides(own: Mapping[str, Sequence[int]]) -> list[int]:
    """Strides of the fused levels, fine to coarse; see `LevelFusion`."""
    deepest = min(strides[-1] for strides in own.values())
    finer = {stride for strides in own.values() for stride in strides if stride < deepest}
    return [*sorted(finer), deepest]


def _nearest(strides: Sequence[int], target: int, *, deepest: bool) -> int:
    """Index of the level that goes into one of stride `target`: the deepest into the deepest, else the nearest."""
    if deepest or len(strides) == 1:
        return len(strides) - 1
    return min(range(len(strides) - 1), key=lambda level: abs(log2(strides[level] / target)))


def _chosen(available: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """The wanted strides, fine to coarse; all where none is wanted by name."""
    missing = sorted(set(wanted) - set(available))
    if missing:
        raise ValueError(f"there is no level of stride {missing} to fuse; there are {list(available)}")
    return [stride for stride in available if not wanted or stride in wanted]


def _rows(features: Features) -> tuple[Tensor, ...]:
    """The pyramid, or the tokens as one level of maps of one pixel: (B * N, D, 1, 1)."""
    return features.pyramid if features.grid is not None else (features.tokens.flatten(0, 1)[:, :, None, None],)


def _row_presence(features: Features) -> Tensor:
    """(R,) bool: of samples, frames or tokens."""
    real = features.mask & features.present[:, None]
    return real.flatten() if features.grid is None else real.view(-1, features.grid[1] * features.grid[2]).any(1)
