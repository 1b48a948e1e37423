"""Small video files whose frames are told by their brightness."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av")

#: Grey levels between a frame and the next: what a codec loses is less than half of it.
STEP = 8

_SOUND = {".mp4": "aac", ".webm": "libopus"}


def encode(
    path: Path,
    *,
    num: int = 30,
    codec: str = "libx264",
    size: tuple[int, int] = (32, 48),
    rate: int = 10,
    milliseconds: list[int] | None = None,
    sound: bool = False,
    pictures: bool = True,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a file with a key frame every 12 frames; the sound is a tone of 440 Hz as long as the pictures."""
    unit = Fraction(1, rate) if milliseconds is None else Fraction(1, 1000)
    with av.open(str(path), "w", options=options or {}) as file:
        video: Any = file.add_stream(codec, rate=rate) if pictures else None
        audio: Any = file.add_stream(_SOUND[path.suffix], rate=48000, layout="mono") if sound else None
        if pictures:
            video.height, video.width = size
            video.pix_fmt, video.codec_context.gop_size = "yuv420p", 12
            if milliseconds is not None:
                video.codec_context.time_base = unit
        for number in range(num if pictures else 0):
            frame = av.VideoFrame.from_ndarray(np.full((*size, 3), STEP * (number % 30), np.uint8), format="rgb24")
            frame.pts, frame.time_base = number if milliseconds is None else milliseconds[number], unit
            file.mux(video.encode(frame))
        if pictures:
            file.mux(video.encode(None))
        if sound:
            wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48000 * num // rate) / 48000)
            tone = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
            tone.sample_rate, tone.pts = 48000, 0
            file.mux(audio.encode(tone))
            file.mux(audio.encode(None))
    return path


def numbers_of(frames: Any) -> list[int]:
    """Which frame each is, by its brightness."""
    return [round(float(np.mean(frame)) / STEP) for frame in frames]
