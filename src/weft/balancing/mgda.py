"""The shortest vector between the gradients: no task gets worse."""

from __future__ import annotations

from torch import Tensor
from torchjd.aggregation import MGDAWeighting

from weft.balancing.base import GradientRule
from weft.registry import register


@register("balancing", "mgda")
class Mgda(GradientRule):
    """The convex combination of the gradients with the smallest norm, times the number of tasks.

    To first order the step makes no task worse. Long gradients get small weights, so tasks with small losses lead. At
    the features it is the published upper bound, MGDA-UB.

    Reference: Sener and Koltun, NeurIPS 2018, arXiv:1810.04650, eq. 3 to 5, algorithm 2; torchjd's implementation of
    its Frank-Wolfe solver.

    Args:
        at: where gradients are taken: features, or all parameters of encoders and fusion.
    """

    def combine(self, gramian: Tensor) -> Tensor:
        """At least 0, adding up to K."""
        weights: Tensor = MGDAWeighting(epsilon=1e-6, max_iters=1000)(gramian)
        return len(gramian) * weights
