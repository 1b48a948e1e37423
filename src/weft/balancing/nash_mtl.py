"""The bargain between the tasks over the step."""

from __future__ import annotations

import torch
from torch import Tensor

from weft.balancing.base import GradientRule, positive_definite_floor
from weft.registry import register

#: Newton's decrement below which the bargain is settled, and the most steps towards it.
SETTLED, MAX_STEPS = 1e-10, 200
#: Below this decrement full steps converge quadratically; the function is self-concordant.
NEAR = 0.25


@register("balancing", "nash_mtl")
class NashMTL(GradientRule):
    """The Nash bargaining solution: weights a > 0 with G a = 1 / a, G the inner products of the gradients.

    Scales of losses do not matter. The weights are scaled to add up to the number of tasks, where the paper lets the
    step have one length whatever the gradients. Solved to float64's precision by Newton's method on the convex
    ½ aᵀ G a - Σ log a, whose minimum it is; the paper approaches it by a sequence of convex problems.

    Reference: Navon et al., ICML 2022, arXiv:2202.01017, claim 3.1 and eq. 2.

    Args:
        at: where gradients are taken: features, or all parameters of encoders and fusion.
    """

    def combine(self, gramian: Tensor) -> Tensor:
        """Over 0, adding up to K."""
        products = positive_definite_floor(gramian)
        bargain = products.diagonal().rsqrt()  # the solution for gradients at right angles
        for _ in range(MAX_STEPS):
            slope = products @ bargain - 1 / bargain
            step = torch.linalg.solve(products + torch.diag(bargain**-2), slope)
            decrement = float((slope @ step).clamp(min=0).sqrt())
            bargain = bargain - step / (1 if decrement < NEAR else 1 + decrement)
            if decrement < SETTLED:
                break
        return len(products) * bargain / bargain.sum()
