"""Pedestrians by torchvision's own FCOS in its reference loop, beside weft's fold of configs/pennfudan.yaml.

The same pictures, fold, encoder weights, size, batches and epochs; torchvision's transforms, head, optimiser and
schedule as its reference script for detection has them (SGD with momentum 0.9 and weight decay 1e-4, a linear warm-up,
drops by ten at 16/26 and 22/26 of the epochs, mirroring). Both are scored by the same code.

    python benchmarks/detection.py DATA WEIGHTS [RUN]

DATA is the folder of Penn-Fudan, WEIGHTS the file of mobilenetv2_100, RUN a finished fold of weft to set beside it.
"""

from __future__ import annotations

import math
import sys
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOS
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from weft import load_experiment
from weft.data.pipeline import build_data
from weft.metrics.box_matching import match
from weft.metrics.detection import Ranked, coco_average_precision

FOLD = "data.validation={by: random, folds: 5, fold: 0, inner: 0.1}"
SIZE, EPOCHS, BATCH, LEARNING_RATE, WIDTH, MOST = (256, 320), 16, 4, 0.01, 256, 100

Target = dict[str, Tensor]


class Pedestrians(Dataset[tuple[Tensor, Target]]):
    """Pictures with the boxes around the people of their masks."""

    def __init__(self, root: Path, ids: list[str], *, training: bool) -> None:
        self.root, self.ids, self.training = root, ids, training

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        name, size = self.ids[index], SIZE[::-1]
        picture = Image.open(self.root / "PNGImages" / f"{name}.jpg").convert("RGB")
        mask = np.asarray(Image.open(self.root / "PedMasks" / f"{name}_mask.png"))
        scale = np.array([size[0] / picture.width, size[1] / picture.height])
        places = [np.argwhere(mask == number)[:, ::-1] for number in np.unique(mask) if number]
        boxes = np.array([[*(at.min(0) * scale), *((at.max(0) + 1) * scale)] for at in places], np.float32)
        pixels = np.array(picture.resize(size, Image.Resampling.BILINEAR))
        if self.training and torch.rand(()) < 0.5:
            pixels, boxes = pixels[:, ::-1].copy(), boxes * [-1, 1, -1, 1] + [size[0], 0, size[0], 0]
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


def build(weights: Path) -> FCOS:
    """torchvision's detector on that backbone, at the size of the data."""
    anchors = AnchorGenerator(((8,), (16,), (32,), (64,), (128,)), ((1.0,),) * 5)
    return FCOS(
        Backbone(weights),
        num_classes=2,
        min_size=SIZE[0],
        max_size=SIZE[1],
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        anchor_generator=anchors,
        score_thresh=0.05,
        detections_per_img=MOST,
    )


def train(network: FCOS, loader: DataLoader[tuple[Tensor, Target]]) -> None:
    """The reference loop."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, LEARNING_RATE, momentum=0.9, weight_decay=1e-4)
    steps, warmup = len(loader), min(1000, len(loader) - 1)
    drops = {round(EPOCHS * part / 26) for part in (16, 22)}
    network.train()
    for epoch in range(EPOCHS):
        for step, (images, targets) in enumerate(loader):
            rate = LEARNING_RATE * 0.1 ** sum(epoch >= drop for drop in drops)
            if epoch == 0 and step < warmup:
                rate *= 0.001 + 0.999 * step / warmup
            for group in optimizer.param_groups:
                group["lr"] = rate
            with torch.autocast("cpu", torch.bfloat16):
                losses = network(images, targets)
            total = torch.stack(list(losses.values())).sum()
            if not math.isfinite(float(total)):
                raise SystemExit(f"the loss is {float(total)} in step {epoch * steps + step}")
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        print(f"  epoch {epoch + 1}/{EPOCHS}: loss {float(total):.3f}", flush=True)


@torch.inference_mode()
def average_precision(network: FCOS, data: Pedestrians) -> tuple[float, float]:
    """AP and AP50 over the pictures."""
    network.eval()
    most = max(len(data[index][1]["boxes"]) for index in range(len(data)))
    answers, truth = np.zeros((len(data), MOST, 6)), np.full((len(data), most, 7), -1.0)
    for index in range(len(data)):
        image, target = data[index]
        (said,) = network([image])
        boxes = target["boxes"].numpy()
        answers[index, : len(said["boxes"]), :5] = np.column_stack([said["boxes"], said["scores"]])
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        truth[index, : len(boxes)] = np.column_stack([boxes, np.zeros((len(boxes), 2)), area])
    matched = match(answers, truth, 1)
    found = coco_average_precision(Ranked.of(answers[..., 4], answers[..., 5], matched.coco, 1), matched.actual.sum(0))
    return float(found[0, 0].mean()), float(found[0, 0, 0])


def main() -> None:
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    root, weights = Path(sys.argv[1]), Path(sys.argv[2])
    torch.manual_seed(0)
    data = build_data(load_experiment("configs/pennfudan.yaml", [f"data.root={root}", FOLD]))
    training = Pedestrians(root, data.ids("train"), training=True)
    loader = DataLoader(training, BATCH, shuffle=True, drop_last=True, collate_fn=_together)
    network = build(weights)
    print(f"torchvision: {sum(p.numel() for p in network.parameters()):,} parameters, {len(training)} pictures")
    start = time.perf_counter()
    train(network, loader)
    seconds = time.perf_counter() - start
    precision, at_half = average_precision(network, Pedestrians(root, data.ids("fold"), training=False))
    print(f"torchvision: AP {100 * precision:.1f} %, AP50 {100 * at_half:.1f} %, {seconds:.0f} s of training")
    if len(sys.argv) == 4:
        from weft import evaluate

        task = evaluate(sys.argv[3], split="fold", quick=True, progress=False)["tasks"]["people"]
        ((_, scored),) = task["subsets"].items()
        figures = scored["figures"]
        print(f"weft:        AP {100 * figures['AP']['value']:.1f} %, AP50 {100 * figures['AP50']['value']:.1f} %")


if __name__ == "__main__":
    main()
