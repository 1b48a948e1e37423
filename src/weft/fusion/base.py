"""What every fusion is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from weft.types import Features, FeatureSpec


class Fusion(nn.Module, ABC):
    """Feature-level fusion: features by modality in, features by view out.

    A constructor takes `specs: dict[str, FeatureSpec]` ({modality: spec}, two or more unless the fusion says otherwise)
    and keyword-only options, and sets `specs`.

    Attributes:
        specs: {view: FeatureSpec} of what `forward` returns.
    """

    #: whether `forward` returns the one view `fused`; else a view per modality
    gives_fused: ClassVar[bool] = True

    specs: dict[str, FeatureSpec]

    @abstractmethod
    def forward(self, features: dict[str, Features]) -> dict[str, Features]:
        """Fuse. A row of a view is present where at least one of its modalities is.

        Absent rows arrive as zeros with `present` False; whatever they hold must change nothing, to the bit.
        """

    def explain(self, features: dict[str, Features]) -> dict[str, Tensor]:
        """What a report shows of how the fusion decided, each (B, M) or (B, M, h, w) in the order of the modalities."""
        return {}
