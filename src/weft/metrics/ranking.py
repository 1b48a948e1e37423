"""Figures of how well scores rank: area under the ROC curve and average precision, for many classes at once.

They are written for speed over (n, K) arrays, because intervals ask for them a thousand times; tests hold them equal to
scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np


def auroc(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Area under the receiver operating characteristic of each class.

    It is the probability that a positive scores higher than a negative, a tie counting one half (Mann–Whitney U).

    Args:
        scores: (n, K), larger means more likely.
        truth: (n, K) bool.

    Returns:
        (K,) in [0, 1]; NaN for a class without positives or without negatives.
    """
    area = np.full(truth.shape[1], np.nan)
    for column, (ordered, found) in enumerate(_with_positives(scores, truth)):
        num_negatives = len(ordered) - len(found)
        if len(found) and num_negatives:
            # all samples below each positive, ties as halves, less what the positives are to each other
            below = np.searchsorted(ordered, found) + np.searchsorted(ordered, found, side="right")
            area[column] = (below.sum() - len(found) ** 2) / (2 * len(found) * num_negatives)
    return area


def average_precision(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Average precision of each class: Σ (recall_i − recall_{i−1}) precision_i over distinct scores, uninterpolated.

    Args:
        scores: (n, K), larger means more likely.
        truth: (n, K) bool.

    Returns:
        (K,) in [0, 1]; NaN for a class without positives.
    """
    precision = np.full(truth.shape[1], np.nan)
    for column, (ordered, found) in enumerate(_with_positives(scores, truth)):
        if len(found):
            # every member of a tie sees the counts at the tie's end
            hits = len(found) - np.searchsorted(found, found)
            precision[column] = (hits / (len(ordered) - np.searchsorted(ordered, found))).mean()
    return precision


def of_known(
    figure: Callable[[np.ndarray, np.ndarray], np.ndarray], scores: np.ndarray, truth: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """A figure of each class over those samples in which it is known.

    Args:
        figure: of (n, K) scores and truth, (K,).
        scores: (n, K).
        truth: (n, K) bool.
        known: (n, K) bool.

    Returns:
        (K,).
    """
    if known.all():
        return figure(scores, truth)
    each = [figure(scores[rows, k : k + 1], truth[rows, k : k + 1])[0] for k, rows in enumerate(known.T)]
    return np.array(each)


def _with_positives(scores: np.ndarray, truth: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each class the scores of all samples and those of its positives, both from low to high."""
    columns = np.ascontiguousarray(scores.T)
    for ordered, column, positive in zip(np.sort(columns, axis=1), columns, truth.T, strict=True):
        yield ordered, np.sort(column[positive])
