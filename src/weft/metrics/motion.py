"""Motion between the frames of a clip, and what is carried along by it."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

#: There and back again must end where it began, but for this share of the squared lengths and so many squared pixels.
_SHARE, _PIXELS = 0.01, 0.5

#: So much of a pixel must arrive at another for its motion to be known.
_ARRIVED = 0.5

#: The search for motion looks at patches on pyramids of the picture; a side must have so many pixels.
SMALLEST_SIDE = 16


def motion_back(frames: np.ndarray) -> np.ndarray:
    """(T, H, W, 2) float32: how far right and down each pixel of a frame lay in the frame before, in pixels.

    Found by dense inverse search. NaN where it is not known: in the first frame, where the pixel lay outside the
    picture, and where it was hidden. Hidden is a pixel from whose place before the motion forward does not lead back:
    |w + w′(x + w)|² > 0.01 (|w|² + |w′(x + w)|²) + 0.5, for the motion w back and w′ forward.

    Args:
        frames: (T, H, W, C) uint8, one channel or three.

    Raises:
        ValueError: frames too small to search for motion.

    References: Kroeger et al., ECCV 2016, arXiv:1603.03590; for what is hidden, Sundaram et al., ECCV 2010, eq. 5.
    """
    num_frames, height, width, _ = frames.shape
    if min(height, width) < SMALLEST_SIDE:
        raise ValueError(f"frames are {width}x{height} pixels; motion is looked for from {SMALLEST_SIDE} a side on")
    grey = [np.ascontiguousarray(frame.mean(-1).round().astype(np.uint8)) for frame in frames]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    found = np.full((num_frames, height, width, 2), np.nan, np.float32)
    for place in range(1, num_frames):
        back, forward = (
            search.calc(*pair, None)  # type: ignore[call-overload]  # its stubs ask for a motion to begin with
            for pair in ((grey[place], grey[place - 1]), (grey[place - 1], grey[place]))
        )
        found[place] = np.where(_agree(back, forward)[..., None], back, np.nan)
    return found


def turned_back(forward: np.ndarray) -> np.ndarray:
    """(H, W, 2) float32: the motion back of the pixels of a frame, from the motion forward of the frame before.

    A pixel x of the frame before brings its motion f(x) to the four pixels around x + f(x), each with the weight k of
    bilinear interpolation: w(y) = −Σ k f / Σ k. NaN where it is not known: where less than half a pixel arrives, which
    is what was hidden or outside before, and where what arrives does not agree, as where one thing covers another:
    Σ k |f + w|² / Σ k > 0.01 Σ k |f|² / Σ k + 0.5.

    Args:
        forward: (H, W, 2) pixels, NaN where it is not known.
    """
    height, width = forward.shape[:2]
    rows, columns = np.nonzero(~np.isnan(forward).any(-1))
    flow_x, flow_y = forward[rows, columns].astype(np.float64).T
    brought = (np.ones(len(rows)), flow_x, flow_y, flow_x**2 + flow_y**2)
    # a margin around the picture takes what lands outside, and is cut off in the end
    x, y = (columns + flow_x + 1).clip(0, width + 1), (rows + flow_y + 1).clip(0, height + 1)
    left, top = x.astype(np.int64), y.astype(np.int64)
    right, below = x - left, y - top
    total = np.zeros((len(brought), (height + 3) * (width + 3)))
    for step_x, share_x in enumerate((1 - right, right)):
        for step_y, share_y in enumerate((1 - below, below)):
            pixel, weight = (top + step_y) * (width + 3) + left + step_x, share_x * share_y
            for sums, value in zip(total, brought, strict=True):
                sums += np.bincount(pixel, weight * value, minlength=len(sums))
    arrived, *sums_of = total.reshape(-1, height + 3, width + 3)[:, 1:-2, 1:-2]
    mean_x, mean_y, square = (one / np.where(arrived > 0, arrived, 1) for one in sums_of)
    known = (arrived >= _ARRIVED) & (square - mean_x**2 - mean_y**2 <= _SHARE * square + _PIXELS)
    return np.where(known[..., None], -np.stack([mean_x, mean_y], -1), np.nan).astype(np.float32)


def inside(motion: np.ndarray) -> np.ndarray:
    """(H, W) bool: where the pixels of a frame go by a motion (H, W, 2) lies in the picture; False where not known."""
    height, width = motion.shape[:2]
    x, y = _places(motion)
    within: np.ndarray = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return within


def carried(values: Tensor, motion: Tensor, *, nearest: bool = False) -> Tensor:
    """(R, C, H, W): the values of the frames before at the places that the pixels of these frames came from.

    Args:
        values: (R, C, H, W) of the R frames before.
        motion: (R, H, W, 2) as `motion_back` gives it; where it is not known, the result means nothing.
        nearest: take the value of the nearest pixel instead of blending four.
    """
    height, width = values.shape[-2:]
    rows, columns = torch.meshgrid(
        torch.arange(height, device=values.device), torch.arange(width, device=values.device), indexing="ij"
    )
    place = torch.stack([columns, rows], -1) + torch.nan_to_num(motion)
    extent = place.new_tensor([width, height])
    grid = (2 * place + 1) / extent - 1  # from −1 to 1 over the edges of the picture
    mode = "nearest" if nearest else "bilinear"
    return F.grid_sample(values, grid, mode=mode, padding_mode="border", align_corners=False)


def _agree(back: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """(H, W) bool: the place before lies in the picture, and from there the motion forward leads back."""
    returned = cv2.remap(forward, *_places(back), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    gap = np.square(back + returned).sum(-1)
    lengths = np.square(back).sum(-1) + np.square(returned).sum(-1)
    agrees: np.ndarray = inside(back) & (gap <= _SHARE * lengths + _PIXELS)
    return agrees


def _places(motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(x, y), each (H, W) float32: where the pixels of a frame go by a motion (H, W, 2)."""
    height, width = motion.shape[:2]
    x = np.arange(width, dtype=np.float32) + motion[..., 0]
    return x, np.arange(height, dtype=np.float32)[:, None] + motion[..., 1]
