"""A live stream of 10,000 frames: frames a second, the memory of the process and the size of the state on the way.

A clip of 64 x 64 pixels and a still beside it, through MobileNetV3 small, a GRU over the frames and `dtl`, all causal;
the weights mean nothing. Beside it the same run answering whole clips of growing length: what each further frame would
cost if the clip so far were looked at again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import weft
from weft import Predictor, StreamingPredictor, load_experiment

SIDE = 64


def write_clips(root: Path) -> None:
    """Four clips of four frames that mean nothing."""
    generator = np.random.default_rng(0)
    lines = []
    for number in range(4):
        folder = root / f"clip{number}"
        folder.mkdir()
        for place in range(4):
            Image.fromarray(frame(generator)).save(folder / f"{place}.png")
        Image.fromarray(frame(generator)).save(root / f"{number}.png")
        row = {
            "id": str(number),
            "split": "train",
            "clip": folder.name,
            "still": f"{number}.png",
            "what": "ab"[number % 2],
        }
        lines.append(json.dumps(row))
    (root / "clips.jsonl").write_text("\n".join(lines))


def frame(generator: np.random.Generator) -> np.ndarray:
    return generator.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)


def trained(root: Path) -> Path:
    """The folder of a run of one step."""
    backbone = {"type": "timm", "name": "mobilenetv3_small_050"}
    write_clips(root)
    content = {
        "name": "stream",
        "data": {"format": "table", "root": str(root), "file": "clips.jsonl", "size": [SIDE, SIDE], "workers": 0},
        "modalities": {
            "clip": {
                "type": "video",
                "encoder": {"type": "frames", "backbone": backbone, "cell": "gru", "causal": True},
            },
            "still": {"type": "image", "encoder": {**backbone, "vector": 64}},
        },
        "fusion": {"type": "dtl", "dim": 64, "heads": 4, "causal": True},
        "tasks": {"what": {"type": "classification"}},
        "train": {"epochs": 1, "batch_size": 4, "precision": "fp32", "device": "cpu", "output": str(root / "runs")},
    }
    return weft.train(load_experiment(content), progress=False)


def resident() -> float:
    """Memory of the process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    arguments = parser.parse_args()
    run = trained(Path(tempfile.mkdtemp()))
    generator = np.random.default_rng(1)
    frames, still = [frame(generator) for _ in range(50)], frame(generator)
    stream = StreamingPredictor(run)
    state = stream.start(still=still)
    began = time.perf_counter()
    for number in range(1, arguments.frames + 1):
        _, state = stream.step(state, clip=frames[number % len(frames)])
        if number % (arguments.frames // 10) == 0:
            seconds, began = time.perf_counter() - began, time.perf_counter()
            held = [*state.encoders.values(), *([] if state.fusion is None else [state.fusion])]
            size = sum(value.numel() * value.element_size() for memory in held for value in memory.values())
            rate = arguments.frames / 10 / seconds
            print(f"{number:6} frames: {rate:6.1f} a second, {resident():7.1f} MB, state {size} bytes", flush=True)
    whole = Predictor(run)
    for length in (10, 100, 1000):
        clip = np.stack([frames[number % len(frames)] for number in range(length)])
        began = time.perf_counter()
        whole(clip=clip, still=still)
        print(f"a clip of {length} frames at once: {1000 * (time.perf_counter() - began):.0f} ms", flush=True)


if __name__ == "__main__":
    main()
