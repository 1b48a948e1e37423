"""Counts of right and wrong answers, and the figures that follow from them.

Everything is over the data set: counts are summed over its samples before anything is divided. What the samples cannot
tell is NaN and in no mean.
"""

from __future__ import annotations

import numpy as np


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where whole is 0."""
    whole = np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole != 0)


def mean_known(values: np.ndarray) -> float:
    """The mean of the values that are not NaN; NaN where there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def intersection_over_union(true_positive: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """(K,) IoU from (K,) counts; NaN for a class in neither truth nor prediction."""
    return ratio(true_positive, predicted + actual - true_positive)


def precision(true_positive: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """(K,) share of the predicted that is right; 0 if never predicted, NaN for a class in neither truth nor answers."""
    occurs = predicted + actual > 0
    return np.where(occurs, ratio(true_positive, np.maximum(predicted, 1)), np.nan)


def recall(true_positive: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """(K,) share of the actual that was found; NaN for a class that is absent from the truth."""
    return ratio(true_positive, actual)


def f1(true_positive: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """(K,) harmonic mean of precision and recall; NaN for a class in neither truth nor prediction."""
    return ratio(2 * true_positive, predicted + actual)
