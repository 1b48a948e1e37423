"""Eight frames of a video file by seeking, and by decoding the whole file with PyAV and throwing the others away."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from harness import in_turns, report

from weft.data import frames, videofile
from weft.experiment import Frames

RATE, TAKEN, TURNS = 25, 8, 5
SIZE = (240, 320)


def write_video(path: Path, seconds: int) -> None:
    """H.264 with a key frame every 48 frames: slowly moving blobs, so that frames depend on one another."""
    coarse = np.random.default_rng(0).integers(0, 255, (SIZE[0] // 20, 2 * SIZE[1] // 20, 3), dtype=np.uint8)
    wide = np.kron(coarse, np.ones((20, 20, 1), np.uint8))
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        stream.height, stream.width = SIZE
        stream.pix_fmt, stream.codec_context.gop_size = "yuv420p", 48
        for number in range(seconds * RATE):
            left = number % SIZE[1]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(wide[:, left : left + SIZE[1]]), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def read_all(path: Path, wanted: set[int]) -> list[np.ndarray]:
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        stream.codec_context.thread_count = 1
        return [
            frame.to_ndarray(format="rgb24") for number, frame in enumerate(file.decode(stream)) if number in wanted
        ]


def by_seeking(path: Path, config: Frames, *, listed: bool) -> list[np.ndarray]:
    if not listed:
        videofile._listed.cache_clear()
    found = videofile.open_video(path)
    return list(found.frames(frames.choose(found.timeline, config).numbers.tolist()))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (10, 120):
            path = Path(folder) / f"{seconds}.mp4"
            write_video(path, seconds)
            for config in (Frames(count=TAKEN), Frames(sampling="window", count=TAKEN)):
                wanted = by_seeking(path, config, listed=False)
                numbers = frames.choose(videofile.open_video(path).timeline, config).numbers.tolist()
                assert all(map(np.array_equal, wanted, read_all(path, set(numbers))))
                times = in_turns(
                    {
                        "reading all": lambda path=path, numbers=numbers: read_all(path, set(numbers)),
                        "weft, first time": lambda path=path, config=config: by_seeking(path, config, listed=False),
                        "weft, listed": lambda path=path, config=config: by_seeking(path, config, listed=True),
                    },
                    turns=TURNS,
                    warmup=1,
                )
                report(f"{TAKEN} frames of {seconds} s, {config.sampling}", times, over="reading all")


if __name__ == "__main__":
    main()
