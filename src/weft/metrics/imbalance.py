"""How uneven classes are: the ratio of the largest to the smallest, the effective number, and which ones are rare."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def imbalance_ratio(amounts: Sequence[float] | np.ndarray) -> float:
    """The amount of the most frequent class over that of the rarest which occurs; NaN where none does.

    Args:
        amounts: (K,) samples, pixels or boxes of each class.

    Reference: Cui et al., CVPR 2019, arXiv:1901.05555 (there, the imbalance factor).
    """
    occurring = np.asarray(amounts, np.float64)
    occurring = occurring[occurring > 0]
    return float(occurring.max() / occurring.min()) if len(occurring) else math.nan


def effective_number(amounts: Sequence[float] | np.ndarray) -> float:
    """How many classes of equal size would be as uncertain as these: exp(−Σ p log p) of the shares p; NaN of none.

    K where all are equal, near 1 where one class is nearly all there is.

    Args:
        amounts: (K,) samples, pixels or boxes of each class.

    Reference: Hill, Ecology 1973, doi:10.2307/1934352, the number of order 1.
    """
    occurring = np.asarray(amounts, np.float64)
    occurring = occurring[occurring > 0]
    if not len(occurring):
        return math.nan
    shares = occurring / occurring.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def rarest(amounts: Sequence[float] | np.ndarray) -> list[int]:
    """The rarest third of the classes that occur, to the nearest whole number and one at least, the rarest first.

    Args:
        amounts: (K,) samples, pixels or boxes of each class.
    """
    given = np.asarray(amounts, np.float64)
    order = [int(number) for number in np.argsort(given, kind="stable") if given[number] > 0]
    return order[: max(1, round(len(order) / 3))]
