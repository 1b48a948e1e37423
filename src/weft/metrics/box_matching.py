"""Which answered boxes found an object: by the rules of COCO and of Pascal VOC, for many samples at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weft.boxes import ANSWERED_CLASS, AREA, CLASS, COUNTED, CROWD, IGNORED, NUM_CORNERS, SCORE

#: Intersections over union that an answer must reach, as COCO has them: 0.5, 0.55, …, 0.95.
THRESHOLDS = np.linspace(0.5, 0.95, 10)

#: {name: (low, high)} in square pixels: which objects are counted; low and high belong to it.
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}

#: What became of an answer. Ignored: it found what does not count, or is of a size that does not.
WRONG, RIGHT, LEFT_OUT = 0, 1, 2


@dataclass(frozen=True)
class Matched:
    """What became of every answer.

    Attributes:
        coco: (P, N, 4, 10) uint8 for every range of `AREAS` and every one of `THRESHOLDS`.
        voc: (P, N) uint8 by the rule of Pascal VOC at 0.5.
        object: (P, N) int64 the object that each answer took, of COCO's rule over all areas at 0.5; -1: none.
        actual: (P, K, 4) int32 objects that count, of every class and range.
    """

    coco: np.ndarray
    voc: np.ndarray
    object: np.ndarray
    actual: np.ndarray


def match(answers: np.ndarray, truth: np.ndarray, num_classes: int) -> Matched:
    """Match answers to objects.

    COCO: answers from the highest score to the lowest each take the object of their class that they overlap most, among
    those not yet taken; what is ignored is taken only where nothing that counts can be, and a crowd by any number of
    answers. VOC: an answer looks at the one object that it overlaps most, and is wrong where that is taken.

    Args:
        answers: (P, N, 6), each row of samples from the highest score to the lowest.
        truth: (P, n, 7).
        num_classes: K.

    References: Lin et al., ECCV 2014, arXiv:1405.0312; Everingham et al., IJCV 88, 2010, section 4.2.
    """
    overlap = _overlaps(answers, truth)
    sizes = truth[..., AREA]
    low, high = (np.array([span[end] for span in AREAS.values()])[:, None, None] for end in (0, 1))
    outside = (sizes[None] < low) | (sizes[None] > high)
    ignored = (truth[..., IGNORED] > COUNTED)[None] | outside  # (4, P, n)
    actual = np.zeros((len(truth), num_classes, len(AREAS)), np.int32)
    area, sample, place = np.nonzero(~ignored & (truth[..., CLASS] >= 0)[None])
    np.add.at(actual, (sample, truth[sample, place, CLASS].astype(int), area), 1)
    corners = answers[..., :NUM_CORNERS]
    own = (corners[..., 2:] - corners[..., :2]).clip(min=0).prod(-1)
    own_outside = ((own[None] < low) | (own[None] > high)).transpose(1, 2, 0)  # (P, N, 4)
    there = answers[..., SCORE] > 0
    coco, took = _by_coco(overlap, ignored.transpose(1, 0, 2), truth[..., IGNORED] == CROWD, own_outside)
    voc = _by_voc(overlap, truth[..., IGNORED] > COUNTED)
    return Matched(np.where(there[..., None, None], coco, LEFT_OUT).astype(np.uint8), voc, took, actual)


def _overlaps(answers: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(P, N, n) intersection over union, of a crowd over the answer's own area; -1 between different classes."""
    first, second = answers[:, :, None, :NUM_CORNERS], truth[:, None, :, :NUM_CORNERS]
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    both = (high - low).clip(min=0).prod(-1)
    own = (first[..., 2:] - first[..., :2]).clip(min=0).prod(-1)
    theirs = (second[..., 2:] - second[..., :2]).clip(min=0).prod(-1)
    crowd = (truth[..., IGNORED] == CROWD)[:, None]
    whole = np.where(crowd, own, own + theirs - both)
    overlap = both / np.where(whole > 0, whole, 1)
    alike = (answers[..., ANSWERED_CLASS, None] == truth[:, None, :, CLASS]) & (answers[..., SCORE, None] > 0)
    return np.where(alike, overlap, -1.0)


def _by_coco(
    overlap: np.ndarray, ignored: np.ndarray, crowd: np.ndarray, own_outside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(P, N, 4, 10) what became of every answer, and (P, N) the object that it took over all areas at 0.5.

    Args:
        overlap: (P, N, n).
        ignored: (P, 4, n) bool.
        crowd: (P, n) bool.
        own_outside: (P, N, 4) bool, answers of a size that does not count.
    """
    num_objects = overlap.shape[2]
    lanes = (len(overlap), len(AREAS), len(THRESHOLDS))
    became = np.where(own_outside[..., None], LEFT_OUT, WRONG) + np.zeros(len(THRESHOLDS), np.int64)
    took = np.full(overlap.shape[:2], -1)
    if not num_objects:
        return became, took
    free = np.ones((*lanes, num_objects), bool)
    lasting = crowd[:, None, None]
    counts = ~ignored[:, :, None]
    least = np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]
    for place in np.flatnonzero((overlap >= 0).any((0, 2))):
        here = overlap[:, place, None, None]  # (P, 1, 1, n)
        reached = np.where((here >= least) & (free | lasting), here, -1.0)
        # what counts comes before all that does not: overlaps are at most 1
        wanted = np.where(reached >= 0, reached + 2 * counts, -1.0)
        best = num_objects - 1 - wanted[..., ::-1].argmax(-1)  # the last of equals, as in pycocotools
        value = np.take_along_axis(wanted, best[..., None], -1)[..., 0]
        found = value >= 0
        became[:, place] = np.where(found, np.where(value >= 2, RIGHT, LEFT_OUT), became[:, place])
        rows, areas, levels = np.nonzero(found)
        free[rows, areas, levels, best[found]] = False
        took[:, place] = np.where(found[:, 0, 0], best[:, 0, 0], -1)
    return became, took


def _by_voc(overlap: np.ndarray, difficult: np.ndarray) -> np.ndarray:
    """(P, N) uint8 what became of every answer."""
    became = np.full(overlap.shape[:2], WRONG, np.uint8)
    if not overlap.shape[2]:
        return became
    best, value = overlap.argmax(-1), overlap.max(-1)
    free = np.ones(difficult.shape, bool)
    samples = np.arange(len(overlap))
    for place in np.flatnonzero((value >= THRESHOLDS[0]).any(0)):
        object_, near = best[:, place], value[:, place] >= THRESHOLDS[0]
        hard, first = difficult[samples, object_], free[samples, object_]
        became[:, place] = np.where(near & hard, LEFT_OUT, np.where(near & first, RIGHT, became[:, place]))
        free[samples[near], object_[near]] = False
    return became
