"""Samples come again by the square root of how rare their rarest class is."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from weft.data.class_counts import ClassCounts
from weft.data.sampling.base import Sampling, occurring
from weft.registry import Range, register


@register("sampling", "repeat_factor")
class RepeatFactorSampling(Sampling):
    """Repeat-factor sampling: a sample comes max over its classes of max(1, √(threshold / f_c)) times.

    f_c is the share of the labelled samples that hold class c. Classes that more than `threshold` of the samples hold
    ask for nothing.

    Reference: Gupta et al., CVPR 2019, arXiv:1908.03195 (LVIS).

    Args:
        threshold: share of the samples below which a class is rare. The source has 0.001 for its 1,200 classes; with a
            dozen classes, about half of the samples and more is of use.
    """

    def __init__(
        self,
        *,
        task: str,
        min_pixels: Annotated[int, Range(1)] = 1,
        keep_length: bool = False,
        threshold: Annotated[float, Range(0, 1, open_low=True)] = 0.001,
    ) -> None:
        super().__init__(task=task, min_pixels=min_pixels, keep_length=keep_length)
        self.threshold = threshold

    def rates(self, held: ClassCounts) -> np.ndarray:
        """max(1, √(threshold / f_c)) of the rarest class that a sample holds."""
        shares = occurring(held.samples) / held.num_labelled
        return held.largest(np.maximum(1, np.sqrt(self.threshold / shares)))
