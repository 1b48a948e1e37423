"""The step near the mean gradient that serves the worst-served task best."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from weft.balancing.base import At, GradientRule
from weft.registry import Range, register

#: Norms below this count as this, in units of the mean gradient: nothing is divided by less.
SMALLEST = 1e-4


@register("balancing", "cagrad")
class CAGrad(GradientRule):
    """Maximise over d the smallest product of d with a task's gradient, with d within c |g| of the mean gradient g.

    Solved by its dual, a convex problem over the simplex. c = 0 is the plain sum, a large c comes near MGDA. The
    answer is divided by 1 + c, so that tasks that agree take the step of the plain sum.

    Reference: Liu et al., NeurIPS 2021, arXiv:2110.14048, algorithm 1 and eq. 4.

    Args:
        c: radius around the mean gradient, in its lengths.
        at: where gradients are taken: features, or all parameters of encoders and fusion.
    """

    def __init__(self, *, c: Annotated[float, Range(0)] = 0.4, at: At = "features") -> None:
        super().__init__(at=at)
        self.c = c

    def combine(self, gramian: Tensor) -> Tensor:
        """K / (1 + c) times 1 / K + w c |g| / |g_w|, w on the simplex and g_w = Σ w g."""
        products = gramian.numpy()
        size = len(products)
        mean = np.full(size, 1 / size)
        radius = self.c * _norm(products, mean)

        def value(w: np.ndarray) -> float:
            return float(w @ products @ mean + radius * _norm(products, w))

        def slope(w: np.ndarray) -> np.ndarray:
            return products @ mean + radius * (products @ w) / max(_norm(products, w), SMALLEST)

        found = minimize(
            value,
            mean,
            jac=slope,
            method="SLSQP",
            bounds=[(0, 1)] * size,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
            options={"ftol": 1e-10, "maxiter": 200},
        )
        worst = found.x
        weights = mean + radius / max(_norm(products, worst), SMALLEST) * worst
        return torch.as_tensor(size * weights / (1 + self.c))


def _norm(products: np.ndarray, weights: np.ndarray) -> float:
    """|Σ w g|."""
    return float(np.sqrt(max(weights @ products @ weights, 0.0)))
