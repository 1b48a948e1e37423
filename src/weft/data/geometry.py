"""One geometry per sample: an affine map drawn once and applied to everything in it, by kind.

Coordinates are continuous: (0, 0) is the outer corner of the first pixel and (W, H) that of the last, so the centre of
pixel i lies at i + 0.5. A flip takes x to W - x.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import cv2
import numpy as np

from weft.boxes import AREA, CLASS, DIFFICULT, IGNORED, NUM_CORNERS
from weft.experiment import Augment
from weft.modalities.base import Geometry

Size = tuple[int, int]

#: Pictures that shrink by more than this factor are averaged over areas first: bilinear looks at four pixels only.
_ALIASING = 1.5


@dataclass(frozen=True)
class Warp:
    """An affine map from a sample's own pixels to those of the result.

    Attributes:
        matrix: (2, 3), continuous coordinates (x, y, 1) to (x, y).
        source: (H, W) of what it is applied to.
        size: (H, W) of the result.
        resizes: it only scales the whole picture to the whole result, or does nothing.
        mirrors: left and right change places; with `resizes`, after that.
    """

    matrix: np.ndarray
    source: Size
    size: Size
    resizes: bool
    mirrors: bool = False

    @property
    def is_identity(self) -> bool:
        """Nothing moves."""
        return self.resizes and self.source == self.size and not self.mirrors


def generator(*words: object) -> np.random.Generator:
    """Random numbers that are a function of some words: (seed, epoch, sample, purpose)."""
    digest = hashlib.blake2b("\0".join(str(word) for word in words).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, np.uint64)))


def resize(source: Size, size: Size | None) -> Warp:
    """The whole picture brought to `size`; None: nothing."""
    size = source if size is None else size
    matrix = np.array([[size[1] / source[1], 0, 0], [0, size[0] / source[0], 0]])
    return Warp(matrix, source, size, resizes=True)


def draw(source: Size, size: Size | None, augment: Augment, random: np.random.Generator) -> Warp:
    """A random warp: brought to `size`, flipped, zoomed, rotated about the centre, then cropped at a random place.

    Args:
        source: (H, W) of the sample.
        size: (H, W) that samples are brought to; None: they keep their own.
        augment: what is random, and how much.
        random: where the numbers come from. The same number of them is drawn whatever the options.
    """
    flip, zoom, turn, right, down = random.random(5)
    plain = resize(source, size)
    result = augment.crop or plain.size
    matrix = np.vstack([plain.matrix, [0, 0, 1]])
    height, width = plain.size
    mirrors = bool(flip < augment.flip)
    if mirrors:
        matrix = np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]]) @ matrix
    scale = 1.0
    if augment.scale is not None:
        low, high = np.log(augment.scale)
        scale = float(np.exp(low + zoom * (high - low)))
    if scale == 1 and not augment.rotate and result == plain.size:
        return Warp(matrix[:2], source, result, resizes=True, mirrors=mirrors)
    angle = np.deg2rad((2 * turn - 1) * augment.rotate)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # of the scaled picture, any window of the result's size may be seen; a smaller picture may lie anywhere in it
    slack = np.array([result[1] - scale * width, result[0] - scale * height])
    corner = np.round(np.minimum(slack, 0) + np.array([right, down]) * np.abs(slack))
    centre = np.array([width, height]) / 2
    shift = corner + scale * centre - linear @ centre
    matrix = np.vstack([np.column_stack([linear, shift]), [0, 0, 1]]) @ matrix
    return Warp(matrix[:2], source, result, resizes=False, mirrors=mirrors)


def is_random(augment: Augment, size: Size | None) -> bool:
    """Whether `draw` may give something else than `resize` to `size`."""
    same = (None, (1.0, 1.0))
    return bool(augment.flip or augment.rotate or augment.scale not in same or augment.crop not in (None, size))


def apply(warp: Warp, value: np.ndarray, geometry: Geometry) -> np.ndarray:
    """A value after the warp, by its kind; the value itself where nothing moves.

    Args:
        warp: of the sample.
        value: (H, W) or (H, W, C) for images and labels, with (T, ...) before it for clips of them, (n, 3) for points:
            x, y and whether visible, (T, n, 3) for those of clips, (n, 7) for boxes: corners, class, ignored, area.
        geometry: how such values move.
    """
    if geometry.kind == "boxes":  # cut off at the border even where nothing moves
        return _move_boxes(warp, value, geometry.visible)
    if geometry.kind in ("none", "sequence", "frames") or warp.is_identity:
        return value
    if geometry.kind == "clip_points":
        return _move_tracks(warp, value)
    if geometry.has_frames:
        return _move_clip(warp, value, geometry)
    if geometry.kind == "points":
        return _move_points(warp, value)
    if geometry.kind == "label":
        return _move_labels(warp, value, geometry.fill)
    if geometry.unknown is not None and not (warp.resizes and warp.source == warp.size):  # a flip mixes nothing
        return _move_partly_known(warp, value, geometry)
    return _move_image(warp, value, geometry.fill)


def _move_clip(warp: Warp, clip: np.ndarray, geometry: Geometry) -> np.ndarray:
    """(T, ...) frame by frame, all by one warp; displacements are turned and scaled with the picture."""
    of_frame = replace(geometry, kind="image" if geometry.kind == "clip" else "label")
    moved = np.stack([apply(warp, frame, of_frame) for frame in clip])
    if geometry.vectors:
        vectors = moved[..., :2] @ warp.matrix[:, :2].T
        moved[..., :2] = vectors.astype(moved.dtype)
    return moved


def _move_points(warp: Warp, points: np.ndarray) -> np.ndarray:
    """(n, 3) points; those that leave the picture are no longer visible. Left and right keep their names."""
    moved = points.astype(np.float32)
    moved[:, :2] = points[:, :2] @ warp.matrix[:, :2].T + warp.matrix[:, 2]
    height, width = warp.size
    inside = (moved[:, 0] >= 0) & (moved[:, 0] <= width) & (moved[:, 1] >= 0) & (moved[:, 1] <= height)
    moved[:, 2] = np.where(inside, points[:, 2], 0)
    return moved


def _move_tracks(warp: Warp, tracks: np.ndarray) -> np.ndarray:
    """(T, n, 3) points frame by frame; frames that are not known, in which `visible` is below 0, stay so."""
    moved = tracks.astype(np.float32)
    known = (tracks[..., 2] >= 0).all(1)
    moved[known] = _move_points(warp, tracks[known].reshape(-1, 3)).reshape(-1, *tracks.shape[1:])
    return moved


def _move_boxes(warp: Warp, boxes: np.ndarray, visible: float) -> np.ndarray:
    """(m, 7) of (n, 7): the boxes around their moved corners, cut off at the border; what is left of one that shows
    less than `visible` of itself is ignored, and those of which nothing is left are gone.
    """
    left, top, right, bottom = boxes[:, :NUM_CORNERS].astype(np.float64).T
    corners = np.stack([[left, right, right, left], [top, top, bottom, bottom]], -1)  # (4, n, 2)
    moved = corners @ warp.matrix[:, :2].T + warp.matrix[:, 2]
    low, high = moved.min(0), moved.max(0)
    extent = np.array([warp.size[1], warp.size[0]])
    cut_low, cut_high = low.clip(0, extent), high.clip(0, extent)
    there = (cut_high > cut_low).all(1)
    share = (cut_high - cut_low).prod(1) / np.where(there, (high - low).prod(1), 1)
    ignored = np.where(share < visible, boxes[:, IGNORED].clip(min=DIFFICULT), boxes[:, IGNORED])
    area = boxes[:, AREA] * abs(np.linalg.det(warp.matrix[:, :2])) * share
    result = np.column_stack([cut_low, cut_high, boxes[:, CLASS], ignored, area])
    return result[there].astype(np.float32)


def _move_labels(warp: Warp, labels: np.ndarray, fill: float) -> np.ndarray:
    """Nearest: no value that was not there, besides `fill`."""
    if warp.resizes:
        return _resized(warp, labels, cv2.INTER_NEAREST_EXACT)
    return _affine(labels, warp.matrix, warp.size, cv2.INTER_NEAREST, fill)


def _move_image(warp: Warp, image: np.ndarray, fill: float) -> np.ndarray:
    """Bilinear, or averaged over areas where it shrinks."""
    if warp.resizes:
        shrinks = warp.size[0] <= warp.source[0] and warp.size[1] <= warp.source[1]
        return _resized(warp, image, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    matrix = warp.matrix
    factors = np.hypot(matrix[0, :2], matrix[1, :2])  # how long one source pixel is in the result, along x and y
    if factors.min() < 1 / _ALIASING:
        small = np.maximum(1, np.round(np.minimum(factors, 1) * warp.source[::-1])).astype(int)  # (W, H)
        shrunk = cv2.resize(image, (int(small[0]), int(small[1])), interpolation=cv2.INTER_AREA)
        image = shrunk.reshape(small[1], small[0], *image.shape[2:])
        matrix = matrix @ np.diag([warp.source[1] / small[0], warp.source[0] / small[1], 1])
    return _affine(image, matrix, warp.size, cv2.INTER_LINEAR, fill)


def _move_partly_known(warp: Warp, image: np.ndarray, geometry: Geometry) -> np.ndarray:
    """As an image, but unknown pixels weigh nothing; a result that is less than half known is unknown."""
    unknown = geometry.unknown
    channels = [image] if image.ndim == 2 else [image[..., index] for index in range(image.shape[2])]
    moved = []
    for channel in channels:
        known = geometry.known(channel)
        values = channel if unknown == 0 else np.where(known, channel, 0)  # 0, so that only the weight tells
        total = _move_image(warp, values.astype(np.float32, copy=False), 0)
        weight = _move_image(warp, known.astype(np.float32), 0)
        result = np.full(warp.size, unknown, np.float32)
        np.divide(total, weight, out=result, where=weight >= 0.5)
        moved.append(result.astype(image.dtype, copy=False))
    return moved[0] if image.ndim == 2 else cv2.merge(moved).reshape(*warp.size, len(moved))


def _resized(warp: Warp, image: np.ndarray, method: int) -> np.ndarray:
    """(H, W, ...) scaled and perhaps mirrored. OpenCV drops a last axis of one channel; it is put back."""
    resized = image
    if warp.source != warp.size:
        resized = cv2.resize(image, (warp.size[1], warp.size[0]), interpolation=method)
    if warp.mirrors:
        resized = cv2.flip(resized, 1)
    return resized.reshape(*warp.size, *image.shape[2:])


def _affine(image: np.ndarray, matrix: np.ndarray, size: Size, method: int, fill: float) -> np.ndarray:
    """(H, W, ...) warped; OpenCV counts from pixel centres, so half a pixel is taken off on both sides."""
    matrix = matrix.astype(np.float64)
    shift = matrix[:, :2] @ [0.5, 0.5] + matrix[:, 2] - 0.5
    moved: np.ndarray = cv2.warpAffine(
        image,
        np.column_stack([matrix[:, :2], shift]),
        (size[1], size[0]),
        flags=method,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill,) * 4,
    )
    return moved.reshape(*size, *image.shape[2:])
