"""Figures of how well scores rank: area under the ROC curve and average precision, for many classes at once.

They are written for speed over (n, K) arrays, because intervals ask for them a thousand times; tests hold them equal to
scikit-learn's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weft.metrics.confusion import ratio


def auroc(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Area under the receiver operating characteristic of each class.

    It is the probability that a positive scores higher than a negative, a tie counting one half (Mann–Whitney U).

    Args:
        scores: (n, K), larger means more likely.
        truth: (n, K) bool.

    Returns:
        (K,) in [0, 1]; NaN for a class without positives or without negatives.
    """
    ranking = _rank(scores, truth)
    positives = ranking.truth.sum(0)
    negatives = len(scores) - positives
    mean_rank = (ranking.first + ranking.last) / 2  # of a tie, 0 = the highest score
    # of the negatives, those ranked below each positive: all places below it less the positives among them
    below = np.where(ranking.truth, len(scores) - 1 - mean_rank, 0).sum(0)
    return ratio(below - positives * (positives - 1) / 2, positives * negatives)


def average_precision(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Average precision of each class: Σ (recall_i − recall_{i−1}) precision_i over distinct scores, uninterpolated.

    Args:
        scores: (n, K), larger means more likely.
        truth: (n, K) bool.

    Returns:
        (K,) in [0, 1]; NaN for a class without positives.
    """
    ranking = _rank(scores, truth)
    found = ranking.truth.cumsum(0)
    # every member of a tie sees the counts at the tie's end
    precision = np.take_along_axis(found, ranking.last, axis=0) / (ranking.last + 1)
    return ratio(np.where(ranking.truth, precision, 0).sum(0), ranking.truth.sum(0))


@dataclass(frozen=True)
class _Ranking:
    """Samples from the highest score to the lowest, per class: all (n, K).

    Attributes:
        truth: bool, in that order.
        first, last: the first and last place of the tie that each place belongs to.
    """

    truth: np.ndarray
    first: np.ndarray
    last: np.ndarray


def _rank(scores: np.ndarray, truth: np.ndarray) -> _Ranking:
    num_samples = len(scores)
    order = np.argsort(-scores, axis=0, kind="stable")
    ordered = np.take_along_axis(scores, order, axis=0)
    places = np.arange(num_samples)[:, None]
    begins = np.ones(scores.shape, bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    ends = np.ones(scores.shape, bool)
    ends[:-1] = begins[1:]
    return _Ranking(
        truth=np.take_along_axis(truth, order, axis=0),
        first=np.maximum.accumulate(np.where(begins, places, 0), axis=0),
        last=np.minimum.accumulate(np.where(ends, places, num_samples)[::-1], axis=0)[::-1],
    )
