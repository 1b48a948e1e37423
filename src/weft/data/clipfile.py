"""Clips as they are stored: video files, folders of pictures, and arrays that a format makes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from weft.data.clipcell import split_cell
from weft.data.listing import RASTERS
from weft.data.timeline import Timeline, usual_step
from weft.data.videofile import open_video
from weft.modalities.base import BadCell, Resolve

#: Folders whose lists of files are kept in memory.
_LISTS = 1024

_NUMBER = re.compile(r"(\d+)\D*$")


class Clip(Protocol):
    """Frames that can be had one by one."""

    @property
    def timeline(self) -> Timeline:
        """All of them."""

    def frames(self, places: Sequence[int]) -> Iterator[Path | np.ndarray]:
        """The file or array (H, W) or (H, W, C) of each of some places in the timeline, which do not fall."""


@dataclass(frozen=True)
class FolderClip:
    """A folder, or a list, with a picture for every frame.

    Attributes:
        files: in the order of their numbers.
        timeline: numbers as the names end with them, `frame_0012.jpg` is 12; where not all have one, or two have the
            same, the places in the order of the names.
        missing: frames between the first and the last that are not there.
    """

    files: tuple[Path, ...]
    timeline: Timeline
    missing: int

    def frames(self, places: Sequence[int]) -> Iterator[Path]:
        """See `Clip`."""
        return (self.files[place] for place in places)


@dataclass(frozen=True)
class ArrayClip:
    """Frames in memory: (T, H, W), (T, H, W, C), or one value a frame, (T,)."""

    values: np.ndarray
    timeline: Timeline

    def frames(self, places: Sequence[int]) -> Iterator[np.ndarray]:
        """See `Clip`."""
        return (self.values[place] for place in places)


def part_of_clip(
    cell: Any, resolve: Resolve, *, rate: float | None = None, endings: tuple[str, ...] = RASTERS
) -> tuple[Clip, Timeline]:
    """(the clip that a cell names, those of its frames that it asks for).

    Args:
        cell: a path, which may end with a part (`a.mp4#t=2,5`), a list of the files of its frames, or an array.
        resolve: what it stands for.
        rate, endings: as in `open_clip`.

    Raises:
        BadCell: see `open_clip`; or there is no frame where the cell says.
    """
    if isinstance(cell, list | tuple):
        files = [resolve(name) for name in cell]
        clip: Clip = _of_files(tuple(file for file in files if isinstance(file, Path)), rate, "the list")
        return clip, clip.timeline
    clip = open_clip(resolve(cell), rate=rate, endings=endings)
    part = split_cell(cell)[1] if isinstance(cell, str) else None
    return clip, clip.timeline if part is None else part.of(clip.timeline, str(cell))


def open_clip(source: Path | np.ndarray, *, rate: float | None = None, endings: tuple[str, ...] = RASTERS) -> Clip:
    """List the frames of a clip.

    Args:
        source: a video file, a folder of pictures, a single picture, or an array whose first axis is the frames.
        rate: frames a second of folders and arrays; a file knows its own.
        endings: of the files in a folder that are frames, in small letters.

    Raises:
        BadCell: missing, empty, of another type, without a frame, or cut off.
        WeftError: the decoder of video files is not installed.
    """
    if isinstance(source, np.ndarray):
        if source.ndim < 1 or not len(source):
            raise BadCell(
                "no-frames", f"the array has the shape {source.shape}; its first axis is the frames, one at least"
            )
        return ArrayClip(source, Timeline.of_numbers(np.arange(len(source)), rate))
    if source.is_dir():
        return _listed(source, source.stat().st_mtime_ns, rate, endings)
    if source.suffix.lower() in endings:
        return _of_files((source,), rate, str(source))
    return open_video(source)


@lru_cache(maxsize=_LISTS)
def _listed(path: Path, date: int, rate: float | None, endings: tuple[str, ...]) -> FolderClip:
    """The frames of a folder as it was at a date."""
    with os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file())
    files = [name for name in names if os.path.splitext(name)[1].lower() in endings]
    has = f"a folder that has {', '.join(names[:3])}" if names else "an empty folder"
    return _of_files(tuple(path / name for name in files), rate, f"{path}, {has},")


def _of_files(files: Sequence[Path], rate: float | None, name: str) -> FolderClip:
    if not files:
        raise BadCell("no-frames", f"{name} has no pictures; a clip has one for every frame")
    numbers = _numbers([file.name for file in files])
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    missing = int((numbers[-1] - numbers[0]) / usual_step(numbers)) + 1 - len(numbers)
    return FolderClip(tuple(files[place] for place in order), Timeline.of_numbers(numbers, rate), max(0, missing))


def _numbers(files: Sequence[str]) -> np.ndarray:
    """(n,) the numbers that names end with, or else their places."""
    found = [_NUMBER.search(os.path.splitext(name)[0]) for name in files]
    numbers = [int(match[1]) for match in found if match and len(match[1]) < 18]  # a longer one is a hash, not a number
    if len(set(numbers)) < len(files):
        return np.arange(len(files))
    return np.array(numbers)
