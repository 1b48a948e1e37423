"""Samples of rare classes come several times."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from weft.data.class_counts import ClassCounts
from weft.data.sampling.base import Sampling, occurring
from weft.registry import Range, register


@register("sampling", "over")
class OverSampling(Sampling):
    """Over-sampling: samples of a class come n_max / n_c times, so that each class comes as often as the largest.

    n_c are the samples that hold class c. A sample of several classes comes as often as its rarest asks for, and takes
    the others with it.

    Reference: Japkowicz and Stephen, Intelligent Data Analysis 2002, doi:10.3233/IDA-2002-6504 (random over-sampling).

    Args:
        limit: times that a sample comes at most.
    """

    def __init__(
        self,
        *,
        task: str,
        min_pixels: Annotated[int, Range(1)] = 1,
        keep_length: bool = False,
        limit: Annotated[float, Range(1)] = 10.0,
    ) -> None:
        super().__init__(task=task, min_pixels=min_pixels, keep_length=keep_length)
        self.limit = limit

    def rates(self, held: ClassCounts) -> np.ndarray:
        """min(limit, n_max / n_c) of the rarest class that a sample holds."""
        samples = occurring(held.samples)
        return held.largest(np.minimum(self.limit, np.nanmax(samples) / samples))
