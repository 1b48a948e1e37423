"""Colours of classes and of values, the same in files, pictures and legends."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from PIL import Image

#: Colour of pixels without a label.
UNLABELLED = (255, 255, 255)


@cache
def palette(num_classes: int) -> np.ndarray:
    """(K, 3) uint8 RGB: colours as far from each other as they can be, the first ones the same for every K.

    Each next colour is the one farthest from all before it in CIELAB, among those neither very dark nor very light.
    """
    steps = np.linspace(0, 255, 17).round().astype(np.uint8)
    candidates = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = cv2.cvtColor(candidates[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    fit = (lab[:, 0] > 25) & (lab[:, 0] < 92)
    candidates, lab = candidates[fit], lab[fit]
    anchors = np.array([[0, 0, 0], [100, 0, 0]], np.float32)  # black and white stand for "nothing here"
    distance = np.linalg.norm(lab[:, None] - anchors, axis=-1).min(1)
    chosen = []
    for _ in range(num_classes):
        best = int(distance.argmax())
        chosen.append(candidates[best])
        distance = np.minimum(distance, np.linalg.norm(lab - lab[best], axis=1))
    colours = np.array(chosen, np.uint8).reshape(-1, 3)
    colours.setflags(write=False)  # cached: shared by all who ask
    return colours


def paint(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """(H, W, 3) uint8 picture of (H, W) class numbers; anything that is not a class is `UNLABELLED`."""
    table = np.vstack([palette(num_classes), np.array([UNLABELLED], np.uint8)])
    known = (labels >= 0) & (labels < num_classes)
    return table[np.where(known, labels, num_classes)]


def paint_values(values: np.ndarray, low: float, high: float, *, name: str = "viridis") -> np.ndarray:
    """(H, W, 3) uint8 picture of (H, W) values by a perceptual colour map; NaN is grey.

    Args:
        low, high: values at the two ends of the map.
        name: a colour map of matplotlib.
    """
    from matplotlib import colormaps  # slow to import, and only pictures need it

    span = high - low if high > low else 1.0
    scaled = np.nan_to_num((values - low) / span).clip(0, 1)
    picture = colormaps[name](scaled, bytes=True)[..., :3].copy()
    picture[np.isnan(values)] = 128
    return picture


def over(background: Image.Image, picture: np.ndarray, strength: float | np.ndarray) -> Image.Image:
    """A picture (h, w, 3) laid over a background, at the background's size.

    Args:
        strength: share of the picture in the result, one number or (h, w).
    """
    base = np.asarray(background.convert("RGB"), np.float32)
    height, width = base.shape[:2]
    top = cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST)
    shares = np.array(np.broadcast_to(np.asarray(strength, np.float32), picture.shape[:2]))
    share = cv2.resize(shares, (width, height), interpolation=cv2.INTER_NEAREST)[..., None]
    return Image.fromarray((base * (1 - share) + top * share).round().astype(np.uint8))
