"""How alike the features of two modalities are: what one says again that the other has said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from weft.engine.distributed import Gathering


@dataclass
class Moments:
    """Sums over samples from which linear CKA follows: exact whatever the batches, and of fixed size.

    Attributes:
        count: samples that have both.
        sums: (D,) of each.
        products: sums of x x', y y' and x y', each (D, D) float64.
    """

    count: int
    sums: tuple[Tensor, Tensor]
    products: tuple[Tensor, Tensor, Tensor]

    @classmethod
    def of(cls, one: Tensor, other: Tensor) -> Moments:
        """Of some samples, (n, D) each."""
        x, y = one.double().cpu(), other.double().cpu()
        return cls(len(x), (x.sum(0), y.sum(0)), (x.T @ x, y.T @ y, x.T @ y))

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count,
            (self.sums[0] + other.sums[0], self.sums[1] + other.sums[1]),
            (
                self.products[0] + other.products[0],
                self.products[1] + other.products[1],
                self.products[2] + other.products[2],
            ),
        )

    def cka(self) -> float:
        """Linear centred kernel alignment, from 0 (nothing in common) to 1 (equal up to rotation and one scale).

        With few samples for the width it is too large, as all measures without correction are: compare it at the same
        number of samples.

        Reference: Kornblith et al., ICML 2019, arXiv:1905.00414, section 3, the form over features.
        """
        pairs = ((0, 0), (1, 1), (0, 1))
        within_x, within_y, across = (
            product - torch.outer(self.sums[a], self.sums[b]) / self.count
            for product, (a, b) in zip(self.products, pairs, strict=True)
        )
        scale = float(within_x.norm() * within_y.norm())
        return float(across.square().sum()) / scale if scale > 0 else 0.0


class Likeness:
    """The likeness of every two modalities at every stage of a fusion, collected batch by batch.

    Args:
        modalities: their names, in order.
    """

    def __init__(self, modalities: Sequence[str]) -> None:
        self._pairs = tuple(combinations(modalities, 2))
        self._moments: dict[tuple[str, str, str], Moments] = {}

    def observe(self, compared: Mapping[str, Mapping[str, Tensor]], present: Mapping[str, Tensor]) -> None:
        """Take in a batch: `compared` of `Fusion.compared`, and (B,) bool which samples have each modality."""
        for stage, features in compared.items():
            for one, other in self._pairs:
                both = present[one] & present[other]
                if not bool(both.any()):
                    continue
                self._add((stage, one, other), Moments.of(features[one][both], features[other][both]))

    def gather(self, gathering: Gathering) -> None:
        """Take in what all processes have seen."""
        found, self._moments = gathering.all(self._moments), {}
        for of_process in found:
            for place, moments in of_process.items():
                self._add(place, moments)

    def _add(self, place: tuple[str, str, str], moments: Moments) -> None:
        self._moments[place] = self._moments[place] + moments if place in self._moments else moments

    def summary(self) -> list[dict[str, Any]]:
        """[{"stage", "one", "other", "count", "cka"}] in order; of fewer than two samples nothing can be said."""
        return [
            {"stage": stage, "one": one, "other": other, "count": moments.count, "cka": moments.cka()}
            for (stage, one, other), moments in self._moments.items()
            if moments.count > 1
        ]
