"""A step in bf16 and in fp32 on several networks, and what `precision: auto` picks."""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness import segmentation, write_pictures

from weft.engine.precision import fastest_precision
from weft.engine.run_folder import RunFolder
from weft.engine.train import Training

NETWORKS = ("resnet18", "mobilenetv2_100", "efficientnet_b0", "convnext_atto", "mobilenetv3_small_050")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), 16, 256)
        for name in NETWORKS:
            encoder = {"type": "timm", "name": name}
            experiment = segmentation(Path(folder), size=256, modalities__image={"encoder": encoder})
            training = Training(experiment, RunFolder.create(experiment, echo=False))
            batch = next(iter(training.data.batches("train", training=True, multiple=training.multiple)))
            choice, seconds = fastest_precision(training.model, batch, repeats=5)
            ratio = seconds["fp32"] / seconds["bf16"]
            times = ", ".join(f"{precision} {time * 1000:.0f} ms" for precision, time in seconds.items())
            print(f"{name:24} {times}: bf16 is {ratio:.2f} times as fast; auto picks {choice}", flush=True)


if __name__ == "__main__":
    main()
