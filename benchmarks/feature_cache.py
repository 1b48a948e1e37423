"""Epochs after the first with all encoders frozen: what they give kept in memory or on disk, beside encoding anew.

Text by a network of MiniLM's size and pictures of 224 × 224 by MobileNetV2, joined as vectors (concat) or as tokens and
maps (transformer). Without `--mvsa` posts and pictures are made up, without `--text` and `--image` the weights are
random.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from harness import write_pictures
from text_padding import random_weights, write_posts

from weft import load_experiment
from weft.engine.interrupt import Signals
from weft.engine.run_folder import RunFolder
from weft.engine.train import Training

NUM_POSTS, BATCH = 256, 32
FUSIONS: dict[str, Any] = {"concat": "concat", "transformer": {"type": "transformer", "dim": 256, "layers": 1}}


def made_up(root: Path) -> dict[str, Any]:
    """The data of posts and pictures that mean nothing."""
    write_posts(root, None)
    write_pictures(root, NUM_POSTS, 224)
    rows = [json.loads(line) for line in (root / "posts.jsonl").read_text().splitlines()][:NUM_POSTS]
    lines = [json.dumps({**row, "label": row["mood"], "image": f"image/{i:04}.jpg"}) for i, row in enumerate(rows)]
    (root / "posts.jsonl").write_text("\n".join(lines))
    return {"format": "table", "root": str(root), "file": "posts.jsonl"}


def start(data: dict[str, Any], where: str, fusion: str, arguments: argparse.Namespace, folder: Path) -> Training:
    """A training that is about to begin."""
    vector = {"vector": 256} if fusion == "concat" else {}
    image = {"weights": str(arguments.image), "padding": "same"} if arguments.image else {}
    experiment = load_experiment(
        {
            "name": f"{fusion}-{where}",
            "data": {**data, "size": [224, 224], "limit": NUM_POSTS},
            "modalities": {
                "text": {
                    "encoder": {"type": "huggingface", "weights": str(arguments.text), "freeze": True, **vector},
                },
                "image": {
                    "encoder": {"type": "timm", "name": "mobilenetv2_100", "freeze": True, **image, **vector},
                },
            },
            "fusion": FUSIONS[fusion],
            "tasks": {"label": {"type": "classification", "hidden": 128}},
            "train": {
                "epochs": 100,
                "batch_size": BATCH,
                "precision": arguments.precision,
                "device": "cpu",
                "output": str(folder / "runs"),
                "features": {"where": where, "folder": str(folder / f"features-{fusion}")},
            },
        }
    )
    return Training(experiment, RunFolder.create(experiment, echo=False))


def epoch(training: Training) -> float:
    """Seconds of the next epoch of training, for a thousand samples."""
    before, began = training.position.num_samples, time.perf_counter()
    training._train_epoch(Signals())
    training.position.epoch, training.position.step_in_epoch = training.position.epoch + 1, 0
    return (time.perf_counter() - began) / (training.position.num_samples - before) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mvsa", type=Path, help="a folder of MVSA")
    parser.add_argument("--text", type=Path, help="a local folder of a Hugging Face network")
    parser.add_argument("--image", type=Path, help="a file of weights of MobileNetV2")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--fusion", choices=FUSIONS, nargs="*", default=list(FUSIONS))
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    data = {"format": "mvsa", "root": str(arguments.mvsa)} if arguments.mvsa else made_up(folder)
    if arguments.text is None:
        write_posts(folder, None) if arguments.mvsa else None
        arguments.text = random_weights(folder)
    print(f"{NUM_POSTS} posts in batches of {BATCH}, {arguments.precision}, {torch.get_num_threads()} threads")
    for fusion in arguments.fusion:
        sides = {where: start(data, where, fusion, arguments, folder) for where in ("none", "memory", "disk")}
        first = {where: epoch(training) for where, training in sides.items()}
        later: dict[str, list[float]] = {where: [] for where in sides}
        for _ in range(arguments.turns):
            for where, training in sides.items():
                later[where].append(epoch(training))
        print(f"{fusion}, seconds for 1000 samples:")
        for where, times in later.items():
            ratios = sorted(slow / fast for slow, fast in zip(later["none"], times, strict=True))
            median, ratio = statistics.median(times), statistics.median(ratios)
            print(
                f"  features in {where:6}: first epoch {first[where]:6.1f}, later ones {median:6.2f}, {ratio:.1f}x "
                f"[{ratios[0]:.1f}, {ratios[-1]:.1f}] as fast",
                flush=True,
            )
        states = [training.model.state_dict() for training in sides.values()]
        same = all(torch.equal(value, state[name]) for name, value in states[0].items() for state in states[1:])
        print(f"  weights the same to the bit: {'yes' if same else 'no'}", flush=True)


if __name__ == "__main__":
    main()
