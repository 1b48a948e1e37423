"""Video files opened with suspicion: what they hold is listed first, then only the frames that are wanted are decoded.

The list of frames is made from the packets of a file, which are read and not decoded. A wanted frame is reached from
the last key frame before it, by seeking to that, so neither time nor memory goes by the length of a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from weft.data.rasterfile import first_bytes
from weft.data.timeline import Timeline
from weft.modalities.base import BadCell
from weft.optional import require

#: Endings of video files that weft reads; what a file is, is told by its first bytes.
VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".webm", ".mkv")

#: What the packets and frames of a file may be short of what it declares, as a share and in seconds: durations are
#: rounded, and the last packet of a sound is often not full.
_SHORT = (0.02, 0.5)

#: Lists of frames that are kept in memory: an hour at 25 frames a second is 1.6 MB.
_LISTS = 64

#: Marks of containers: (where they stand, the mark, FFmpeg's name of the container).
_CONTAINERS: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyp", "mov"),
    (4, b"moov", "mov"),
    (4, b"mdat", "mov"),
    (4, b"wide", "mov"),
    (4, b"free", "mov"),
    (8, b"AVI ", "avi"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
)


@dataclass(frozen=True)
class VideoFile:
    """What a file declares, and the list of its frames.

    Attributes:
        path: of the file.
        container: mov (also mp4), avi or matroska (also webm).
        size: (H, W) as stored, before it is turned upright.
        timeline: its frames, numbered from 0 in the order in which they are shown.
        ticks: (n,) when each is shown, in the file's own unit; in avi, where such times mean nothing, its number.
        keys: (k,) places of the frames from which decoding can begin, rising.
        key_ticks: (k,) what to seek for to reach them.
        square: whether its pixels are.
    """

    path: Path
    container: str
    size: tuple[int, int]
    timeline: Timeline
    ticks: np.ndarray
    keys: np.ndarray
    key_ticks: np.ndarray
    square: bool

    @property
    def varies(self) -> bool:
        """Whether some frames are shown clearly longer than others."""
        lengths = np.diff(self.timeline.times)
        return len(lengths) > 1 and bool(lengths.max() > 1.5 * lengths.min())

    def frames(self, places: Sequence[int]) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 of each of some places, which do not fall; upright.

        Raises:
            BadCell: a frame cannot be decoded whole.
        """
        with _opened(self.path, self.container) as file:
            stream = _video_of(file, self.path)
            stream.codec_context.thread_count = 1  # the loader has a process for every core
            decoded: Iterator[tuple[int, Any]] = iter(())
            at, last, pixels = -1, -1, np.empty(0)
            for place in places:
                if place == last:
                    yield pixels
                    continue
                key = int(np.searchsorted(self.keys, place, side="right")) - 1
                if at < 0 or self.keys[max(key, 0)] > at:
                    decoded = self._from(file, stream, max(key, 0))
                found = next(((number, frame) for number, frame in decoded if number >= place), None)
                if found is None or found[0] != place or found[1].is_corrupt:
                    raise cut_off(self.path, f"frame {place} of {len(self.ticks)} cannot be decoded")
                at, last, pixels = place, place, _upright(found[1], self.path)
                yield pixels

    def _from(self, file: Any, stream: Any, key: int) -> Iterator[tuple[int, Any]]:
        """(place, frame) of all frames from a key frame on, in the order in which they are shown."""
        file.seek(int(self.key_ticks[key]), stream=stream)
        for count, frame in enumerate(file.decode(stream)):
            if self.container == "avi":
                yield int(self.keys[key]) + count, frame
                continue
            place = int(np.searchsorted(self.ticks, frame.pts)) if frame.pts is not None else -1
            if 0 <= place < len(self.ticks) and self.ticks[place] == frame.pts:
                yield place, frame  # others are not meant to be shown: an edit of the file leaves them out


def open_video(path: Path) -> VideoFile:
    """List the frames of an mp4, mov, avi, webm or mkv file; of one that has not changed, from memory.

    Raises:
        BadCell: missing, empty, of another type, without pictures, without a frame, or cut off.
        WeftError: the decoder is not installed.
    """
    first_bytes(path)  # says what is wrong with one that is missing or empty
    status = os.stat(path)
    return _listed(path, status.st_mtime_ns, status.st_size)


def container_of(head: bytes) -> str | None:
    """FFmpeg's name of the container that a file with these first bytes is; None: none that is read."""
    return next((name for start, mark, name in _CONTAINERS if head[start : start + len(mark)] == mark), None)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A file opened for decoding; what the decoder raises becomes a `BadCell`.

    Raises:
        BadCell: missing, empty, of another type, or damaged.
        WeftError: the decoder is not installed.
    """
    head = first_bytes(path)
    container = container_of(head)
    if container is None:
        text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
        what = "a web page, not a video; a download has failed" if text.startswith(b"<") else "no video that is read"
        raise BadCell("not-a-video", f"{path} is {what}; mp4, mov, avi, webm and mkv are, and folders of pictures")
    with _opened(path, container) as file:
        yield file


def falls_short(seconds: float, declared: float) -> bool:
    """Whether what is there is clearly less than a file declares."""
    return seconds < declared * (1 - _SHORT[0]) - _SHORT[1]


def cut_off(path: Path, reason: str) -> BadCell:
    """The fault of a file that is not whole."""
    return BadCell("truncated-video", f"{path} is cut off or damaged ({reason}); copy it again or remove its row")


@contextmanager
def _opened(path: Path, container: str) -> Iterator[Any]:
    decoder = require("av", extra="video")
    try:
        # a container may name other files and addresses; nothing but this file is opened
        with decoder.open(f"file:{path}", format=container, options={"protocol_whitelist": "file"}) as file:
            yield file
    except BadCell:
        raise
    except (decoder.error.FFmpegError, ValueError, IndexError) as error:
        raise cut_off(path, str(error)) from error


def _video_of(file: Any, path: Path) -> Any:
    """The stream of moving pictures; the picture on a cover is none."""
    for stream in file.streams.video:
        if "attached_pic" not in str(stream.disposition):
            return stream
    has = "only sound" if file.streams.audio else "no stream that can be decoded"
    raise BadCell("no-video", f"{path} has {has} and no pictures; use it as `audio`, or remove its row")


@lru_cache(maxsize=_LISTS)
def _listed(path: Path, date: int, num_bytes: int) -> VideoFile:
    """The list of frames of a file as it was at a date, from its packets."""
    with opened(path) as file:
        container = container_of(first_bytes(path)) or ""
        stream = _video_of(file, path)
        context = stream.codec_context
        shown: list[int] = []
        keys: list[int] = []
        end = 0.0
        for packet in file.demux():
            if not packet.size:
                continue
            if packet.is_corrupt:
                raise cut_off(path, "a packet is not whole")
            moment = packet.dts if container == "avi" or packet.pts is None else packet.pts
            if moment is None:
                raise cut_off(path, "a packet does not say when it is shown")
            end = max(end, float((moment + (packet.duration or 0)) * packet.time_base))
            if packet.stream.index == stream.index and not packet.is_discard:
                shown.append(moment)
                if packet.is_keyframe:
                    keys.append(moment)
        if not shown:
            raise BadCell("no-frames", f"{path} has no frame in its pictures; record it again or remove its row")
        begin = (file.start_time or 0) / 1_000_000
        _check_whole(path, len(shown), stream.frames, end - begin, (file.duration or 0) / 1_000_000)
        ticks, key_ticks = np.unique(shown), np.unique(keys or shown[:1])
        ratio = stream.sample_aspect_ratio
        return VideoFile(
            path,
            container,
            (int(context.height), int(context.width)),
            _timeline(ticks, stream, container, begin, end),
            ticks,
            np.searchsorted(ticks, key_ticks),
            key_ticks,
            square=not ratio or ratio == 1,
        )


def _timeline(ticks: np.ndarray, stream: Any, container: str, begin: float, end: float) -> Timeline:
    """Times in seconds from the beginning of the file on; avi has equal steps."""
    if container == "avi":
        return Timeline.of_numbers(np.arange(len(ticks)), float(stream.average_rate or 1 / stream.time_base))
    times = ticks * float(stream.time_base) - begin
    usual = float(np.median(np.diff(times))) if len(times) > 1 else float(1 / (stream.average_rate or 1))
    last = stream.duration * float(stream.time_base) - times[-1] if stream.duration else usual
    return Timeline(np.arange(len(times)), times, float(times[-1] + (last if 0 < last < 10 * usual else usual)), True)


def _check_whole(path: Path, num: int, declared: int, seconds: float, declared_seconds: float) -> None:
    """Refuse a file whose packets end before it says; a container that was never finished does not say."""
    if declared and num < declared * (1 - _SHORT[0]) - 1:
        raise cut_off(path, f"{num} of the {declared} frames that it declares are there")
    if falls_short(seconds, declared_seconds):
        raise cut_off(path, f"{seconds:.3g} of the {declared_seconds:.3g} s that it declares are there")


def _upright(frame: Any, path: Path) -> np.ndarray:
    """(H, W, 3) uint8 of a decoded frame, turned as the file says that it is to be shown."""
    turn = float(frame.rotation)
    if turn % 90:
        raise BadCell("rotation", f"{path} is to be shown turned by {turn:g} degrees; multiples of 90 are read")
    pixels: np.ndarray = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(turn / 90)))
