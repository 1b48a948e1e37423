"""Calibration: whether answers given with probability p come true in a share p of the cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weft.metrics.confusion import ratio

#: Bins of equal width over [0, 1], as Guo et al. have them.
NUM_BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Answers sorted into bins of equal width by the probability they were given with; sums, so it is mergeable.

    Bin k of n holds probabilities in (k / n, (k + 1) / n], the first one 0 as well.

    Attributes:
        count: (n,) answers in each bin.
        confidence: (n,) the sum of their probabilities.
        true: (n,) how many of them came true.
    """

    count: np.ndarray
    confidence: np.ndarray
    true: np.ndarray

    @classmethod
    def of(cls, confidence: np.ndarray, came_true: np.ndarray, *, num_bins: int = NUM_BINS) -> Reliability:
        """From any number of answers.

        Args:
            confidence: probabilities in [0, 1], of any shape.
            came_true: bool, of the same shape.
            num_bins: how many bins.
        """
        said = confidence.ravel().astype(np.float64)
        place = bin_of(said, num_bins)
        return cls(
            count=np.bincount(place, minlength=num_bins),
            confidence=np.bincount(place, said, minlength=num_bins),
            true=np.bincount(place[came_true.ravel()], minlength=num_bins),
        )

    @property
    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """(n,) mean probability and (n,) share that came true, of each bin; NaN where it holds no answer."""
        return ratio(self.confidence, self.count), ratio(self.true, self.count)

    @property
    def error(self) -> float:
        """Expected calibration error: Σ count · |mean probability − share that came true| / Σ count; NaN of nothing.

        References: Naeini et al., AAAI 2015; Guo et al., ICML 2017, arXiv:1706.04599, eq. 3.
        """
        return float(ratio(np.abs(self.confidence - self.true).sum(), self.count.sum()))


def bin_of(confidence: np.ndarray, num_bins: int = NUM_BINS) -> np.ndarray:
    """The bin of each probability, int64."""
    return (np.ceil(confidence * num_bins).astype(np.int64) - 1).clip(0, num_bins - 1)
