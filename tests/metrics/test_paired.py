"""Tests between two ways of answering, against hand-worked numbers and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from weft.metrics.paired import combined, corrected_resampled_t, mcnemar


def test_mcnemar_is_the_exact_binomial_test_of_the_samples_that_one_alone_got_right():
    first = np.array([True] * 10 + [False] * 8 + [True] + [False] * 4)
    second = np.array([True] * 10 + [True] * 8 + [False] + [False] * 4)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (1, 8)
    assert found.p == pytest.approx(2 * (1 + 9) / 2**9)  # two tails of nine fair coins with one or no head
    assert found.p == pytest.approx(stats.binomtest(1, 9).pvalue)


def test_mcnemar_of_equal_answers_finds_nothing_and_large_counts_do_not_overflow():
    same = np.array([True, False] * 10)
    assert mcnemar(same, same).p == 1
    many = mcnemar(np.arange(5000) < 2600, np.arange(5000) >= 2600)
    assert many.p == pytest.approx(stats.binomtest(2600, 5000).pvalue, rel=1e-9)


def test_p_values_of_repeats_become_twice_their_median():
    assert combined([0.03]) == 0.03
    assert combined([0.01, 0.02, 0.9]) == 0.04
    assert combined([0.6, 0.7, 0.8]) == 1


def test_the_corrected_test_is_the_usual_one_where_no_samples_are_shared():
    differences = [0.02, -0.01, 0.03, 0.015, 0.0]
    found = corrected_resampled_t(differences, tested_to_trained=0)
    usual = stats.ttest_1samp(differences, 0)
    assert found.t == pytest.approx(usual.statistic)
    assert found.p == pytest.approx(usual.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(usual.confidence_interval(0.95)))


def test_the_corrected_variance_of_five_folds_is_more_than_twice_the_usual():
    differences = [1.0, 2.0, 3.0, 4.0, 5.0]  # mean 3, variance 2.5
    found = corrected_resampled_t(differences, tested_to_trained=1 / 4)
    assert found.t == pytest.approx(3 / math.sqrt((1 / 5 + 1 / 4) * 2.5))
    assert found.p == pytest.approx(2 * stats.t.sf(found.t, 4))
    assert found.low == pytest.approx(3 - stats.t.ppf(0.975, 4) * math.sqrt(0.45 * 2.5))


def test_one_fold_has_no_test_and_equal_differences_no_t():
    one = corrected_resampled_t([0.1], tested_to_trained=1)
    assert one.mean == 0.1
    assert math.isnan(one.p)
    assert corrected_resampled_t([0.0, 0.0], tested_to_trained=1).p == 1
    assert corrected_resampled_t([0.5, 0.5], tested_to_trained=1).p == 0
