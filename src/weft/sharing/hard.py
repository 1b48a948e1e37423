"""Hard sharing: all tasks read the same features."""

from __future__ import annotations

from collections.abc import Mapping

from weft.registry import register
from weft.sharing.base import Sharing
from weft.types import Features, FeatureSpec


@register("sharing", "hard")
class HardSharing(Sharing):
    """Every task reads the shared features as they are."""

    def __init__(self, views: Mapping[str, FeatureSpec]) -> None:
        super().__init__()

    def forward(self, features: dict[str, Features]) -> dict[str, Features]:
        """See `Sharing.forward`."""
        return features
