"""Gradients that conflict are projected off each other."""

from __future__ import annotations

from torch import Tensor
from torchjd.aggregation import PCGradWeighting

from weft.balancing.base import GradientRule
from weft.registry import register


@register("balancing", "pcgrad")
class PCGrad(GradientRule):
    """Each task's gradient loses its part along every other that it points against; then they are added.

    The others come in random order, drawn from the random stream of the step, as dropout is. Without conflict this is
    the plain sum.

    Reference: Yu et al., NeurIPS 2020, arXiv:2001.06782, algorithm 1; torchjd's implementation.

    Args:
        at: where gradients are taken: features, or all parameters of encoders and fusion.
    """

    def combine(self, gramian: Tensor) -> Tensor:
        """What is left of all gradients, in terms of the gradients themselves."""
        weights: Tensor = PCGradWeighting()(gramian)
        return weights
