"""An epoch from files, cache cold and warm, beside the bare loop over tensors in memory."""

from __future__ import annotations

import copy
import tempfile
import time
from pathlib import Path

import torch
from harness import segmentation, write_pictures

from weft.engine.interrupt import Signals
from weft.engine.run_folder import RunFolder
from weft.engine.train import Training

PICTURES, ROUNDS = 96, 3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), PICTURES, 256)
        for where in ("none", "memory"):
            experiment = segmentation(Path(folder), size=256, data__cache={"where": where})
            training = Training(experiment, RunFolder.create(experiment, echo=False))
            batches = list(training.data.batches("train", training=True, multiple=training.multiple))
            bare = copy.deepcopy(training.model)
            bare.train()
            head = bare.tasks["label"]
            optimizer = torch.optim.AdamW(bare.parameters(), lr=1e-4)
            tensors = [(bare.preprocessors["image"](b.inputs["image"]), b.targets["label"]) for b in batches]
            num_samples = sum(len(batch) for batch in batches)
            ratios = []
            for _ in range(ROUNDS + 1):
                start = time.perf_counter()
                for inputs, target in tensors:
                    with torch.autocast("cpu", torch.bfloat16):
                        features = bare.encoders["image"](inputs).only(bare.levels["image"])
                        logits = head(features, view="image", size=(256, 256))
                    total, count = head.loss(logits, target)
                    (total / count).backward()
                    optimizer.step()
                    optimizer.zero_grad()
                bare_rate = num_samples / (time.perf_counter() - start)
                training.position.step_in_epoch = 0
                start = time.perf_counter()
                training._train_epoch(Signals())
                rate = num_samples / (time.perf_counter() - start)
                ratios.append(rate / bare_rate)
                print(f"  cache {where}: weft {rate:.1f} images/s, bare {bare_rate:.1f}", flush=True)
            ratios = sorted(ratios[1:])  # the first round warms up both
            print(f"cache {where}: {ratios[len(ratios) // 2]:.3f} of the bare loop [{ratios[0]:.3f}, {ratios[-1]:.3f}]")


if __name__ == "__main__":
    main()
