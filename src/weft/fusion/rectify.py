"""Fusion after CMX: modalities rectify each other, attend to each other, and are mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.fusion.levels import Level, LevelFusion, Width
from weft.registry import Range, register
from weft.types import FeatureSpec

#: Width of one attention head; the context that a head carries is a matrix of this size.
_HEAD = 16

#: Branches beside the modalities' own features start at this share, so that a pretrained network is met with features
#: that it knows.
_START = 0.1


@register("fusion", "rectify")
class RectifyFusion(LevelFusion):
    """Cross-modal rectification and fusion at every level, for any number of modalities, any of them absent.

    Each modality is rectified by the others, by channel and by place; then each attends to a summary of the others;
    then all are averaged and mixed. Other than in the article, the strength of the rectification is learned, attention
    is normalised over places (which keeps it linear and of one scale at any size), summaries are read from a coarser
    map, and nothing is normalised over the batch, so that absent rows cannot leak. All modalities must have maps.

    Args:
        reduction: the inner width is the width of the level divided by this.
        summary: summaries are read from the map averaged down until its shorter side has about so many places.
        width: channels of a fused level: those of the widest modality, or of the first.
        strides: the levels to fuse, by their stride; others are left out of the view. Empty: all.

    Reference: Zhang et al., CMX, arXiv:2203.04838, section 3; the attention is that of Shen et al., arXiv:1812.01243.
    """

    needs_maps: ClassVar[bool] = True

    def __init__(
        self,
        specs: Mapping[str, FeatureSpec],
        *,
        reduction: Annotated[int, Range(1)] = 4,
        summary: Annotated[int, Range(1)] = 16,
        width: Width = "widest",
        strides: tuple[int, ...] = (),
    ) -> None:
        without = [f"{m} ({spec.layout})" for m, spec in specs.items() if not spec.has_maps]
        if without:
            raise ValueError(
                f"rectify compares modalities place by place, and these have no places: {', '.join(without)}; choose "
                "concat, gated or weighted, which spread them over the maps, or transformer"
            )
        self._reduction = reduction
        self._summary = summary
        super().__init__(specs, width=width, strides=strides)

    def build_level(self, width: int) -> Level:
        """See `LevelFusion.build_level`."""
        inner = -(-width // (self._reduction * _HEAD)) * _HEAD  # whole heads
        return RectifyLevel(self.modalities, width, inner=inner, summary=self._summary)


class RectifyLevel(Level):
    """Rectification, attention and mixing at one level. One modality alone is only mixed."""

    def __init__(self, modalities: tuple[str, ...], width: int, *, inner: int, summary: int) -> None:
        super().__init__()
        self.modalities = modalities
        num_modalities = len(modalities)
        several = num_modalities > 1
        self.rectification = Rectification(num_modalities, width, inner=inner, summary=summary) if several else None
        self.attention = (
            nn.ModuleList(CrossAttention(width, inner=inner, summary=summary) for _ in modalities) if several else None
        )
        self.mixing = Mixing(num_modalities, width, inner=inner)

    def forward(self, maps: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """See `Level.forward`."""
        own = [maps[m] for m in self.modalities]
        rows = [present[m] for m in self.modalities]
        if self.rectification is not None and self.attention is not None:
            own = self.rectification(own, rows)
            attention = cast(Sequence[CrossAttention], self.attention)
            contexts = _of_others([attend.context(x) for attend, x in zip(attention, own, strict=True)], rows)
            own = [
                _blank(x + attend(x, context), row)
                for attend, x, context, row in zip(attention, own, contexts, rows, strict=True)
            ]
        mixed: Tensor = self.mixing(own, rows)
        return mixed

    def explain(self, maps: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor | None:
        """See `Level.explain`: (B, M, h, w), how much of each modality is handed to the others at each place."""
        if self.rectification is None:
            return None
        rows = torch.stack([present[m] for m in self.modalities], dim=1)
        handed = self.rectification.by_place([maps[m] for m in self.modalities])
        return torch.where(rows[:, :, None, None], handed, 0)


class Rectification(nn.Module):
    """Adds to each modality what the others hand over, weighted by channel and by place."""

    def __init__(self, num_modalities: int, width: int, *, inner: int, summary: int) -> None:
        super().__init__()
        self.num_modalities = num_modalities
        self.summary = summary
        joined = num_modalities * width
        self.channel = nn.Sequential(nn.Linear(2 * joined, inner), nn.ReLU(), nn.Linear(inner, joined), nn.Sigmoid())
        self.place = nn.Sequential(
            nn.Conv2d(joined, inner, 1), nn.ReLU(), nn.Conv2d(inner, num_modalities, 1), nn.Sigmoid()
        )
        self.strength = nn.Parameter(torch.full((2,), _START))  # by channel, by place

    def by_channel(self, maps: list[Tensor]) -> Tensor:
        """(B, M, C, 1, 1) in [0, 1], from mean and maximum of the summaries."""
        joined = torch.cat([_summary(x, self.summary) for x in maps], dim=1)
        described = torch.cat([joined.mean((2, 3)), joined.amax((2, 3))], dim=1)
        weights: Tensor = self.channel(described)
        return weights.unflatten(1, (self.num_modalities, -1))[..., None, None]

    def by_place(self, maps: list[Tensor]) -> Tensor:
        """(B, M, h, w) in [0, 1]."""
        weights: Tensor = self.place(torch.cat(maps, dim=1))
        return weights

    def forward(self, maps: list[Tensor], present: list[Tensor]) -> list[Tensor]:
        """M maps (B, C, h, w) from M, zero in rows where they are not present."""
        dtype = maps[0].dtype
        by_channel = (self.strength[0] * self.by_channel(maps)).to(dtype)
        by_place = (self.strength[1] * self.by_place(maps)).to(dtype)
        handed = [x * (by_channel[:, i] + by_place[:, i, None]) for i, x in enumerate(maps)]
        received = _of_others(handed, present)
        return [_blank(x + more, row) for x, more, row in zip(maps, received, present, strict=True)]


class CrossAttention(nn.Module):
    """Linear attention: places of one map ask, and a matrix per head that sums up other maps answers."""

    def __init__(self, width: int, *, inner: int, summary: int) -> None:
        super().__init__()
        self.summary = summary
        self.query = nn.Conv2d(width, inner, 1)
        self.key_value = nn.Conv2d(width, 2 * inner, 1)
        self.project = nn.Conv2d(inner, width, 1, bias=False)  # no bias: without a partner nothing is added
        with torch.no_grad():
            self.project.weight.mul_(_START)

    def context(self, level: Tensor) -> Tensor:
        """(B, heads, d, d) summing up (B, C, h, w)."""
        key, value = _heads(self.key_value(_summary(level, self.summary))).chunk(2, dim=1)
        return value @ key.softmax(-1).to(value.dtype).transpose(-1, -2)

    def forward(self, level: Tensor, context: Tensor) -> Tensor:
        """(B, C, h, w) to be added to `level` (B, C, h, w), from a context (B, heads, d, d)."""
        query = _heads(self.query(level)).softmax(2).to(context.dtype)
        answer = (context @ query).flatten(1, 2).unflatten(2, level.shape[-2:])
        projected: Tensor = self.project(answer)
        return projected


class Mixing(nn.Module):
    """The mean of the modalities present, and beside it a small convolution over the channels of all."""

    def __init__(self, num_modalities: int, width: int, *, inner: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(num_modalities * width, inner, 1),
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner),
            nn.ReLU(),
            nn.Conv2d(inner, width, 1),
        )
        with torch.no_grad():
            for parameter in self.mix[-1].parameters():
                parameter.mul_(_START)

    def forward(self, maps: list[Tensor], present: list[Tensor]) -> Tensor:
        """(B, C, h, w) from M maps (B, C, h, w), zero in rows where they are not present."""
        share = torch.stack(present).sum(0).clamp(min=1).reciprocal()  # clamp: nothing is present
        total = sum(maps[1:], start=maps[0])
        mixed: Tensor = self.mix(torch.cat(maps, dim=1))
        return torch.addcmul(mixed, total, share.to(total.dtype)[:, None, None, None])


def _of_others(values: list[Tensor], present: list[Tensor]) -> list[Tensor]:
    """For each modality the mean over the others that are present, (B, ...) each; zero where there is none."""
    known = [_blank(value, row) for value, row in zip(values, present, strict=True)]
    others = [[i for i in range(len(known)) if i != own] for own in range(len(known))]
    means = []
    for indices in others:
        total = sum((known[i] for i in indices[1:]), start=known[indices[0]])
        if len(indices) > 1:
            count = torch.stack([present[i] for i in indices]).sum(0).clamp(min=1)  # clamp: no other is present
            total = total / count.to(total.dtype).view(-1, *[1] * (total.dim() - 1))
        means.append(total)
    return means


def _blank(value: Tensor, present: Tensor) -> Tensor:
    return torch.where(present.view(-1, *[1] * (value.dim() - 1)), value, 0)


def _summary(level: Tensor, size: int) -> Tensor:
    """The map averaged down until its shorter side has about `size` places."""
    factor = max(1, min(level.shape[-2:]) // size)
    return F.avg_pool2d(level, factor, ceil_mode=True) if factor > 1 else level


def _heads(level: Tensor) -> Tensor:
    """(B, heads, d, N) from (B, heads * d, h, w)."""
    return level.flatten(2).unflatten(1, (-1, _HEAD))
