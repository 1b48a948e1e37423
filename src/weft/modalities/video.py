"""Clips: video files, folders of pictures, or arrays, as a raster for each frame that is taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.metrics.motion import motion_back
from weft.modalities import clip, raster
from weft.modalities.base import Facts, Geometry, Preprocessor
from weft.modalities.image import ImageModality
from weft.registry import Range, register
from weft.types import InputSpec


@register("modality", "video")
class VideoModality(clip.ClipModality):
    """A clip: an mp4, mov, avi, webm or mkv file, or a folder with a picture for every frame.

    A single picture is a clip of one frame.

    Which frames are taken says `data.frames`, for all that a sample has. A frame is read, normalised and jittered as
    a picture of `image` is; what is random is drawn once for all frames of a clip. A cell may name a part of a clip:
    `a.mp4#t=2,5` the seconds from 2 until before 5, `frames/a#frames=0:16:2` every second frame of those numbered from
    0 until before 16.

    Args:
        channels: of a frame. Grey and colour become one another by rule; other counts must be in the files.
        mean: per channel, in [0, 1] for whole numbers.
        std: per channel, likewise.
        brightness: in training, brightness is multiplied by a factor in 1 ± this.
        contrast: in training, the distance from the mean brightness is multiplied by a factor in 1 ± this.
        saturation: in training, the distance from grey is multiplied by a factor in 1 ± this.
        hue: in training, hues are turned by up to this share of the colour circle.
        rate: frames a second of folders and arrays; by default what the data format declares. Files know their own.
        aligned: it shows the same scene from the same place as the other rasters of the sample, and moves with them.
        max_pixels: a clip of which more pixels would be taken, over all frames, is refused before decoding.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        channels: Annotated[int, Range(1)] = 3,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        brightness: Annotated[float, Range(0, 1)] = 0.0,
        contrast: Annotated[float, Range(0, 1)] = 0.0,
        saturation: Annotated[float, Range(0, 1)] = 0.0,
        hue: Annotated[float, Range(0, 0.5)] = 0.0,
        rate: Annotated[float, Range(0, open_low=True)] | None = None,
        aligned: bool = True,
        max_pixels: Annotated[int, Range(1)] = clip.MAX_PIXELS,
    ) -> None:
        self.facts = facts
        self.frame = ImageModality(
            facts,
            channels=channels,
            mean=mean,
            std=std,
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=hue,
            aligned=aligned,
            max_pixels=max_pixels,
        )
        self.reader = clip.ClipReader(
            self._read_frame,
            rate=facts.get("rate") if rate is None else rate,
            max_pixels=max_pixels,
        )
        self.geometry = Geometry("clip", fill=self.frame.geometry.fill, aligned=aligned)

    @property
    def num_channels(self) -> int:
        """Of a frame, as configured."""
        return self.frame.num_channels

    def _read_frame(self, source: Path | np.ndarray) -> np.ndarray:
        return self.frame.read(source, lambda _: source)

    def motion_back(self, frames: Tensor, numbers: Sequence[int]) -> np.ndarray:
        """See `Modality.motion_back`: found between the frames that are taken, by dense inverse search.

        Raises:
            ValueError: the frames have not 8 bits, or are too small.
        """
        if frames.dtype != torch.uint8:
            raise ValueError(f"motion is looked for in clips of 8 bits, and its frames hold {frames.dtype}")
        return motion_back(frames.movedim(1, -1).numpy())

    @property
    def wants_fit(self) -> bool:
        """Until mean, deviation and number type are known."""
        return self.frame.wants_fit

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """Mean and deviation per channel over all frames taken, and the number type that most clips have."""
        return self.frame.fit(frames.reshape(-1, *frames.shape[2:]) for frames in values)

    @property
    def reading(self) -> Facts:
        """The number type, and the rate of folders."""
        known = {} if self.reader.rate is None else {"rate": self.reader.rate}
        return {**self.frame.reading, **known}

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """(T, C, H, W) uint8, or float32."""
        return clip.to_tensor(value)

    def draw(self, value: np.ndarray) -> Image.Image:
        """A strip of frames, evenly spaced over the clip, from left to right."""
        return raster.strip(value)

    def preprocessor(self, input_spec: InputSpec) -> Preprocessor:
        """Normalises, and jitters colours in training mode."""
        return ClipPreprocessor(self.frame.preprocessor(input_spec))


class ClipPreprocessor(Preprocessor):
    """Clips (P, T, C, H, W) to normalised ones: what is random is drawn once for a clip.

    Args:
        frame: the same for pictures (P, C, H, W).
    """

    def __init__(self, frame: Preprocessor) -> None:
        super().__init__()
        self.frame = frame

    def forward(self, inputs: Tensor) -> Tensor:
        """(P, T, C, H, W) to float32: the frames of a clip below one another are one picture to `frame`."""
        num_frames, height = inputs.shape[1], inputs.shape[3]
        tall: Tensor = self.frame(inputs.movedim(2, 1).flatten(2, 3))  # (P, C, T * H, W)
        return tall.unflatten(2, (num_frames, height)).movedim(1, 2)

    @property
    def random(self) -> bool:
        """Whether colours are jittered."""
        return self.frame.random
