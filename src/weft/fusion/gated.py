"""Fusion by gates: at every place, how much of which modality."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from weft.fusion.levels import Level, LevelFusion, Width, masked_softmax, weighted_sum
from weft.registry import register
from weft.types import FeatureSpec


@register("fusion", "gated")
class GatedFusion(LevelFusion):
    """A weighted sum whose weights are computed at every place from all modalities.

    Over the present ones they sum to one. It starts as the mean.

    Args:
        width: channels of a fused level: those of the widest modality, or of the first.
        strides: the levels to fuse, by their stride; others are left out of the view. Empty: all.

    Reference: the gated multimodal unit of Arevalo et al., arXiv:1702.01992, section 3.1, at every place and with a
    softmax for more than two modalities.
    """

    def __init__(
        self, specs: Mapping[str, FeatureSpec], *, width: Width = "widest", strides: tuple[int, ...] = ()
    ) -> None:
        super().__init__(specs, width=width, strides=strides)

    def build_level(self, width: int) -> Level:
        """See `LevelFusion.build_level`."""
        return GatedLevel(self.modalities, width)


class GatedLevel(Level):
    """Gates at one level."""

    def __init__(self, modalities: tuple[str, ...], width: int) -> None:
        super().__init__()
        self.modalities = modalities
        self.score = nn.Conv2d(len(modalities) * width, len(modalities), 1)
        with torch.no_grad():
            for parameter in self.score.parameters():
                parameter.zero_()

    def forward(self, maps: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """See `Level.forward`."""
        return weighted_sum({m: maps[m] for m in self.modalities}, self.explain(maps, present))

    def explain(self, maps: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """See `Level.explain`: (B, M, h, w)."""
        scores = self.score(torch.cat([maps[m] for m in self.modalities], dim=1))
        return masked_softmax(scores, torch.stack([present[m] for m in self.modalities], dim=1)[:, :, None, None])
