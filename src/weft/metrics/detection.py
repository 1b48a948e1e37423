"""Average precision of boxes from what became of every answer: COCO's, Pascal VOC's, and precision against recall.

Matching is done once for every sample (`box_matching`); here the answers of all samples are only ranked, so that a
bootstrap can ask a thousand times. Tests hold the figures equal to faster-coco-eval's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weft.metrics.box_matching import LEFT_OUT, RIGHT
from weft.metrics.confusion import ratio

#: Recalls at which COCO reads the precision.
RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Ranked:
    """The answers of some samples, those of each class from the highest score to the lowest.

    Attributes:
        scores: (K) arrays (D_k,).
        became: (K) arrays (D_k, ...) of what became of the answers, as `box_matching` has it.
    """

    scores: list[np.ndarray]
    became: list[np.ndarray]

    @classmethod
    def of(cls, scores: np.ndarray, classes: np.ndarray, became: np.ndarray, num_classes: int) -> Ranked:
        """Of answers (n, N), where those of score 0 are none, and what became of them (n, N, ...)."""
        there = np.flatnonzero(scores.ravel() > 0)
        flat = scores.ravel()[there]
        order = there[np.argsort(-flat, kind="stable")]
        ranked_classes = classes.ravel()[order]
        places = [order[ranked_classes == number] for number in range(num_classes)]
        flat_became = became.reshape(-1, *became.shape[2:])
        return cls([scores.ravel()[place] for place in places], [flat_became[place] for place in places])


def coco_average_precision(ranked: Ranked, actual: np.ndarray) -> np.ndarray:
    """The mean over 101 recalls of the largest precision at that recall or a higher one.

    Args:
        ranked: answers with what became of them for A ranges of area and T thresholds: (D_k, A, T).
        actual: (K, A) objects that count.

    Returns:
        (K, A, T) in [0, 1]; NaN for a class without objects.
    """
    return np.stack(
        [
            np.stack(
                [_mean_precision(became[:, area], number, _coco_weights(number)) for area, number in enumerate(numbers)]
            )
            for became, numbers in zip(ranked.became, actual, strict=True)
        ]
    )


def voc_average_precision(ranked: Ranked, actual: np.ndarray) -> np.ndarray:
    """(K,) the area below the curve of the largest precision at each recall or a higher one, as Pascal VOC has it since
    2010.

    Args:
        ranked: answers with what became of them: (D_k,).
        actual: (K,) objects that count.
    """
    return np.array(
        [
            float(_mean_precision(became[:, None], number, np.full(number, 1 / max(1, number)))[0])
            for became, number in zip(ranked.became, actual, strict=True)
        ]
    )


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


def _mean_precision(became: np.ndarray, number: int, weights: np.ndarray) -> np.ndarray:
    """(T,) Σ over right answers of the largest precision from there on, times the weight of its place among the right.

    Args:
        became: (D, T) from the highest score to the lowest.
        number: of objects that count; NaN comes of none.
        weights: (number,) share of the recalls that the k-th right answer is the first to reach.
    """
    if not number:
        return np.full(became.shape[1], np.nan)
    right = became == RIGHT
    found = np.cumsum(right, 0)
    answered = np.cumsum(became != LEFT_OUT, 0)
    precision = np.where(right, found / np.maximum(answered, 1), 0.0)
    from_here = np.maximum.accumulate(precision[::-1], 0)[::-1]
    shares = np.where(right, weights[np.maximum(found, 1) - 1], 0.0)
    total: np.ndarray = (from_here * shares).sum(0)
    return total


def _coco_weights(number: int) -> np.ndarray:
    """(number,) share of `RECALLS` that the k-th right answer of so many objects is the first to reach."""
    reached = np.searchsorted(RECALLS, np.arange(1, number + 1) / max(1, number), side="right")
    return np.diff(reached, prepend=0) / len(RECALLS)
