"""Samples of frequent classes come in some epochs only."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from weft.data.class_counts import ClassCounts
from weft.data.sampling.base import Sampling, occurring
from weft.registry import Range, register


@register("sampling", "under")
class UnderSampling(Sampling):
    """Under-sampling: of each class as many samples as the rarest has, others in every epoch.

    Samples of a class come ratio · n_min / n_c times, once at most. A sample of several classes comes as often as its
    rarest asks for.

    Reference: Japkowicz and Stephen, Intelligent Data Analysis 2002, doi:10.3233/IDA-2002-6504 (random under-sampling).

    Args:
        ratio: samples of a class beside one of the rarest class, at most.
    """

    def __init__(
        self,
        *,
        task: str,
        min_pixels: Annotated[int, Range(1)] = 1,
        keep_length: bool = False,
        ratio: Annotated[float, Range(1)] = 1.0,
    ) -> None:
        super().__init__(task=task, min_pixels=min_pixels, keep_length=keep_length)
        self.ratio = ratio

    def rates(self, held: ClassCounts) -> np.ndarray:
        """min(1, ratio · n_min / n_c) of the rarest class that a sample holds."""
        samples = occurring(held.samples)
        return held.largest(np.minimum(1, self.ratio * np.nanmin(samples) / samples))
