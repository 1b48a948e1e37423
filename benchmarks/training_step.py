"""A training step of weft beside a bare loop over the same modules and tensors already in memory."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import torch
from feature_cache import made_up
from harness import in_turns, report, segmentation, write_pictures
from text_padding import random_weights

from weft import load_experiment
from weft.engine.run_folder import RunFolder
from weft.engine.train import Training


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

    times = in_turns({"weft": lambda: training._step([batch]), "bare loop": bare_step}, turns=turns)
    report(title, times, over="bare loop")


def compare_posts(title: str, training: Training, *, turns: int) -> None:
    """The same where a sentence and a picture are joined and both networks are trained."""
    batch = next(iter(training.data.batches("train", training=True, multiple=training.multiple)))
    training.model.train()
    bare = copy.deepcopy(training.model)
    text, image, head = bare.encoders["text"], bare.encoders["image"], bare.tasks["label"].heads["fused"]
    join = bare.fusion
    optimizer = torch.optim.AdamW(bare.parameters(), lr=1e-4)
    picture = bare.preprocessors["image"](batch.inputs["image"]).clone(memory_format=torch.channels_last)
    tokens, lengths, target = batch.inputs["text"], batch.lengths["text"], batch.targets["label"]

    def bare_step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            views = join({"text": text(tokens, lengths), "image": image(picture)})
            logits = head(views["fused"], batch.size)
        torch.nn.functional.cross_entropy(logits.float(), target).backward()
        optimizer.step()
        optimizer.zero_grad()

    times = in_turns({"weft": lambda: training._step([batch]), "bare loop": bare_step}, turns=turns)
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
        compare_posts("MobileNetV2 and MiniLM's size joined, 16 posts, bf16", posts(Path(folder)), turns=20)


if __name__ == "__main__":
    main()
