"""A class is drawn first, then one of its samples."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from weft.data.class_counts import ClassCounts
from weft.data.sampling.base import Sampling, occurring
from weft.registry import Range, register


@register("sampling", "class_balanced")
class ClassBalancedSampling(Sampling):
    """Class-balanced sampling: each of an epoch's samples is of class c with p_c ∝ n_c^power, and any of the n_c.

    A sample of several classes comes as often as all of them together bring it. An epoch has as many samples as
    without a rule.

    Reference: Kang et al., ICLR 2020, arXiv:1910.09217, eq. 1 (there, q is the power).

    Args:
        power: 0: every class equally often; 0.5: by the square root of its samples; 1: as they are.
    """

    def __init__(
        self,
        *,
        task: str,
        min_pixels: Annotated[int, Range(1)] = 1,
        power: Annotated[float, Range(0, 1)] = 0.0,
    ) -> None:
        super().__init__(task=task, min_pixels=min_pixels, keep_length=True)
        self.power = power

    def rates(self, held: ClassCounts) -> np.ndarray:
        """Σ p_c n / n_c over the classes that a sample holds, of n labelled samples."""
        samples = occurring(held.samples)
        chances = samples**self.power / np.nansum(samples**self.power)
        return held.total(chances * held.num_labelled / samples)
