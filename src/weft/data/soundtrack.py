"""The sound of a video file, or of a part of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from weft.data.clipcell import Part
from weft.data.videofile import cut_off, falls_short, open_video, opened
from weft.modalities.base import BadCell
from weft.optional import require

#: Seconds that are decoded before a part and thrown away: a decoder needs some sound before it is at its level.
_RUN_UP = 0.2

#: Seconds beside those that are wanted, on each side: a change of rate looks at what is around.
_AROUND = 0.1

#: Which seconds of a longer sound are kept.
Cut = Literal["centre", "start"]


def read_soundtrack(
    path: Path, *, part: Part | None = None, seconds: float | None = None, cut: Cut = "centre", max_samples: int
) -> tuple[np.ndarray, int]:
    """Decode the first sound of an mp4, mov, avi, webm or mkv file.

    Args:
        path: of the file.
        part: which seconds or frames of it; of frames, from the first until the last is no longer shown. None: all.
        seconds: so many are wanted, and no more than these and a little around them is decoded, however long the file;
            None: all. A file that does not say how long its sound is, is decoded whole.
        cut: which they are.
        max_samples: where more values (samples x channels) are to be decoded, the file is refused.

    Returns:
        ((L, C) float32, its rate in Hz).

    Raises:
        BadCell: missing, cut off, without a sound, too long, or no sound where the cell says.
        WeftError: the decoder is not installed.
    """
    start, stop = (0.0, None) if part is None else _seconds(path, part)
    with opened(path) as file:
        if not file.streams.audio:
            raise BadCell("no-sound", f"{path} has no sound; leave its cell of `audio` empty")
        stream = file.streams.audio[0]
        rate, num_channels = int(stream.codec_context.sample_rate), int(stream.codec_context.layout.nb_channels)
        begin, declared = (file.start_time or 0) / 1_000_000, _duration(stream)
        whole = declared or (file.duration or 0) / 1_000_000
        end = whole if stop is None else min(stop, whole or stop)
        to_the_end = stop is None
        if seconds is not None and declared and end - start > seconds + 2 * _AROUND:
            start += (end - start - seconds) / 2 - _AROUND if cut == "centre" else 0
            end = stop = start + seconds + 2 * _AROUND
            to_the_end = True  # of what was chosen by what the file declares
        if max(0.0, end - start) * rate * num_channels > max_samples:
            raise BadCell(
                "too-long",
                f"{path} has {end - start:.4g} s of sound in {num_channels} channels at {rate} Hz, and at most "
                f"{max_samples:,} samples are decoded; name a part of it (#t=START,STOP), or raise max_samples",
            )
        first, samples = _decoded(file, stream, begin=begin, start=start, stop=stop, most=max_samples)
        reached = (first + len(samples)) / rate
        if to_the_end and declared and falls_short(reached - start, end - start):
            raise cut_off(path, f"{max(0.0, reached):.3g} of the {declared:.3g} s of sound are there")
    low = max(0, round(start * rate) - first)
    high = len(samples) if stop is None else max(0, round(stop * rate) - first)
    if not len(samples[low:high]):
        raise BadCell("empty-sound", f"{path} has no sound there; correct what stands behind the #, or empty the cell")
    return samples[low:high], rate


def _duration(stream: Any) -> float:
    """Seconds that a stream declares, in Matroska by its tag; 0 where it does not."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    words = stream.metadata.get("DURATION", "").split(":")
    try:
        hours, minutes, seconds = (float(word) for word in words)
    except ValueError:
        return 0.0
    return 3600 * hours + 60 * minutes + seconds


def _seconds(path: Path, part: Part) -> tuple[float, float | None]:
    """(start, stop) of a part in seconds."""
    if part.unit == "t":
        return part.start or 0.0, part.stop
    frames = part.of(open_video(path).timeline, str(path))
    return float(frames.times[0]), frames.end


def _decoded(
    file: Any, stream: Any, *, begin: float, start: float, stop: float | None, most: int
) -> tuple[int, np.ndarray]:
    """(place of the first sample from the beginning of the file on, (L, C) samples until `stop` or the end).

    What is decoded before `start`, from the key frame that could be reached, is thrown away piece by piece.
    """
    rate = int(stream.codec_context.sample_rate)
    as_floats = require("av", extra="video").AudioResampler("fltp", stream.codec_context.layout, rate)
    if start:
        file.seek(int((max(0.0, start - _RUN_UP) + begin) * 1_000_000))
    chunks: list[np.ndarray] = []
    first, num_values = 0, 0
    for frame in file.decode(stream):
        since = (frame.time or begin) - begin
        for piece in as_floats.resample(frame):
            if since + piece.samples / rate <= start:
                continue
            if not chunks:
                first = round(since * rate)
            chunks.append(piece.to_ndarray().T)
            num_values += chunks[-1].size
        ended = stop is not None and since >= stop
        if ended or num_values > most:  # more than was declared: memory is bounded by what was judged
            break
    nothing = np.zeros((0, int(stream.codec_context.layout.nb_channels)), np.float32)
    return first, np.concatenate([nothing, *chunks])
