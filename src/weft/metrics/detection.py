"""Average precision of boxes from what became of every answer: COCO's, Pascal VOC's, and precision against recall.

Matching is done once for every sample (`box_matching`); here the answers of all samples are only ranked, so that a
bootstrap can ask a thousand times. Tests hold the figures equal to faster-coco-eval's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from weft.metrics.box_matching import LEFT_OUT, RIGHT
from weft.metrics.confusion import ratio

#: Recalls at which COCO reads the precision.
RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Ranked:
    """The answers of some samples, class by class, those of each class from the highest score to the lowest.

    Attributes:
        all_scores: (D,) of all of them.
        all_became: (D, ...) what became of them, as `box_matching` has it.
        begins: (K + 1,) where each class begins, and the end.
    """

    all_scores: np.ndarray
    all_became: np.ndarray
    begins: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, classes: np.ndarray, became: np.ndarray, num_classes: int) -> Ranked:
        """Of answers (n, N), where those of score 0 are none, and what became of them (n, N, ...)."""
        flat = scores.ravel()
        there = np.flatnonzero(flat > 0)
        order = there[np.argsort(-flat[there], kind="stable")]
        numbers = classes.ravel()[order].astype(np.int64)
        by_class = np.argsort(numbers, kind="stable")
        order, begins = order[by_class], np.searchsorted(numbers[by_class], np.arange(num_classes + 1))
        return cls(flat[order], became.reshape(-1, *became.shape[2:])[order], begins)

    @property
    def scores(self) -> list[np.ndarray]:
        """(K) arrays (D_k,)."""
        return np.split(self.all_scores, self.begins[1:-1])

    @property
    def became(self) -> list[np.ndarray]:
        """(K) arrays (D_k, ...)."""
        return np.split(self.all_became, self.begins[1:-1])


def coco_average_precision(ranked: Ranked, actual: np.ndarray) -> np.ndarray:
    """The mean over 101 recalls of the largest precision at that recall or a higher one.

    Args:
        ranked: answers with what became of them for A ranges of area and T thresholds: (D, A, T).
        actual: (K, A) objects that count.

    Returns:
        (K, A, T) in [0, 1]; NaN for a class without objects.
    """
    return _mean_precision(ranked, actual, _coco_shares)


def voc_average_precision(ranked: Ranked, actual: np.ndarray) -> np.ndarray:
    """(K,) the area below the curve of the largest precision at each recall or a higher one, as Pascal VOC has it since
    2010.

    Args:
        ranked: answers with what became of them: (D,).
        actual: (K,) objects that count.
    """
    one = replace(ranked, all_became=ranked.all_became[:, None, None])
    return _mean_precision(one, actual[:, None], _voc_shares)[:, 0, 0]


def precision_recall(became: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(D,) recall and (D,) precision after each answer of one class, those that are left out skipped.

    Args:
        became: (n,) what became of the answers, from the highest score to the lowest.
        number: of objects that count.
    """
    counted = became[became != LEFT_OUT]
    right = np.cumsum(counted == RIGHT)
    return ratio(right, np.full(len(right), number)), ratio(right, np.arange(1, len(right) + 1))


def best_threshold(scores: np.ndarray, became: np.ndarray, number: int) -> float:
    """The score from which on answers have the largest F1, halfway to the next lower one; NaN where none is right.

    Args:
        scores: (n,) of the answers.
        became: (n,) what became of them.
        number: of objects that count.
    """
    counted = became != LEFT_OUT
    order = np.argsort(-scores[counted], kind="stable")
    ranked, right = scores[counted][order], np.cumsum(became[counted][order] == RIGHT)
    if not len(right) or not right[-1]:
        return float("nan")
    last = np.append(ranked[1:] != ranked[:-1], True)  # answers of one score stand or fall together
    quality = np.where(last, 2 * right / (np.arange(1, len(right) + 1) + number), -1)
    best = int(quality.argmax())
    below = ranked[best + 1] if best + 1 < len(ranked) else ranked[best]
    return float((ranked[best] + below) / 2)


def _mean_precision(ranked: Ranked, actual: np.ndarray, shares_of: Callable[[int], np.ndarray]) -> np.ndarray:
    """(K, A, T) Σ over right answers of the largest precision from there on, times the share of the recalls that the
    answer is the first to reach; NaN of a class without objects.

    Args:
        ranked: answers with what became of them: (D, A, T).
        actual: (K, A) objects that count.
        shares_of: (n,) shares of the k-th right answer of n objects.
    """
    num_classes, (num_areas, num_thresholds) = len(actual), ranked.all_became.shape[1:]
    num_lanes = num_areas * num_thresholds
    became = np.ascontiguousarray(ranked.all_became.reshape(-1, num_lanes).T)  # (A·T, D): lane by lane
    answered = np.zeros((num_lanes, became.shape[1] + 1), np.int64)
    np.cumsum(became != LEFT_OUT, 1, out=answered[:, 1:])
    lane, place = np.nonzero(became == RIGHT)  # all right answers by lane, class and rank
    kind = np.searchsorted(ranked.begins, place, side="right") - 1
    curve = lane * num_classes + kind
    first = np.searchsorted(curve, np.arange(num_lanes * num_classes))  # right answer of each curve
    rank = np.arange(len(curve)) - first[curve]
    precision = (rank + 1) / (answered[lane, place + 1] - answered[lane, ranked.begins[kind]])
    # the curves one above the other, so that the largest from here on never comes of another one
    raised = precision - 2.0 * curve
    from_here = np.maximum.accumulate(raised[::-1])[::-1] + 2.0 * curve
    tables = [shares_of(int(number)) for number in actual.ravel()]  # by class and area
    begin = np.cumsum([0, *map(len, tables)])
    table = kind * num_areas + lane // num_thresholds
    shares = np.concatenate([*tables, np.zeros(1)])[begin[table] + rank]
    summed = np.bincount(curve, from_here * shares, minlength=num_lanes * num_classes)
    by_class = summed.reshape(num_areas, num_thresholds, num_classes).transpose(2, 0, 1)
    return np.where(actual[..., None] > 0, by_class, np.nan)


@lru_cache(maxsize=4096)
def _coco_shares(number: int) -> np.ndarray:
    """(number,) share of `RECALLS` that the k-th right answer of so many objects is the first to reach."""
    reached = np.searchsorted(RECALLS, np.arange(1, number + 1) / max(1, number), side="right")
    return np.diff(reached, prepend=0) / len(RECALLS)


def _voc_shares(number: int) -> np.ndarray:
    """(number,) share of all recalls that each right answer adds."""
    return np.full(number, 1 / max(1, number))
