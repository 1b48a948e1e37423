"""Clips: video files, folders of pictures, or arrays, as a raster for each frame that is taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from PIL import Image
from torch import Tensor

from weft.data.clipfile import Clip, FolderClip, part_of_clip
from weft.data.timeline import Timeline
from weft.data.videofile import VideoFile
from weft.modalities import raster
from weft.modalities.base import BadCell, CellKind, Facts, Geometry, Modality, Preprocessor, Resolve
from weft.modalities.image import ImageModality
from weft.registry import Range, register
from weft.types import InputSpec

#: Pixels of all frames taken of a clip: 16 s of 640 x 480 at 50 frames a second, 0.7 GB in three channels.
MAX_PIXELS = 256_000_000


@register("modality", "video")
class VideoModality(Modality):
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
        flow: its first two channels are optical flow, (x, y) in pixels of the file: mirroring, turning and scaling the
            picture change them, too.
        rate: frames a second of folders and arrays; by default what the data format declares. Files know their own.
        aligned: it shows the same scene from the same place as the other rasters of the sample, and moves with them.
        max_pixels: a clip of which more pixels would be taken, over all frames, is refused before decoding.
    """

    kind: ClassVar[str] = "video"
    cell: ClassVar[CellKind] = "clip"

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
        flow: bool = False,
        rate: Annotated[float, Range(0, open_low=True)] | None = None,
        aligned: bool = True,
        max_pixels: Annotated[int, Range(1)] = MAX_PIXELS,
    ) -> None:
        if flow and channels < 2:
            raise ValueError(f"flow has two channels, x and y, and channels is {channels}; set channels: 2")
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
        self.rate = facts.get("rate") if rate is None else rate
        self.max_pixels = max_pixels
        self.geometry = Geometry("clip", fill=self.frame.geometry.fill, aligned=aligned, vectors=flow)

    @property
    def num_channels(self) -> int:
        """Of a frame, as configured."""
        return self.frame.num_channels

    def timeline(self, cell: Any, resolve: Resolve) -> Timeline:
        """The frames of a clip, or of the part of it that a cell names.

        Raises:
            BadCell: missing, empty, of another type, cut off, or no frame where the cell says.
        """
        return self._open(cell, resolve)[1]

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """(T, H, W, channels) uint8, uint16 or float32: all frames.

        Raises:
            BadCell: see `read_frames`.
        """
        return self.read_frames(cell, resolve, self.timeline(cell, resolve))

    def read_frames(self, cell: Any, resolve: Resolve, frames: Timeline | None) -> np.ndarray:
        """(T, H, W, channels) uint8, uint16 or float32: what is shown with each of the frames that are taken.

        Raises:
            BadCell: the clip or a frame cannot be decoded, there is none for a frame that is taken, frames differ in
                size, or together they have too many pixels.
        """
        clip, own = self._open(cell, resolve)
        frames = own if frames is None else frames
        places = own.same_as(frames)
        if (places < 0).any():
            lacking = frames.numbers[places < 0]
            raise BadCell(
                "frame-missing",
                f"{_name(cell)} has no frame beside {len(lacking)} of the {len(frames)} that are taken of the sample, "
                f"the first is number {lacking[0]}: its own are {own.numbers[0]} to {own.numbers[-1]}; give clips of "
                "one length",
            )
        if isinstance(clip, VideoFile):
            self._check_pixels(cell, len(places), *clip.size)
        whole = np.searchsorted(clip.timeline.numbers, own.numbers[places])
        return self._stacked(cell, clip.frames(whole.tolist()), len(places))

    def _open(self, cell: Any, resolve: Resolve) -> tuple[Clip, Timeline]:
        """(the clip, those of its frames that the cell names)."""
        return part_of_clip(cell, resolve, rate=self.rate)

    def _stacked(self, cell: Any, sources: Iterator[Path | np.ndarray], num: int) -> np.ndarray:
        """(T, H, W, C) of `num` files or arrays, each read as a picture."""
        values: np.ndarray | None = None
        for place, source in enumerate(sources):
            frame = self.frame.read(source, _as_given)
            if values is None:
                self._check_pixels(cell, num, *frame.shape[:2])
                values = np.empty((num, *frame.shape), frame.dtype)
            if frame.shape != values.shape[1:] or frame.dtype != values.dtype:
                raise BadCell(
                    "size-mismatch",
                    f"{_name(cell)} begins with a frame of {values.shape[2]}x{values.shape[1]} pixels in "
                    f"{values.dtype}, and another has {frame.shape[1]}x{frame.shape[0]} in {frame.dtype}; a clip has "
                    "one size: bring its frames to it",
                )
            values[place] = frame
        assert values is not None, "a timeline has one frame at least"
        return values

    def _check_pixels(self, cell: Any, num: int, height: int, width: int) -> None:
        if num * height * width > self.max_pixels:
            raise BadCell(
                "too-many-pixels",
                f"{num} frames of {width}x{height} are to be taken of {_name(cell)}, {num * height * width / 1e6:.0f} "
                f"million pixels in all, and at most {self.max_pixels / 1e6:.0f} million are decoded; set "
                "data.frames.count, scale the clip down, or raise max_pixels",
            )

    def remarks(self, cell: Any, resolve: Resolve) -> list[str]:
        """Frames missing in a folder, a rate that varies, pixels that are not square, a single frame."""
        clip, own = self._open(cell, resolve)
        found = []
        if isinstance(clip, FolderClip) and clip.missing:
            found.append("frames are missing between the first and the last")
        if isinstance(clip, VideoFile) and clip.varies:
            found.append("its frames are shown for unequal times")
        if isinstance(clip, VideoFile) and not clip.square:
            found.append("its pixels are not square, and are taken as if they were")
        if len(own) == 1:
            found.append("one frame: a still")
        return found

    @property
    def wants_fit(self) -> bool:
        """Until mean, deviation and number type are known."""
        return self.frame.wants_fit

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """Mean and deviation per channel over all frames taken, and the number type that most clips have."""
        return self.frame.fit(clip.reshape(-1, *clip.shape[2:]) for clip in values)

    @property
    def reading(self) -> Facts:
        """The number type, and the rate of folders."""
        known = {} if self.rate is None else {"rate": self.rate}
        return {**self.frame.reading, **known}

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """(T, C, H, W) uint8, or float32."""
        num_frames, height = value.shape[:2]
        return raster.to_tensor(value.reshape(-1, *value.shape[2:])).unflatten(1, (num_frames, height)).movedim(1, 0)

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


def _name(cell: Any) -> str:
    return "the array" if isinstance(cell, np.ndarray) else str(cell)


def _as_given(source: Any) -> Path | np.ndarray:
    given: Path | np.ndarray = source
    return given
