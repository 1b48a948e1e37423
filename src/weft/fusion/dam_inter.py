"""Dual-modal attention, `inter`: tokens ask those of the other modalities."""

from __future__ import annotations

from torch import Tensor

from weft.fusion.attention import MaskedAttention
from weft.fusion.dam_part import Part
from weft.fusion.places import Places


class InterAttention(Part):
    """Every token attends to the tokens of all other modalities, so of two each attends to the other.

    One attention serves all pairs: tokens know of which modality they are. A modality that is alone asks nobody.

    Args:
        dim: width D of the tokens.
        heads: of the attention.
        causal: see `Places.within_reach`.
    """

    def __init__(self, dim: int, *, heads: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.attention = MaskedAttention(dim, heads=heads)

    def forward(self, tokens: Tensor, places: Places) -> Tensor:
        """See `Part.forward`."""
        answer: Tensor = self.attention(tokens, tokens, self._others(places))
        return answer

    def weights(self, tokens: Tensor, places: Places) -> Tensor:
        """See `Part.weights`."""
        return self.attention.weights(tokens, tokens, self._others(places))

    def _others(self, places: Places) -> Tensor:
        return places.within_reach(causal=self.causal) & (places.modality[:, None] != places.modality)
