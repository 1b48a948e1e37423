"""Fusion by a weighted sum: fixed weights, learned ones, or from attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.fusion.levels import Level, LevelFusion, Width, masked_softmax, weighted_sum
from weft.registry import Range, register
from weft.types import FeatureSpec


@register("fusion", "weighted")
class WeightedFusion(LevelFusion):
    """A weighted sum of the modalities; what an absent one would have had goes to the others in proportion.

    Args:
        mode: fixed: the weights as given. learned: one number per modality and level, through a softmax. attention: per
            sample, from what all modalities hold on average.
        weights: {modality: weight}, all modalities, fixed or where the learned ones start; by default the mean.
        width: channels of a fused level: those of the widest modality, or of the first.
        strides: the levels to fuse, by their stride; others are left out of the view. Empty: all.
    """

    def __init__(
        self,
        specs: Mapping[str, FeatureSpec],
        *,
        mode: Literal["fixed", "learned", "attention"] = "learned",
        weights: dict[str, Annotated[float, Range(0, open_low=True)]] | None = None,
        width: Width = "widest",
        strides: tuple[int, ...] = (),
    ) -> None:
        if weights is not None and set(weights) != set(specs):
            raise ValueError(f"weights are given for {sorted(weights)}; give one for each of {sorted(specs)}")
        start = weights or dict.fromkeys(specs, 1 / len(specs))
        self._start = [start[m] for m in specs]
        self._level = {"fixed": FixedWeights, "learned": LearnedWeights, "attention": AttentionWeights}[mode]
        super().__init__(specs, width=width, strides=strides)

    def build_level(self, width: int) -> Level:
        """See `LevelFusion.build_level`."""
        return WeightedLevel(self.modalities, self._level(self._start, width))


class WeightedLevel(Level):
    """The weighted sum at one level."""

    def __init__(self, modalities: tuple[str, ...], weights: nn.Module) -> None:
        super().__init__()
        self.modalities = modalities
        self.weights = weights

    def forward(self, maps: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """See `Level.forward`."""
        weights = self.explain(maps, present)
        return weighted_sum({m: maps[m] for m in self.modalities}, weights[:, :, None, None])

    def explain(self, maps: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """See `Level.explain`: (B, M)."""
        weights: Tensor = self.weights(
            [maps[m] for m in self.modalities], torch.stack([present[m] for m in self.modalities], dim=1)
        )
        return weights


class FixedWeights(nn.Module):
    """(B, M) weights as given: their sum stays the same whatever is present."""

    start: Tensor

    def __init__(self, start: list[float], width: int) -> None:
        super().__init__()
        self.register_buffer("start", torch.tensor(start), persistent=False)

    def forward(self, maps: list[Tensor], present: Tensor) -> Tensor:
        """(B, M) from M maps (B, C, h, w) and (B, M) bool."""
        share = torch.where(present, self.start, 0)
        return share * (self.start.sum() / share.sum(1, keepdim=True).clamp(min=1e-12))  # clamp: nothing is present


class LearnedWeights(nn.Module):
    """(B, M) weights from one learned number per modality."""

    def __init__(self, start: list[float], width: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.tensor(start).log())

    def forward(self, maps: list[Tensor], present: Tensor) -> Tensor:
        """(B, M) from M maps (B, C, h, w) and (B, M) bool."""
        return masked_softmax(self.scores.expand(len(present), -1), present)


class AttentionWeights(nn.Module):
    """(B, M) weights from the average of every map, normalised, and all modalities seen together."""

    def __init__(self, start: list[float], width: int) -> None:
        super().__init__()
        self.score = nn.Linear(len(start) * width, len(start))
        with torch.no_grad():
            self.score.weight.zero_()
            self.score.bias.copy_(torch.tensor(start).log())

    def forward(self, maps: list[Tensor], present: Tensor) -> Tensor:
        """(B, M) from M maps (B, C, h, w) and (B, M) bool."""
        pooled = [m.mean((2, 3), dtype=torch.float32) for m in maps]
        normalised = torch.cat([F.layer_norm(p, p.shape[1:]) for p in pooled], dim=1)
        return masked_softmax(self.score(normalised), present)
