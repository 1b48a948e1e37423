"""Tests of whether two ways of answering differ, on the same samples or over the same folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, stdtr, stdtrit


@dataclass(frozen=True)
class McNemar:
    """Who was right where the other was not.

    Attributes:
        only_first, only_second: samples that one of the two got right.
        p: of as uneven a division or a more uneven one, were both equally good; two-sided and exact.
    """

    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True)
class FoldTest:
    """The mean difference over folds.

    Attributes:
        mean: second minus first.
        low, high: its 95 % interval.
        t: of the corrected test; NaN where all folds differ by the same.
        p: two-sided.
        num_folds: over all repeats.
    """

    mean: float
    low: float
    high: float
    t: float
    p: float
    num_folds: int


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """The exact McNemar test.

    Args:
        first, second: (n,) bool, which answers of each are right, on the same samples.

    Reference: McNemar, Psychometrika 1947, doi:10.1007/BF02295996; exact by the binomial distribution.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    both = only_first + only_second
    return McNemar(only_first, only_second, min(1.0, 2 * float(bdtr(min(only_first, only_second), both, 0.5))))


def combined(p_values: Sequence[float]) -> float:
    """One p-value from several of the same hypothesis, however they depend on each other: twice their median.

    Reference: Rüger, Metrika 25, 1978; Vovk and Wang, Biometrika 2020, arXiv:1212.4966, section 1.
    """
    return p_values[0] if len(p_values) == 1 else min(1.0, 2 * float(np.median(p_values)))


def corrected_resampled_t(differences: Sequence[float], *, tested_to_trained: float) -> FoldTest:
    """The t-test over folds, with the variance that the folds' common training samples hide.

    t = mean / √((1/J + n_test/n_train) σ²) with J − 1 degrees of freedom, where the usual test has 1/J alone and finds
    far too many differences.

    Args:
        differences: (J,) second minus first of a figure in each fold of each repeat.
        tested_to_trained: samples of a fold over those outside it: 1 / (k − 1).

    Reference: Nadeau and Bengio, Machine Learning 2003, doi:10.1023/A:1024068626366; for repeated folds, Bouckaert and
    Frank, PAKDD 2004.
    """
    values = np.asarray(differences, np.float64)
    number = len(values)
    mean = float(values.mean())
    if number < 2:
        return FoldTest(mean, math.nan, math.nan, math.nan, math.nan, number)
    error = math.sqrt((1 / number + tested_to_trained) * values.var(ddof=1))
    if error == 0:
        return FoldTest(mean, mean, mean, math.nan, 1.0 if mean == 0 else 0.0, number)
    half = float(stdtrit(number - 1, 0.975)) * error
    t = mean / error
    return FoldTest(mean, mean - half, mean + half, t, 2 * float(stdtr(number - 1, -abs(t))), number)
