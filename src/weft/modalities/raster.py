"""What all rasters share: statistics, the way to a tensor, and a picture of any of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

#: What whole numbers are divided by, so that every encoder sees [0, 1] before normalisation.
FULL_SCALE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}

#: Frames of a strip, and the pixels between them.
_SHOWN, _GAP = 6, 2


def full_scale(dtype: np.dtype) -> float:
    """The stored value that stands for 1; floating-point values stand for themselves."""
    return FULL_SCALE.get(dtype, 1.0)


def to_tensor(value: np.ndarray) -> Tensor:
    """(C, H, W) of (H, W, C), without a copy where possible: 8 bits stay, 16 bits become float32 in [0, 1]."""
    if value.dtype == np.uint16:  # torch computes little in uint16
        value = value.astype(np.float32) / np.float32(full_scale(value.dtype))
    return torch.from_numpy(np.ascontiguousarray(value)).permute(2, 0, 1)


class Statistics:
    """Mean and standard deviation per channel over many values, from sums: what is not counted changes nothing."""

    def __init__(self, num_channels: int) -> None:
        self.count = 0
        self.sum = np.zeros(num_channels)
        self.sum_of_squares = np.zeros(num_channels)

    def add(self, values: np.ndarray) -> None:
        """Take in (n, C) values."""
        values = values.astype(np.float64)
        self.count += len(values)
        self.sum += values.sum(0)
        self.sum_of_squares += (values * values).sum(0)

    @property
    def facts(self) -> dict[str, list[float]]:
        """`mean` and `std`, rounded to what a sample of pictures can tell; 0 and 1 where nothing was counted."""
        if self.count == 0:
            return {"mean": [0.0] * len(self.sum), "std": [1.0] * len(self.sum)}
        mean = self.sum / self.count
        variance = np.maximum(self.sum_of_squares / self.count - mean * mean, 0)
        std = np.where(variance > 0, np.sqrt(variance), 1)  # a constant channel is only centred
        return {"mean": [float(f"{value:.6g}") for value in mean], "std": [float(f"{value:.6g}") for value in std]}


def most_common_dtype(values: Iterable[np.ndarray]) -> str:
    """The number type that most of the values have."""
    names = [value.dtype.name for value in values]
    return max(sorted(set(names)), key=names.count)


def evenly(num_frames: int, most: int) -> np.ndarray:
    """(n,) places of at most `most` frames, evenly spaced from the first to the last."""
    return np.unique(np.linspace(0, num_frames - 1, min(most, num_frames)).round().astype(int))


def strip(clip: np.ndarray) -> Image.Image:
    """Some frames of a clip (T, H, W, C), evenly spaced in time, from left to right; all are stretched alike."""
    places = evenly(len(clip), _SHOWN)
    height, width, num_channels = clip.shape[1:]
    side_by_side = picture(clip[places].swapaxes(0, 1).reshape(height, -1, num_channels))
    spaced = Image.new("RGB", (len(places) * (width + _GAP) - _GAP, height), "white")
    for column in range(len(places)):
        box = (column * width, 0, (column + 1) * width, height)
        spaced.paste(side_by_side.crop(box), (column * (width + _GAP), 0))
    return spaced


def picture(value: np.ndarray) -> Image.Image:
    """(H, W, C) as a person sees it: 8 bits as they are, others stretched between their 1st and 99th percentile."""
    shown = value[..., :3] if value.shape[2] >= 3 else value[..., :1]
    if shown.dtype != np.uint8:
        finite = shown[np.isfinite(shown)]
        low, high = np.percentile(finite, (1, 99)) if finite.size else (0, 1)
        stretched = (np.nan_to_num(shown.astype(np.float32)) - low) / max(high - low, 1e-12)  # a flat picture is black
        shown = (stretched.clip(0, 1) * 255).astype(np.uint8)
    return Image.fromarray(np.repeat(shown, 3, axis=2) if shown.shape[2] == 1 else shown)
