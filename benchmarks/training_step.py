"""A training step of weft beside a bare loop over the same modules and tensors already in memory."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import torch
from harness import in_turns, report, segmentation, write_pictures

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


if __name__ == "__main__":
    main()
