"""The boundary loss: probabilities shall change where the labels do, and nowhere else."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from weft.losses.base import Loss, TargetFacts, known_entries
from weft.losses.class_weights import Weight, unknown_classes
from weft.registry import register
from weft.types import Answer


@register("loss", "boundary")
class Boundary(Loss):
    """Σ Λ[a, b] ‖(P_q − P_p) − (Y_q − Y_p)‖² over neighbouring pixels p, q, whose true classes are a and b.

    P are the probabilities of the classes at a pixel and Y is 1 for the true one, so that a term is the squared error
    of the gradient of the probabilities. Pairs are side by side or one below the other, both of them known; pairs in
    different classes ask for a step, those in one class for none. The sum is divided by the known pixels, as that of
    cross_entropy is. It says nothing of which class is right away from boundaries, so it stands beside another loss:
    its coefficient λ is its `weight` in that sum.

    Args:
        pairs: Λ of pairs of different classes by name, in either order, such as {road: {pavement: 3}}; the others are
            1. A class with itself is the Λ inside that class.
        inside: Λ of two neighbours of one class; 0: only boundaries count.
    """

    takes: ClassVar[tuple[Answer, ...]] = ("classes",)
    needs_maps: ClassVar[bool] = True
    matrix: Tensor

    def __init__(
        self, target: TargetFacts, *, pairs: dict[str, dict[str, Weight]] | None = None, inside: Weight = 1.0
    ) -> None:
        super().__init__(target)
        self.register_buffer("matrix", _matrix(pairs or {}, target.classes, inside), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) of logits.

        Args:
            prediction: (P, K, H, W) logits.
            target: (P, H, W) int64 class numbers, -100 where not known.
        """
        said = prediction.float().movedim(1, -1).softmax(-1)
        known = known_entries(target)
        truth = torch.where(known, target, 0)
        total = prediction[:0].float().sum()
        for axis in (1, 2):
            size = target.shape[axis] - 1
            first, second = (said.narrow(axis, start, size) for start in (0, 1))
            a, b = (truth.narrow(axis, start, size) for start in (0, 1))
            both = known.narrow(axis, 0, size) & known.narrow(axis, 1, size)
            total = total + torch.where(both, self.matrix[a, b] * _squared_error(second - first, a, b), 0).sum()
        return total, self.count(target)


def _squared_error(step: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """(P, h, w): ‖step − (e_b − e_a)‖², with e_k the k-th unit vector.

    Args:
        step: (P, h, w, K) differences of probabilities.
        a, b: (P, h, w) class numbers.
    """
    along = (step.gather(-1, b[..., None]) - step.gather(-1, a[..., None])).squeeze(-1)
    return step.square().sum(-1) + torch.where(a == b, 0.0, 2 - 2 * along)


def _matrix(pairs: dict[str, dict[str, float]], classes: tuple[str, ...], inside: float) -> Tensor:
    """(K, K) float32, symmetric."""
    number = {name: place for place, name in enumerate(classes)}
    matrix = torch.ones(len(classes), len(classes)).fill_diagonal_(inside)
    said: dict[frozenset[str], float] = {}
    named = [name for first, others in pairs.items() for name in (first, *others)]
    if any(name not in number for name in named):
        raise ValueError(unknown_classes("pairs", named, classes))
    for first, others in pairs.items():
        for second, weight in others.items():
            if said.setdefault(frozenset((first, second)), weight) != weight:
                raise ValueError(
                    f"pairs gives {first} and {second} {weight:g} and, the other way round, "
                    f"{said[frozenset((first, second))]:g}; give one number for the two"
                )
            matrix[number[first], number[second]] = matrix[number[second], number[first]] = weight
    return matrix
