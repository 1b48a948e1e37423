"""Optical flow over the frames of a clip: vectors in pixels, which move, turn and grow with the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.data.flowfile import FLOWS, read_flow
from weft.data.timeline import Timeline, usual_step
from weft.metrics.motion import inside, turned_back
from weft.modalities import clip, raster
from weft.modalities.base import Facts, Geometry, Preprocessor, Resolve
from weft.registry import Range, register
from weft.types import InputSpec

Direction = Literal["forward", "backward"]

#: A vector so many times as long as `scale` is drawn at full brightness.
_BRIGHT = 3.0


@register("modality", "flow")
class FlowModality(clip.ClipModality):
    """Optical flow: for every frame of a clip, how far each of its pixels moves to the right and down.

    A folder has a file for every frame, numbered as the frames are, and usually one fewer: .flo, PNG of 16 bits as in
    KITTI, or two channels of floating-point numbers in .npy, .npz and TIFF. An array is (T, H, W, 2). Vectors are in
    pixels; mirroring, turning and scaling the sample changes them as it changes the picture. What is not known (not
    finite, beyond 1e9, marked so in a PNG) is 0 for the encoder, and so is what lies outside the picture.

    Args:
        direction: where the vectors of a frame lead: forward, to the next frame, or backward, to the one before. Of the
            one fewer than frames, the last frame or the first has none.
        scale: pixels that are 1 for the encoder, at the size that it sees; by default the root mean square of the known
            components in the training split, at the size of the files.
        validity: a third channel, 1 where the flow is known and 0 where it is not.
        rate: frames a second; by default what the data format declares.
        max_pixels: a clip of which more pixels would be taken, over all frames, is refused before decoding.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        direction: Direction = "forward",
        scale: Annotated[float, Range(0, open_low=True)] | None = None,
        validity: bool = False,
        rate: Annotated[float, Range(0, open_low=True)] | None = None,
        max_pixels: Annotated[int, Range(1)] = clip.MAX_PIXELS,
    ) -> None:
        self.facts = facts
        self.direction: Direction = direction
        self.scale = facts.get("scale") if scale is None else scale
        self.validity = validity
        self.reader = clip.ClipReader(
            self._read_frame,
            rate=facts.get("rate") if rate is None else rate,
            max_pixels=max_pixels,
            endings=FLOWS,
        )
        self.geometry = Geometry("clip", fill=np.nan, unknown=np.nan, vectors=True)

    @property
    def num_channels(self) -> int:
        """Two, and another for the validity."""
        return 3 if self.validity else 2

    def read_frames(self, cell: Any, resolve: Resolve, frames: Timeline | None) -> np.ndarray:
        """(T, H, W, 2) float32 of the frames that are taken, NaN where it is not known.

        Where there is one flow fewer than frames, of flow forward the last frame shows that of the one before; of flow
        backward nothing is known in the first.

        Raises:
            BadCell: see `ClipReader.read_frames`, and `read_flow`.
        """
        if self.direction == "forward" or frames is None:
            return super().read_frames(cell, resolve, frames)
        own = self.timeline(cell, resolve)
        gap = own.numbers[0] - frames.numbers[0]
        if own.same_as(frames)[0] >= 0 or gap > usual_step(own.numbers):
            return super().read_frames(cell, resolve, frames)
        numbers, times = frames.numbers.copy(), frames.times.copy()
        numbers[0], times[0] = own.numbers[0], own.times[0]  # read in its place, so that its size is known
        values = super().read_frames(cell, resolve, replace(frames, numbers=numbers, times=times))
        values[0] = np.nan
        return values

    def _read_frame(self, source: Path | np.ndarray) -> np.ndarray:
        return read_flow(source, max_pixels=self.reader.max_pixels)

    @property
    def wants_fit(self) -> bool:
        """Until the scale is known."""
        return self.scale is None

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """The root mean square of the known components; 1 where nothing is known, or nothing moves."""
        statistics = raster.Statistics(1)
        for value in values:
            statistics.add(value[~np.isnan(value)][:, None])
        square = float(statistics.sum_of_squares[0]) / max(statistics.count, 1)
        return {"scale": float(f"{square**0.5:.6g}") or 1.0}

    @property
    def reading(self) -> Facts:
        """The rate."""
        return {} if self.reader.rate is None else {"rate": self.reader.rate}

    def motion_back(self, frames: Tensor, numbers: Sequence[int]) -> np.ndarray:
        """See `Modality.motion_back`: as given, for frames whose numbers follow one another; not known for others.

        Backward, it is not known where the place before lies outside the picture; forward, see `turned_back`.
        """
        given = frames.movedim(1, -1).numpy()
        found = np.full(given.shape, np.nan, np.float32)
        for place in np.flatnonzero(np.diff(numbers) == 1) + 1:
            if self.direction == "forward":
                found[place] = turned_back(given[place - 1])
            else:
                found[place] = np.where(inside(given[place])[..., None], given[place], np.nan)
        return found

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """(T, 2, H, W) float32 pixels."""
        return clip.to_tensor(value)

    def draw(self, value: np.ndarray) -> Image.Image:
        """A strip of frames: the colour is where to (right is red, down yellow-green, left cyan, up violet), the
        brightness how far; what is not known is grey.
        """
        known = ~np.isnan(value).any(-1)
        x, y = np.moveaxis(np.where(known[..., None], value, 0), -1, 0)
        hue = np.degrees(np.arctan2(y, x)) % 360 / 2  # OpenCV's hues end at 180
        bright = np.hypot(x, y) / (_BRIGHT * (self.scale or 1.0))
        colours = np.stack([hue, np.full_like(hue, 255), 255 * bright.clip(0, 1)], -1).astype(np.uint8)
        painted = np.stack([cv2.cvtColor(frame, cv2.COLOR_HSV2RGB) for frame in colours])
        return raster.strip(np.where(known[..., None], painted, np.uint8(128)))

    def preprocessor(self, input_spec: InputSpec) -> Preprocessor:
        """Divides by the scale: 0 stays 0, since an encoder that was trained with colours knows nothing of pixels."""
        return FlowPreprocessor(self.scale or 1.0, validity=self.validity)


class FlowPreprocessor(Preprocessor):
    """Vectors (P, T, 2, H, W) in pixels to float32 in units of `scale`; what is not known becomes 0.

    Args:
        scale, validity: as in `FlowModality`.
    """

    def __init__(self, scale: float, *, validity: bool = False) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.validity = validity

    def forward(self, inputs: Tensor) -> Tensor:
        """(P, T, 2, H, W) pixels to (P, T, 2 or 3, H, W)."""
        pixels = inputs.float()
        known = torch.isfinite(pixels).all(-3, keepdim=True)
        values = torch.where(known, pixels / self.get_buffer("scale"), 0)
        return torch.cat([values, known.float()], -3) if self.validity else values
