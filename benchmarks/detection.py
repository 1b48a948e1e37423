"""Pedestrians by torchvision's own FCOS in its reference loop, beside a cross-validation of configs/pennfudan.yaml.

The same folds, encoder weights, size, batches and epochs; torchvision's transforms, head, optimiser and schedule as its
reference script for detection has them (SGD with momentum 0.9 and weight decay 1e-4, a linear warm-up, drops by ten at
16/26 and 22/26 of the epochs, mirroring). Both answer the pictures of a fold with the last weights, and one code scores
both against the same boxes; the interval of the difference resamples pictures.

    weft crossvalidate configs/pennfudan.yaml data.root=DATA --inner 0
    python benchmarks/detection.py RUN WEIGHTS [--recipe weft]

RUN is the folder that the first prints, WEIGHTS the file of mobilenetv2_100 that it began with. `--recipe weft` gives
torchvision's loop the optimiser and the schedule of weft's configuration instead.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOS
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from weft.data.splits import FOLD
from weft.engine.evaluate import read_records
from weft.engine.loading import LoadedRun, load_run
from weft.metrics.bootstrap import LEVEL, align, draws, intervals, percentiles
from weft.tasks.detection import Detection
from weft.types import Records

TASK, WIDTH, RESAMPLES = "people", 256, 1000

Target = dict[str, Tensor]


class Pedestrians(Dataset[tuple[Tensor, Target]]):
    """Pictures with the boxes around the people of their masks.

    Args:
        root: the folder of Penn-Fudan.
        ids: names of the pictures.
        size: (H, W) that they are brought to.
        training: mirror every other picture.
    """

    def __init__(self, root: Path, ids: list[str], size: tuple[int, int], *, training: bool) -> None:
        self.root, self.ids, self.size, self.training = root, ids, size, training

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        name, (height, width) = self.ids[index], self.size
        picture = Image.open(self.root / "PNGImages" / f"{name}.jpg").convert("RGB")
        mask = np.asarray(Image.open(self.root / "PedMasks" / f"{name}_mask.png"))
        scale = np.array([width / picture.width, height / picture.height])
        places = [np.argwhere(mask == number)[:, ::-1] for number in np.unique(mask) if number]
        boxes = np.array([[*(at.min(0) * scale), *((at.max(0) + 1) * scale)] for at in places], np.float32)
        pixels = np.array(picture.resize((width, height), Image.Resampling.BILINEAR))
        if self.training and torch.rand(()) < 0.5:
            pixels, boxes = pixels[:, ::-1].copy(), boxes * [-1, 1, -1, 1] + [width, 0, width, 0]
            boxes = boxes[:, [2, 1, 0, 3]].astype(np.float32)
        image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
        return image, {"boxes": torch.from_numpy(boxes), "labels": torch.ones(len(boxes), dtype=torch.int64)}


def _together(rows: list[tuple[Tensor, Target]]) -> tuple[list[Tensor], list[Target]]:
    images, targets = zip(*rows, strict=True)
    return list(images), list(targets)


class Backbone(nn.Module):
    """timm's levels of stride 8 to 32 and torchvision's pyramid with two levels more."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.body = timm.create_model(
            "mobilenetv2_100",
            features_only=True,
            out_indices=(2, 3, 4),
            pretrained=True,
            pad_type="same",
            pretrained_cfg_overlay={"file": str(weights)},
        )
        self.out_channels = WIDTH
        self.fpn = FeaturePyramidNetwork(self.body.feature_info.channels(), WIDTH, LastLevelP6P7(WIDTH, WIDTH))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        levels: dict[str, Tensor] = self.fpn(OrderedDict((str(n), level) for n, level in enumerate(self.body(images))))
        return levels


def build(weights: Path, size: tuple[int, int], most: int) -> FCOS:
    """torchvision's detector on that backbone, at the size of the data."""
    anchors = AnchorGenerator(((8,), (16,), (32,), (64,), (128,)), ((1.0,),) * 5)
    return FCOS(
        Backbone(weights),
        num_classes=2,
        min_size=min(size),
        max_size=max(size),
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        anchor_generator=anchors,
        score_thresh=0.05,
        detections_per_img=most,
    )


def optimizer_of(network: FCOS, recipe: str) -> torch.optim.Optimizer:
    """The reference script's, or that of configs/pennfudan.yaml."""
    if recipe == "reference":
        return torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=1e-4)
    encoder = list(network.backbone.body.parameters())
    own = {id(parameter) for parameter in encoder}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in own]
    return torch.optim.AdamW([{"params": encoder, "lr": 3e-4}, {"params": rest}], 1e-3, weight_decay=0.01)


def rate_at(step: int, *, steps: int, epochs: int, recipe: str) -> float:
    """What a step's learning rate is of the first: `steps` are those of an epoch."""
    if recipe == "reference":
        warmup = min(1000, steps - 1)
        drops = sum(step // steps >= round(epochs * part / 26) for part in (16, 22))
        return 0.1**drops * min(1.0, 0.001 + 0.999 * step / warmup)
    done = (step - steps) / (steps * (epochs - 1))
    return (step + 1) / steps if step < steps else 0.5 * (1 + math.cos(math.pi * done))


def train(network: FCOS, loader: DataLoader[tuple[Tensor, Target]], *, epochs: int, recipe: str) -> None:
    """The reference loop, in bf16 as weft's."""
    optimizer = optimizer_of(network, recipe)
    first = [group["lr"] for group in optimizer.param_groups]
    network.train()
    for epoch in range(epochs):
        for step, (images, targets) in enumerate(loader, start=epoch * len(loader)):
            factor = rate_at(step, steps=len(loader), epochs=epochs, recipe=recipe)
            for group, rate in zip(optimizer.param_groups, first, strict=True):
                group["lr"] = factor * rate
            with torch.autocast("cpu", torch.bfloat16):
                losses = network(images, targets)
            total = torch.stack(list(losses.values())).sum()
            if not math.isfinite(value := float(total.detach())):
                raise SystemExit(f"the loss is {value} in step {step}")
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        print(f"    epoch {epoch + 1}/{epochs}: loss {value:.3f}", flush=True)


@torch.inference_mode()
def answers(network: FCOS, loaded: LoadedRun, task: Detection, pictures: Pedestrians) -> Records:
    """What weft's task keeps of torchvision's answers to the pictures of a fold, against weft's own boxes."""
    network.eval()
    place = {name: index for index, name in enumerate(pictures.ids)}
    found = []
    for batch in loaded.data.batches(FOLD, multiple=loaded.multiple):
        said = network([pictures[place[name]][0] for name in batch.ids])
        rows = [torch.column_stack([one["boxes"], one["scores"], one["labels"] - 1.0]) for one in said]
        together = torch.stack([pad(row, (0, 0, 0, task.max_boxes - len(row))) for row in rows])
        found.append(task.records(together, batch.targets[TASK], list(batch.ids)))
    return Records.merge(found)


def fold_of(run: Path, weights: Path, *, recipe: str) -> tuple[Detection, Records, Records]:
    """The task, torchvision's answers and weft's to one fold."""
    loaded = load_run(run)
    experiment, data = loaded.experiment, loaded.data
    task = loaded.model.tasks[TASK]
    assert isinstance(task, Detection)
    assert experiment.data.size is not None
    root, size = Path(str(experiment.data.format.options["root"])), experiment.data.size
    torch.manual_seed(experiment.train.seed)
    training = Pedestrians(root, data.ids("train"), size, training=True)
    loader = DataLoader(
        training, experiment.train.batch_size, shuffle=True, drop_last=True, collate_fn=_together, num_workers=0
    )
    network = build(weights, size, task.max_boxes)
    parameters = sum(p.numel() for p in network.parameters())
    print(f"{run.name}: {parameters:,} parameters, {len(training)} pictures")
    start = time.perf_counter()
    train(network, loader, epochs=experiment.train.epochs, recipe=recipe)
    seconds = time.perf_counter() - start
    theirs = answers(network, loaded, task, Pedestrians(root, data.ids(FOLD), size, training=False))
    ours = read_records(run / "evaluation" / FOLD / "records" / f"{TASK}__image.npz")
    scored = [100 * task.figures(records)["AP"] for records in (theirs, ours)]
    print(f"  {seconds:.0f} s of training; AP {scored[0]:.1f}, weft's {scored[1]:.1f}", flush=True)
    return task, theirs, ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--recipe", choices=("reference", "weft"), default="reference")
    given = parser.parse_args()
    runs = sorted(given.run.glob("repeat-0-fold-*"))
    folds = [fold_of(run, given.weights, recipe=given.recipe) for run in runs]
    task = folds[0][0]
    theirs, ours = align(Records.merge([fold[1] for fold in folds]), Records.merge([fold[2] for fold in folds]))
    for who, records in (("torchvision", theirs), ("weft", ours)):
        figures = intervals(records, task.figures, number=RESAMPLES)
        line = [
            f"{name} {100 * one['value']:.1f} [{100 * one['low']:.1f}, {100 * one['high']:.1f}]"
            for name, one in figures.items()
            if name in ("AP", "AP50", "AP75")
        ]
        print(f"{who}, {len(records)} pictures of {len(folds)} folds: {', '.join(line)}")
    drawn = [
        [task.figures(ours.take(index))["AP"] - task.figures(theirs.take(index))["AP"]]
        for index in draws([""] * len(ours), RESAMPLES, seed=0)
    ]
    (low,), (high,) = percentiles(np.array(drawn), LEVEL)
    gap = task.figures(ours)["AP"] - task.figures(theirs)["AP"]
    print(f"weft - torchvision: AP {100 * gap:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] points")


if __name__ == "__main__":
    main()
