"""Fusion level by level: the base of every fusion that makes one view, `fused`, place by place.

A subclass says only how one level is fused. Here the modalities' features are brought to common strides, sizes and
widths, absent rows are taken out, and the fused levels become `Features` again. What has no maps is a vector that
stands at every place; without any maps there is one level of one place.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
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
    """One view, `fused`, from one or more modalities of any layouts.

    Where any modality has maps, so has the view. Its deepest level is fused from every modality's deepest and has the
    finest of their strides; there is a finer level for every finer stride that any modality has, fused from each one's
    level of the nearest stride. Maps of another stride are resized. A modality without maps is pooled and stands at
    every place of every level. Clips meet frame by frame, by number; whatever is none stands in every frame, see
    `frames_in`. Where none has maps, the view is a vector, fused from all of them pooled. What has other channels than
    the level passes a 1x1 convolution.

    Args:
        specs: {modality: spec}.
        width: channels of a fused level: those of the widest modality, or of the first.
        strides: the levels to fuse, by their stride; others are left out of the view. Empty: all.
    """

    def __init__(self, specs: Mapping[str, FeatureSpec], *, width: Width, strides: Sequence[int]) -> None:
        super().__init__()
        self.modalities = tuple(specs)
        self._layout = view_layout(specs.values())
        own_strides = {m: spec.strides for m, spec in specs.items() if spec.has_maps}
        self._mapped, self._clips = tuple(own_strides), clips_among(specs)
        self._strides = _chosen(common_strides(own_strides.values()), strides)
        self._sources = {m: _sources(spec.strides, self._strides, own_strides.values()) for m, spec in specs.items()}
        #: per level a modality that has it at its very stride, and so at its size
        self._sized_by = [
            next(m for m, own in own_strides.items() if own[self._sources[m][level]] == stride)
            for level, stride in enumerate(self._strides)
        ] or [self.modalities[0]]
        channels = {m: [(spec.channels or (spec.dim,))[i] for i in self._sources[m]] for m, spec in specs.items()}
        widths = [own[0] if width == "first" else max(own) for own in zip(*channels.values(), strict=True)]
        # by name, so that a run with other tasks, which reads other levels, can take over those that it shares
        names = [f"stride{stride}" for stride in self._strides] or ["vector"]
        self.project = nn.ModuleDict(
            {
                m: nn.ModuleDict(
                    {
                        name: nn.Identity() if c == w else nn.Conv2d(c, w, 1)
                        for name, c, w in zip(names, channels[m], widths, strict=True)
                    }
                )
                for m in self.modalities
            }
        )
        self.blocks = nn.ModuleDict({name: self.build_level(w) for name, w in zip(names, widths, strict=True)})
        levels = (tuple(widths), tuple(self._strides)) if self._mapped else ()
        self.specs = {"fused": FeatureSpec(self._layout, widths[-1], *levels)}

    @abstractmethod
    def build_level(self, width: int) -> Level:
        """The block for one level of `width` channels; `self.modalities` are the names."""

    def forward(self, features: dict[str, Features]) -> dict[str, Features]:
        """See `Fusion.forward`."""
        frames = frames_in(features, self._clips)
        levels = self._aligned(features, frames)
        present = self._rows(frames)
        fused = [block(maps, present) for block, maps in zip(self.blocks.values(), levels, strict=True)]
        return {"fused": self._features(fused, features, frames)}

    def explain(self, features: dict[str, Features]) -> dict[str, Tensor]:
        """See `Fusion.explain`: the weights of every level, `stride 4` for maps and `vector` without."""
        names = [f"stride {stride}" for stride in self._strides] or ["vector"]
        frames = frames_in(features, self._clips)
        present = self._rows(frames)
        shown = {}
        for name, block, maps in zip(names, self.blocks.values(), self._aligned(features, frames), strict=True):
            weights = cast(Level, block).explain(maps, present)
            if weights is not None:
                shown[name] = weights
        return shown

    def _rows(self, frames: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{modality: (R,) bool}: R rows are samples, or frames where the view is a clip."""
        return {m: frames[m].flatten() for m in self.modalities}

    def _aligned(self, features: dict[str, Features], frames: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """Per level: {modality: (R, C, h, w)} of one size, zero where absent."""
        sources = {
            m: features[m].pyramid if m in self._mapped else (features[m].pooled[:, :, None, None],)
            for m in self.modalities
        }
        levels = []
        for level, (name, sized_by) in enumerate(zip(self.blocks, self._sized_by, strict=True)):
            raw = {m: sources[m][self._sources[m][level]] for m in self.modalities}
            like = raw[sized_by]
            levels.append({m: _projected(raw[m], self._project_of(m, name), frames[m], like) for m in self.modalities})
        return levels

    def _project_of(self, modality: str, name: str) -> nn.Module:
        return cast(nn.ModuleDict, self.project[modality])[name]

    def _features(self, fused: list[Tensor], features: dict[str, Features], present: Mapping[str, Tensor]) -> Features:
        anywhere = torch.stack([features[m].present for m in self.modalities]).any(0)
        num_rows = len(anywhere)
        if not self._mapped:
            return Features(tokens=fused[0].flatten(1)[:, None], mask=anywhere[:, None], present=anywhere)
        frames = torch.stack([present[m] for m in self.modalities]).any(0)
        num_frames, (height, width) = frames.shape[1], fused[-1].shape[-2:]
        tokens = fused[-1].flatten(2).transpose(1, 2)
        return Features(
            tokens=tokens.reshape(num_rows, num_frames * height * width, -1) if num_frames > 1 else tokens,
            mask=frames[:, :, None].expand(-1, -1, height * width).flatten(1),
            present=anywhere,
            grid=(num_frames, height, width),
            maps=tuple(level.unflatten(0, (num_rows, num_frames)) for level in fused[:-1]),
        )


def _projected(level_map: Tensor, project: nn.Module, frames: Tensor, like: Tensor) -> Tensor:
    """One modality's map at one level, zero where absent, brought to the width of the level and the size of `like`.

    Args:
        level_map: (B * t, C, h, w) of t own frames.
        project: to the width of the level.
        frames: (B, T) bool, in which frames of the view it is.
        like: of the size and the type that are wanted.
    """
    own_frames = len(level_map) // len(frames)
    own = frames.any(1) if own_frames == 1 else frames[:, :own_frames].flatten()
    rows = own.view(-1, 1, 1, 1)
    projected = torch.where(rows, level_map, 0)  # before anything is computed: 0 x NaN is NaN, also in gradients
    if not isinstance(project, nn.Identity):
        projected = torch.where(rows, project(projected), 0)  # the bias of an absent row
    if projected.shape[-2:] == (1, 1):
        projected = projected.expand(-1, -1, *like.shape[-2:])
    elif projected.shape[-2:] != like.shape[-2:]:
        projected = F.interpolate(projected, like.shape[-2:], mode="bilinear", align_corners=False)
    if frames.shape[1] > 1:
        spread = in_every_frame(projected, *frames.shape)
        projected = torch.where(frames.flatten().view(-1, 1, 1, 1), spread, 0)
    return projected.to(like.dtype)


def masked_softmax(scores: Tensor, present: Tensor, *, dim: int = 1) -> Tensor:
    """Softmax over one axis in float32 among what is present; zero elsewhere, and where nothing is.

    Args:
        scores: (B, M, ...).
        present: bool, broadcast to it.
        dim: the axis.
    """
    # The lowest number instead of -inf: a row without anything would be NaN, and so would its gradient.
    scores = scores.float()
    masked = torch.where(present, scores, torch.finfo(torch.float32).min)
    return torch.where(present, masked.softmax(dim), 0)


def weighted_sum(maps: Mapping[str, Tensor], weights: Tensor) -> Tensor:
    """(B, C, h, w) from M maps, zero where absent, and weights (B, M, h, w) or (B, M, 1, 1)."""
    first, *others = maps.values()
    weights = weights.to(first.dtype)
    total = first * weights[:, :1]
    for index, level in enumerate(others, start=1):
        total = torch.addcmul(total, level, weights[:, index : index + 1])
    return total


def view_layout(specs: Iterable[FeatureSpec]) -> Layout:
    """The layout of the view in which these meet: a clip or a grid where any is one, else a vector."""
    layouts = {spec.layout for spec in specs}
    return "clip" if "clip" in layouts else "grid" if "grid" in layouts else "vector"


def common_strides(own: Iterable[Sequence[int]]) -> list[int]:
    """Strides of the fused levels, fine to coarse, of several pyramids; see `LevelFusion`."""
    own = list(own)
    if not own:
        return []
    deepest = min(strides[-1] for strides in own)
    finer = {stride for strides in own for stride in strides if stride < deepest}
    return [*sorted(finer), deepest]


def clips_among(specs: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
    """The modalities that are clips."""
    return tuple(m for m, spec in specs.items() if spec.layout == "clip")


def frames_in(features: Mapping[str, Features], clips: Collection[str]) -> dict[str, Tensor]:
    """{modality: (B, T) bool}: in which frames of the view that all are fused to each is; T is 1 without clips.

    Clips meet by the number of the frame, so a clip that has ended is absent in the frames that others still have. What
    is no clip is in every frame that a clip of its row has, and where its row has none in the first alone: what a row
    holds does not depend on how long the other clips of its batch are.

    Args:
        features: {modality: Features}.
        clips: those of them that are clips.
    """
    num_rows = len(next(iter(features.values())).present)
    own = {m: features[m].frames for m in clips}
    num_frames = max((frames.shape[1] for frames in own.values()), default=1)
    own = {m: F.pad(frames, (0, num_frames - frames.shape[1])) for m, frames in own.items()}
    present = {m: one.present[:, None] for m, one in features.items()}
    if not own:
        return present
    in_clips = torch.stack(list(own.values())).any(0)
    first = torch.arange(num_frames, device=in_clips.device).expand(num_rows, -1) == 0
    there = torch.where(in_clips.any(1, keepdim=True), in_clips, first)
    return {m: own[m] if m in own else present[m] & there for m in features}


def in_every_frame(level_map: Tensor, num_rows: int, num_frames: int) -> Tensor:
    """(B * T, C, h, w) from (B * t, C, h, w): one frame again and again, or several filled up with zeros."""
    own = level_map.unflatten(0, (num_rows, -1))
    missing = num_frames - own.shape[1]
    spread = own.expand(-1, num_frames, -1, -1, -1) if own.shape[1] == 1 else F.pad(own, (0,) * 7 + (missing,))
    return spread.flatten(0, 1)


def _sources(own: Sequence[int], fused: Sequence[int], all_strides: Iterable[Sequence[int]]) -> list[int]:
    """Per fused stride the index of the level that goes into it: the deepest into the deepest, else the nearest."""
    if not own:  # a vector, for every level, or for the one level that there is without maps
        return [0] * max(1, len(fused))
    deepest = min(strides[-1] for strides in all_strides)
    finer = range(max(1, len(own) - 1))
    return [
        len(own) - 1 if stride == deepest else min(finer, key=lambda level: abs(log2(own[level] / stride)))
        for stride in fused
    ]


def _chosen(available: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """The wanted strides, fine to coarse; all where none is wanted by name."""
    missing = sorted(set(wanted) - set(available))
    if missing:
        raise ValueError(f"there is no level of stride {missing} to fuse; there are {list(available)}")
    return [stride for stride in available if not wanted or stride in wanted]
