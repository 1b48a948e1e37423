"""Each gradient is moved as little as needed to conflict with none."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor
from torchjd.aggregation import UPGradWeighting
from torchjd.linalg import DualConeProjector, PSDMatrix

from weft.balancing.base import GradientRule
from weft.registry import register


class LeastSquaresProjector(DualConeProjector):
    """Projects onto the cone of what conflicts with no gradient, as a least-squares problem with x ≥ 0.

    torchjd's own projector stands on solvers under the GPL; this one stands on scipy.
    """

    def __call__(self, U: Tensor, G: PSDMatrix) -> Tensor:  # noqa: N803  # torchjd's names
        """Weights V ≥ U (..., K) with the smallest vᵀ G v for every u.

        With G = AᵀA and v = u + x, x ≥ 0, that is the smallest |A x + A u|.
        """
        eigenvalues, vectors = np.linalg.eigh(G.numpy())
        root = np.sqrt(eigenvalues.clip(min=0))[:, None] * vectors.T
        rows = [u + nnls(root, -root @ u)[0] for u in U.numpy().reshape(-1, len(root))]
        return torch.as_tensor(np.stack(rows)).view_as(U)


@register("balancing", "upgrad")
class UPGrad(GradientRule):
    """Each task's gradient is projected onto the cone of directions that conflict with none; then they are added.

    No task's loss rises to first order, and longer gradients keep more say. Without conflict this is the plain sum.

    Reference: Quinton and Rey, arXiv:2406.16232, section 3; torchjd's implementation.

    Args:
        at: where gradients are taken: features, or all parameters of encoders and fusion.
    """

    def combine(self, gramian: Tensor) -> Tensor:
        """What is left of all gradients, in terms of the gradients themselves."""
        evenly = torch.ones(len(gramian), dtype=gramian.dtype)
        weights: Tensor = UPGradWeighting(evenly, projector=LeastSquaresProjector())(gramian)
        return weights
