"""How uneven classes are, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import entropy

from weft.metrics.imbalance import effective_number, imbalance_ratio, rarest


def test_the_ratio_leaves_out_what_never_occurs() -> None:
    assert imbalance_ratio([100, 5, 0, 50]) == 20
    assert math.isnan(imbalance_ratio([0, 0]))


def test_the_effective_number_is_that_of_equal_classes_as_uncertain() -> None:
    assert effective_number([7, 7, 7, 0]) == pytest.approx(3)
    amounts = np.array([90, 5, 4, 1])
    assert effective_number(amounts) == pytest.approx(math.exp(entropy(amounts / 100)))
    assert effective_number([1]) == 1
    assert math.isnan(effective_number([]))


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [([5, 1, 3], [1]), ([5, 1, 3, 0], [1]), ([4, 1, 3, 2, 9], [1, 3]), ([2, 1], [1]), ([6], [0]), ([0], [])],
)
def test_a_third_of_what_occurs_is_rare_and_one_class_at_least(amounts: list[int], expected: list[int]) -> None:
    assert rarest(amounts) == expected
