"""Time and memory of reading sixteen frames, and a few seconds of sound, of files of a minute, ten minutes and an hour.

Each reading has a process of its own, which reads a file of two seconds first, so that what grows is what the reading
takes and not what the libraries do. Frames spread over the file, a dense window near its end, and its sound.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from weft.data.frames import choose
from weft.experiment import Frames
from weft.modalities.audio import AudioModality
from weft.modalities.video import VideoModality

RATE, SOUND_RATE, TAKEN, KEPT = 10, 16_000, 16, 4
SIZE = (64, 96)


def write_file(path: Path, seconds: int) -> Path:
    """H.264 of moving noise with a key frame every two seconds, and AAC of a tone."""
    wide = np.random.default_rng(0).integers(0, 255, (SIZE[0], 2 * SIZE[1], 3), dtype=np.uint8)
    tone = np.sin(2 * np.pi * 440 * np.arange(SOUND_RATE) / SOUND_RATE).astype(np.float32)[None]
    with av.open(str(path), "w") as file:
        pictures = file.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        pictures.height, pictures.width = SIZE
        pictures.pix_fmt, pictures.codec_context.gop_size = "yuv420p", 2 * RATE
        sound = file.add_stream("aac", rate=SOUND_RATE, layout="mono")
        for second in range(seconds):
            for number in range(second * RATE, (second + 1) * RATE):
                shown = np.ascontiguousarray(wide[:, number % SIZE[1] :][:, : SIZE[1]])
                frame = av.VideoFrame.from_ndarray(shown, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, RATE)
                file.mux(pictures.encode(frame))
            heard = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            heard.sample_rate, heard.pts = SOUND_RATE, second * SOUND_RATE
            file.mux(sound.encode(heard))
        file.mux(pictures.encode(None))
        file.mux(sound.encode(None))
    return path


def frames_of(path: Path, config: Frames, part: str = "") -> np.ndarray:
    """(16, H, W, 3) uint8."""
    field, cell = VideoModality({}), f"{path}{part}"
    taken = choose(field.timeline(cell, lambda _: path), config)
    return field.read_frames(cell, lambda _: path, taken)


def sound_of(path: Path, part: str = "") -> np.ndarray:
    """(L,) float32 of four seconds."""
    return AudioModality({}, sample_rate=SOUND_RATE, seconds=KEPT).read(f"{path}{part}", lambda _: path)


def near_the_end(seconds: int) -> str:
    return f"#t={max(0, seconds - 10)},{seconds}"


READINGS = {
    "frames spread": lambda path, _: frames_of(path, Frames(count=TAKEN)),
    "frames, window near the end": lambda path, seconds: frames_of(
        path, Frames(sampling="window", count=TAKEN), near_the_end(seconds)
    ),
    "sound, centre": lambda path, _: sound_of(path),
    "sound near the end": lambda path, seconds: sound_of(path, near_the_end(seconds)),
}


def forget_highest() -> None:
    """Let the highest memory of the process be counted from now on (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def highest() -> float:
    """MB that the process has held at most."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6


def read(what: str, path: Path, seconds: int, short: Path) -> None:
    """Print what one reading takes."""
    READINGS[what](short, 2)
    forget_highest()
    before, began = highest(), time.perf_counter()
    value = READINGS[what](path, seconds)
    took, after = time.perf_counter() - began, highest()
    again = time.perf_counter()
    READINGS[what](path, seconds)
    print(
        f"{seconds:5} s  {what:28} {1000 * took:7.0f} ms, again {1000 * (time.perf_counter() - again):6.0f} ms;  "
        f"{value.nbytes / 1e6:5.2f} MB read, the process grew by {after - before:5.2f} MB to {after:.0f} MB",
        flush=True,
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        short = write_file(Path(folder) / "short.mp4", 2)
        for seconds in (60, 600, 3600):
            began = time.perf_counter()
            path = write_file(Path(folder) / f"{seconds}.mp4", seconds)
            size = path.stat().st_size / 1e6
            print(f"{seconds} s: {size:.1f} MB, written in {time.perf_counter() - began:.0f} s", flush=True)
            for what in READINGS:
                subprocess.run([sys.executable, __file__, what, str(path), str(seconds), str(short)], check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        read(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
