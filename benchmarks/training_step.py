"""A training step of weft beside a bare loop over the same modules and tensors already in memory.

`--processor-time` counts the time that the process computes, where others work on the machine, too.
"""

from __future__ import annotations

import copy
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from feature_cache import made_up
from harness import in_turns, report, segmentation, write_pictures
from PIL import Image
from text_padding import random_weights

from weft import load_experiment
from weft.engine.run_folder import RunFolder
from weft.engine.train import Training

#: What tells the time.
CLOCK = time.process_time if "--processor-time" in sys.argv else time.perf_counter


def compare(title: str, training: Training, *, turns: int) -> None:
    batch = next(iter(training.data.batches("train", training=True, multiple=training.multiple)))
    (task,) = training.model.tasks
    training.model.train()
    bare = copy.deepcopy(training.model)
    encoder, head = bare.encoders["image"], bare.tasks[task]
    optimizer = torch.optim.AdamW(bare.parameters(), lr=1e-4)
    inputs = bare.preprocessors["image"](batch.inputs["image"]).clone(memory_format=torch.channels_last)
    target = batch.targets[task]

    def bare_step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            logits = head(encoder(inputs).only(bare.levels["image"]), view="image", size=batch.size)
        total, count = head.loss(logits, target)
        (total / count).backward()
        optimizer.step()
        optimizer.zero_grad()

    times = in_turns({"weft": lambda: training._step([batch]), "bare loop": bare_step}, turns=turns, clock=CLOCK)
    report(title, times, over="bare loop")


def compare_joined(title: str, training: Training, *, turns: int) -> None:
    """The same where several modalities are joined to answer one class, and all networks are trained."""
    batch = next(iter(training.data.batches("train", training=True, multiple=training.multiple)))
    training.model.train()
    bare = copy.deepcopy(training.model)
    head, join = bare.tasks["label"].heads["fused"], bare.fusion
    optimizer = torch.optim.AdamW(bare.parameters(), lr=1e-4)
    inputs = {name: bare.preprocessors[name](one) for name, one in batch.inputs.items()}
    inputs["image"] = inputs["image"].clone(memory_format=torch.channels_last)
    lengths, target = batch.lengths, batch.targets["label"]

    def bare_step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            views = join({name: bare.encoders[name](one, lengths.get(name)) for name, one in inputs.items()})
            logits = head(views["fused"], batch.size)
        torch.nn.functional.cross_entropy(logits.float(), target).backward()
        optimizer.step()
        optimizer.zero_grad()

    times = in_turns({"weft": lambda: training._step([batch]), "bare loop": bare_step}, turns=turns, clock=CLOCK)
    report(title, times, over="bare loop")


def posts(folder: Path) -> Training:
    """MobileNetV2 and a BERT of MiniLM's size, both trained, side by side into one class."""
    experiment = load_experiment(
        {
            "name": "posts",
            "data": {**made_up(folder), "size": [224, 224]},
            "modalities": {
                "text": {"encoder": {"type": "huggingface", "weights": str(random_weights(folder)), "vector": 256}},
                "image": {"encoder": {"type": "timm", "name": "mobilenetv2_100", "vector": 256}},
            },
            "fusion": "concat",
            "tasks": {"label": {"type": "classification"}},
            "train": {"epochs": 1000, "batch_size": 16, "precision": "bf16", "output": str(folder / "runs")},
        }
    )
    return Training(experiment, RunFolder.create(experiment, echo=False))


def clips(folder: Path) -> Training:
    """Clips of eight frames through ResNet-18 and a GRU, and a still beside each, by `dtl` into one class."""
    generator = np.random.default_rng(0)
    rows = ["id,split,clip,image,label"]
    for number in range(16):
        (folder / f"{number}").mkdir()
        for place in range(9):
            coarse = generator.integers(0, 255, (6, 6, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC)
            picture.save(folder / (f"{number}/{place}.jpg" if place < 8 else f"{number}.jpg"))
        rows.append(f"{number},train,{number},{number}.jpg,{'ab'[number % 2]}")
    (folder / "clips.csv").write_text("\n".join(rows))
    frames = {"type": "frames", "backbone": {"type": "timm", "name": "resnet18"}, "cell": "gru", "pooling": "attention"}
    experiment = load_experiment(
        {
            "name": "clips",
            "data": {"format": "table", "root": str(folder), "file": "clips.csv", "size": [96, 96], "workers": 0},
            "modalities": {
                "clip": {"type": "video", "encoder": frames},
                "image": {"encoder": {"type": "timm", "name": "resnet18", "vector": 128}},
            },
            "fusion": {"type": "dtl", "dim": 128, "heads": 4},
            "tasks": {"label": {"type": "classification"}},
            "train": {"epochs": 1000, "batch_size": 8, "precision": "bf16", "output": str(folder / "runs")},
        }
    )
    return Training(experiment, RunFolder.create(experiment, echo=False))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), 24, 256)
        large = segmentation(Path(folder), size=256, train__epochs=1000)  # more steps than are timed
        run = RunFolder.create(large, echo=False)
        compare("ResNet-18 DeepLabV3+, 8 x 256 x 256, bf16", Training(large, run), turns=20)
        small = segmentation(
            Path(folder),
            size=96,
            modalities__image={"encoder": {"type": "timm", "name": "mobilenetv3_small_050", "freeze_bn": True}},
            tasks__label__decoder={"type": "unet", "channels": [16, 16, 16, 16]},
            train__batch_size=4,
            train__epochs=1000,
        )
        compare(
            "MobileNetV3-small 0.5 U-Net, 4 x 96 x 96, bf16",
            Training(small, RunFolder.create(small, echo=False)),
            turns=100,
        )
    with tempfile.TemporaryDirectory() as folder:
        compare_joined("MobileNetV2 and MiniLM's size joined, 16 posts, bf16", posts(Path(folder)), turns=20)
    with tempfile.TemporaryDirectory() as folder:
        compare_joined("8 clips of 8 frames of 96 x 96 and stills by dtl, bf16", clips(Path(folder)), turns=20)


if __name__ == "__main__":
    main()
