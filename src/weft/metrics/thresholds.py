"""Where to cut scores, so that answers follow from them."""

from __future__ import annotations

import numpy as np

from weft.metrics.confusion import ratio


def best_f1_thresholds(scores: np.ndarray, truth: np.ndarray, *, otherwise: float) -> np.ndarray:
    """The threshold of each label with the largest F1 of the answers `score >= threshold`.

    It lies half-way between the lowest score that is answered and the highest that is not. Of several equally good cuts
    it is the highest.

    Args:
        scores: (n, K) in [0, 1].
        truth: (n, K) bool.
        otherwise: threshold of a label without positives, where nothing can be told.

    Returns:
        (K,) float32.

    Reference: Lipton et al., ECML 2014, arXiv:1402.1892.
    """
    num_samples = len(scores)
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores.astype(np.float32), order, axis=0)
    found = np.take_along_axis(truth, order, axis=0).cumsum(0)
    answered = np.arange(1, num_samples + 1)[:, None]
    below = np.concatenate([ranked[1:], np.zeros_like(ranked[:1])])  # of the last, nothing is below
    f1 = np.where(ranked > below, ratio(2 * found, answered + truth.sum(0)), -1)  # no cut goes through a tie
    best = f1.argmax(0)[None]
    upper, lower = (np.take_along_axis(values, best, axis=0)[0] for values in (ranked, below))
    middle = (upper + lower) / 2
    middle = np.where(middle > lower, middle, upper)  # between neighbours in float32 there is nothing
    return np.where(truth.any(0), middle, np.float32(otherwise)).astype(np.float32)
