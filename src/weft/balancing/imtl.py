"""A step that lies as far along every task's gradient."""

from __future__ import annotations

from torch import Tensor
from torchjd.aggregation import IMTLGWeighting

from weft.balancing.base import GradientRule
from weft.registry import register


@register("balancing", "imtl")
class ImpartialLearning(GradientRule):
    """IMTL-G: the combination whose projections on all unit gradients are equal.

    Scales of losses do not matter. A weight may be negative: where gradients point apart, a long one is held back.

    Reference: Liu et al., ICLR 2021, "Towards Impartial Multi-task Learning", eq. 6; torchjd's implementation, which
    also takes gradients that depend on each other linearly.

    Args:
        at: where gradients are taken: features, or all parameters of encoders and fusion.
    """

    def combine(self, gramian: Tensor) -> Tensor:
        """Adding up to K."""
        weights: Tensor = IMTLGWeighting()(gramian)
        return len(gramian) * weights
