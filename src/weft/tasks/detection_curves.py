"""The curves of detection: precision against recall at two overlaps, and average precision against the overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weft.metrics.box_matching import LEFT_OUT, RIGHT, THRESHOLDS
from weft.metrics.confusion import mean_known
from weft.metrics.curves import Curves
from weft.metrics.detection import Ranked, coco_average_precision, precision_recall

#: Recalls at which the points of a precision-recall curve are kept.
_RECALLS = 200
#: Overlaps at which precision is drawn against recall.
_OVERLAPS = (0.5, 0.75)
_MEAN = "mean of the classes"


def place_of(overlap: float) -> int:
    """The place of an overlap among `THRESHOLDS`."""
    return int(np.argmin(np.abs(THRESHOLDS - overlap)))


def curves_of(classes: Sequence[str], ranked: Ranked, actual: np.ndarray, *, least: float) -> tuple[Curves, ...]:
    """Of every class that occurs.

    Args:
        classes: K names.
        ranked: answers with what became of them for every range of area and overlap: (D_k, 4, 10).
        actual: (K, 4) objects that count.
        least: the score from which on answers are shown; its place on the lines is marked.
    """
    at_overlaps = (_precision_recall(classes, ranked, actual[:, 0], overlap, least) for overlap in _OVERLAPS)
    return (*at_overlaps, _by_overlap(classes, 100 * coco_average_precision(ranked, actual)[:, 0]))


def _precision_recall(
    classes: Sequence[str], ranked: Ranked, actual: np.ndarray, overlap: float, least: float
) -> Curves:
    lines: dict[str, list[tuple[float, float]]] = {}
    points: dict[str, tuple[float, float]] = {}
    for name, scores, rows, number in zip(classes, ranked.scores, ranked.became, actual, strict=True):
        became = rows[:, 0, place_of(overlap)]
        recall, precision = (100 * values for values in precision_recall(became, int(number)))
        if not (number and len(recall)):
            continue
        # where each recall is reached, and the last answer before it: between them precision only falls
        reached = np.searchsorted(recall, np.linspace(recall[0], recall[-1], _RECALLS))
        kept = np.unique([*reached, *np.maximum(reached - 1, 0), len(recall) - 1])
        lines[name] = list(zip(recall[kept].tolist(), precision[kept].tolist(), strict=True))
        shown = became[scores >= least]
        said, right = np.count_nonzero(shown != LEFT_OUT), np.count_nonzero(shown == RIGHT)
        if said:
            points[name] = (100 * right / int(number), 100 * right / said)
    return Curves(
        f"precision against recall at an overlap of {overlap:g}",
        "recall, %",
        "precision, %",
        lines,
        points,
        f"boxes with a score of at least {least:.2f}, which are shown and counted",
    )


def _by_overlap(classes: Sequence[str], precision: np.ndarray) -> Curves:
    """Of (K, 10) average precisions in percent, and of their mean where there are several."""
    known = {name: row for name, row in zip(classes, precision, strict=True) if not np.isnan(row).any()}
    if len(known) > 1:
        known[_MEAN] = np.array([mean_known(column) for column in precision.T])
    overlaps = [round(float(overlap), 2) for overlap in THRESHOLDS]
    lines = {name: list(zip(overlaps, row.tolist(), strict=True)) for name, row in known.items()}
    return Curves("average precision against the overlap that is asked", "overlap", "AP, %", lines)
