"""Fusion by concatenating channels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from weft.fusion.levels import Level, LevelFusion, Width
from weft.registry import register
from weft.types import FeatureSpec


@register("fusion", "concat")
class ConcatFusion(LevelFusion):
    """All channels of all modalities side by side, mixed down by a 1x1 convolution at every level.

    It starts as the mean of the modalities, so that pretrained encoders are met with features they know. An absent
    modality is replaced by a learned vector.

    Args:
        width: channels of a fused level: those of the widest modality, or of the first.
        strides: the levels to fuse, by their stride; others are left out of the view. Empty: all.
    """

    def __init__(
        self, specs: Mapping[str, FeatureSpec], *, width: Width = "widest", strides: tuple[int, ...] = ()
    ) -> None:
        super().__init__(specs, width=width, strides=strides)

    def build_level(self, width: int) -> Level:
        """See `LevelFusion.build_level`."""
        return ConcatLevel(self.modalities, width)


class ConcatLevel(Level):
    """Concatenation at one level."""

    def __init__(self, modalities: tuple[str, ...], width: int) -> None:
        super().__init__()
        self.modalities = modalities
        self.absent = nn.ParameterDict({m: torch.zeros(width) for m in modalities})
        self.mix = nn.Conv2d(len(modalities) * width, width, 1)
        with torch.no_grad():
            mean = torch.eye(width).repeat(1, len(modalities)) / len(modalities)
            # The default start, made small, breaks the symmetry between the channels of a mean.
            self.mix.weight.mul_(0.1).add_(mean[:, :, None, None])

    def forward(self, maps: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """See `Level.forward`."""
        filled = [
            torch.where(present[m].view(-1, 1, 1, 1), maps[m], self.absent[m].to(maps[m].dtype).view(1, -1, 1, 1))
            for m in self.modalities
        ]
        mixed: Tensor = self.mix(torch.cat(filled, dim=1))
        return mixed
