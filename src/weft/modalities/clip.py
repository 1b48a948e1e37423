"""What all modalities with frames share: the frames of a cell read one by one, and stacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from weft.data.clipfile import Clip, FolderClip, part_of_clip
from weft.data.listing import RASTERS
from weft.data.timeline import Timeline
from weft.data.videofile import VideoFile
from weft.modalities import raster
from weft.modalities.base import BadCell, CellKind, Modality, Resolve

#: Pixels of all frames taken of a clip: 16 s of 640 x 480 at 50 frames a second, 0.7 GB in three channels.
MAX_PIXELS = 256_000_000


class ClipReader:
    """Reads the frames that are taken of a cell: a video file, a folder with a file for every frame, or an array.

    Args:
        read_frame: (H, W, C) of the file or the array of one frame.
        rate: frames a second of folders and arrays; None: not known. Files know their own.
        max_pixels: a clip of which more pixels would be taken, over all frames, is refused before decoding.
        endings: of the files in a folder that are frames, in small letters.
    """

    def __init__(
        self,
        read_frame: Callable[[Path | np.ndarray], np.ndarray],
        *,
        rate: float | None,
        max_pixels: int,
        endings: Sequence[str] = RASTERS,
    ) -> None:
        self.read_frame = read_frame
        self.rate = rate
        self.max_pixels = max_pixels
        self.endings = tuple(endings)

    def open(self, cell: Any, resolve: Resolve) -> tuple[Clip, Timeline]:
        """(the clip, those of its frames that the cell names).

        Raises:
            BadCell: missing, empty, of another type, cut off, or no frame where the cell says.
        """
        return part_of_clip(cell, resolve, rate=self.rate, endings=self.endings)

    def read_frames(self, cell: Any, resolve: Resolve, frames: Timeline | None) -> np.ndarray:
        """(T, H, W, C): what is shown with each of the frames that are taken.

        Raises:
            BadCell: the clip or a frame cannot be decoded, there is none for a frame that is taken, frames differ in
                size, or together they have too many pixels.
        """
        clip, own = self.open(cell, resolve)
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

    def _stacked(self, cell: Any, sources: Iterator[Path | np.ndarray], num: int) -> np.ndarray:
        """(T, H, W, C) of `num` files or arrays, each read as a frame."""
        values: np.ndarray | None = None
        for place, source in enumerate(sources):
            frame = self.read_frame(source)
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
        clip, own = self.open(cell, resolve)
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


class ClipModality(Modality):
    """A modality with frames, read by a `reader`.

    Attributes:
        reader: of its cells.
    """

    kind: ClassVar[str] = "video"
    cell: ClassVar[CellKind] = "clip"
    reader: ClipReader

    def timeline(self, cell: Any, resolve: Resolve) -> Timeline:
        """The frames of a clip, or of the part of it that a cell names.

        Raises:
            BadCell: missing, empty, of another type, cut off, or no frame where the cell says.
        """
        return self.reader.open(cell, resolve)[1]

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """(T, H, W, C) of all frames that its cell names.

        Raises:
            BadCell: see `read_frames`.
        """
        return self.read_frames(cell, resolve, None)

    def read_frames(self, cell: Any, resolve: Resolve, frames: Timeline | None) -> np.ndarray:
        """(T, H, W, C): what is shown with each of the frames that are taken.

        Raises:
            BadCell: see `ClipReader.read_frames`.
        """
        return self.reader.read_frames(cell, resolve, frames)

    def remarks(self, cell: Any, resolve: Resolve) -> list[str]:
        """See `ClipReader.remarks`."""
        return self.reader.remarks(cell, resolve)


def to_tensor(value: np.ndarray) -> Tensor:
    """(T, C, H, W) of (T, H, W, C), the number types as in `raster.to_tensor`."""
    num_frames, height = value.shape[:2]
    return raster.to_tensor(value.reshape(-1, *value.shape[2:])).unflatten(1, (num_frames, height)).movedim(1, 0)


def _name(cell: Any) -> str:
    return "the array" if isinstance(cell, np.ndarray) else str(cell)
