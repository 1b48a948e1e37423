"""Motion between the frames of a clip, and what is carried along by it."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

#: There and back again must end where it began, but for this share of the squared lengths and so many squared pixels.
_SHARE, _PIXELS = 0.01, 0.5

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
    height, width = back.shape[:2]
    x = np.arange(width, dtype=np.float32) + back[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + back[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    returned = cv2.remap(forward, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    gap = np.square(back + returned).sum(-1)
    lengths = np.square(back).sum(-1) + np.square(returned).sum(-1)
    agrees: np.ndarray = inside & (gap <= _SHARE * lengths + _PIXELS)
    return agrees
