"""A training step of every balancing rule, or of those named, beside the plain sum: three tasks on one trunk."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping

from harness import in_turns, report

from weft import load_experiment, registry
from weft.engine.run_folder import RunFolder
from weft.engine.train import Training
from weft.types import Batch

TURNS = 15


def experiment(output: str, **balancing: str) -> dict[str, object]:
    """Masks, depth and classes from one picture, ResNet-18, 8 x 128 x 128."""
    decoder = {"type": "unet", "channels": [64, 32, 16, 16]}
    return {
        "name": "balancing",
        "data": {"format": "scenes", "num_train": 8, "resolution": [128, 128], "workers": 0},
        "modalities": {"image": {"encoder": {"type": "timm", "name": "resnet18"}}},
        "tasks": {
            "label": {"type": "segmentation", "decoder": decoder},
            "true_depth": {"type": "pixel_regression", "decoder": decoder},
            "room": {"type": "classification"},
        },
        "balancing": balancing,
        "train": {"batch_size": 8, "epochs": 1000, "precision": "fp32", "device": "cpu", "conflict_every": 0}
        | {"output": output},
    }


def begin(rule: Mapping[str, str], output: str) -> tuple[Training, Batch]:
    """A training by a rule, and its batch."""
    loaded = load_experiment(experiment(output, **rule))
    training = Training(loaded, RunFolder.create(loaded, echo=False))
    training.model.train()
    return training, next(iter(training.data.batches("train", training=True, multiple=training.multiple)))


def main() -> None:
    rules = [{"type": name} for name in sys.argv[1:] or registry.names("balancing") if name != "fixed"]
    rules += [{"type": "fixed"}, {"type": "pcgrad", "at": "parameters"}]
    steps = {}
    with tempfile.TemporaryDirectory() as output:
        for rule in rules:
            training, batch = begin(rule, output)
            steps[" ".join(rule.values())] = lambda training=training, batch=batch: training._step([batch])
        report("three tasks, ResNet-18, 8 x 128 x 128, fp32", in_turns(steps, turns=TURNS), over="fixed")


if __name__ == "__main__":
    main()
