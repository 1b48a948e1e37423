"""What is measured of named points and boxes, of stills and frame by frame: sums from which the figures follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from weft.metrics.confusion import ratio


def place_rows(said: np.ndarray, truth: np.ndarray, *, boxes: bool, within: float) -> dict[str, np.ndarray]:
    """Sums over the frames of each sample, by name: all (P, K).

    Args:
        said: (P, T, n, 3) x and y in pixels, and the probability of visible; n is K, or 2 K of the corners of boxes.
        truth: (P, T, n, 3) the same, visible being 1 or 0, or below 0 in frames of which nothing is known.
        boxes: whether they are boxes.
        within: so many pixels from its place a point is found.

    Returns:
        of what is visible the `absolute` and the `squared` errors of its coordinates, added up, how many there are
        (`visible`), and of points how many are `found`, of boxes their `overlap`; how many flags are `right`, of how
        many (`flags`).
    """
    places = 2 if boxes else 1
    shape = (*truth.shape[:2], truth.shape[2] // places, places, 3)
    said, truth = said.reshape(shape), truth.reshape(shape)
    flag = truth[..., 0, 2]  # (P, T, K)
    visible, known = flag > 0, flag >= 0
    difference = np.where(visible[..., None, None], said[..., :2] - truth[..., :2], 0.0)
    rows = {
        "absolute": np.abs(difference).sum((3, 4)),
        "squared": np.square(difference).sum((3, 4)),
        "visible": visible,
        "right": known & ((said[..., 2].mean(-1) >= 0.5) == visible),
        "flags": known,
    }
    if boxes:
        corners = (*flag.shape, 4)
        overlap = box_overlap(said[..., :2].reshape(corners), truth[..., :2].reshape(corners))
        rows["overlap"] = np.where(visible, overlap, 0.0)
    else:
        rows["found"] = visible & (np.hypot(difference[..., 0, 0], difference[..., 0, 1]) <= within)
    return {name: values.sum(1) for name, values in rows.items()}


def place_figures(rows: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, float]:
    """MAE, RMSE and visibility_accuracy, PCK of points or box_IoU of boxes, and MAE/<name>, of `place_rows`' rows."""
    sums = {name: values.sum(0) for name, values in rows.items()}
    coordinates = _coordinates(rows, sums["visible"])
    whole = {name: values.sum() for name, values in sums.items()}
    figures = {
        "MAE": ratio(whole["absolute"], coordinates.sum()),
        "RMSE": np.sqrt(ratio(whole["squared"], coordinates.sum())),
        "visibility_accuracy": ratio(whole["right"], whole["flags"]),
    }
    measure, part = ("box_IoU", "overlap") if "overlap" in rows else ("PCK", "found")
    figures[measure] = ratio(whole[part], whole["visible"])
    by_name = ratio(sums["absolute"], coordinates)
    figures |= {f"MAE/{name}": by_name[number] for number, name in enumerate(names)}
    return {name: float(value) for name, value in figures.items()}


def mean_error(rows: Mapping[str, np.ndarray]) -> np.ndarray:
    """(P,) mean error of the coordinates of what is visible in a sample, in pixels; 0 where nothing is."""
    return np.nan_to_num(ratio(rows["absolute"].sum(1), _coordinates(rows, rows["visible"].sum(1))))


def _coordinates(rows: Mapping[str, np.ndarray], visible: np.ndarray) -> np.ndarray:
    """How many coordinates so many visible points or boxes have."""
    return visible * (4 if "overlap" in rows else 2)


def box_overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(...) intersection over union of boxes (..., 4) x1, y1, x2, y2; 0 where they have no area together."""
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    both = (high - low).clip(min=0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).clip(min=0).prod(-1) for box in (first, second)]
    union = areas[0] + areas[1] - both
    return both / np.where(union > 0, union, 1)
