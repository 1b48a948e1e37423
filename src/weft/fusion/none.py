"""No feature-level fusion: every modality is a view of its own, and a decision rule combines the tasks' answers."""

from __future__ import annotations

from collections.abc import Mapping

from weft.fusion.base import Fusion
from weft.registry import register
from weft.types import Features, FeatureSpec, Memory


@register("fusion", "none")
class NoFusion(Fusion):
    """A view per modality, under the modality's name, as the encoder gave it."""

    gives_fused = False

    def __init__(self, specs: Mapping[str, FeatureSpec]) -> None:
        super().__init__()
        self.specs = dict(specs)

    def forward(self, features: dict[str, Features]) -> dict[str, Features]:
        """See `Fusion.forward`."""
        return {name: features[name] for name in self.specs}

    @property
    def cannot_stream(self) -> None:
        """See `Fusion.cannot_stream`: nothing is carried along but by the encoders."""
        return None

    def step(self, features: dict[str, Features], memory: Memory | None) -> tuple[dict[str, Features], Memory]:
        """See `Fusion.step`."""
        return self(features), {}
