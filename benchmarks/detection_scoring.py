"""Scoring boxes: weft's records and figures, and faster-coco-eval on the same answers (`pip install faster-coco-eval`).

Random objects and answers as COCO's are: mostly small, several of few classes in a picture, a hundred answers each. The
time of faster-coco-eval is that of evaluate, accumulate and summarize alone, with objects and answers already loaded;
loading its answers from a list of results is told beside it. weft's is of all its figures, of VOC and counts too, from
tensors in batches. Both must say the same average precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from harness import in_turns, report

from weft.metrics.bootstrap import intervals
from weft.metrics.box_matching import THRESHOLDS
from weft.tasks.boxes import Boxes
from weft.tasks.coco_results import detections
from weft.tasks.detection import Detection
from weft.types import FeatureSpec, Records

try:
    from faster_coco_eval import COCO, COCOeval_faster
except ImportError as error:
    raise SystemExit("this benchmark needs faster-coco-eval: pip install faster-coco-eval") from error

TURNS, BATCH, ANSWERS, SIDE = 5, 16, 100, 480


def world(num_samples: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Answers (n, 100, 6) from the highest score on, half of them near an object, and objects (n, most, 7)."""
    random = np.random.default_rng(0)
    most = 20
    truth, answers = np.full((num_samples, most, 7), -1.0), np.zeros((num_samples, ANSWERS, 6))
    for sample in range(num_samples):
        number = int(min(most, 1 + random.poisson(6)))
        kinds = random.integers(0, num_classes, 3)  # a picture has few classes
        extent = np.exp(random.uniform(np.log(8), np.log(SIDE / 2), (number, 2)))
        corner = random.uniform(0, SIDE - extent)
        boxes = np.concatenate([corner, corner + extent], 1)
        truth[sample, :number] = np.column_stack(
            [boxes, random.choice(kinds, number), np.zeros(number), extent.prod(1)]
        )
        of = random.integers(0, number, ANSWERS)
        near = random.random((ANSWERS, 1)) < 0.5
        moved = boxes[of] + random.normal(0, 0.1, (ANSWERS, 4)) * np.tile(extent[of], 2)
        moved = np.where(near, moved, boxes[of][:, [1, 0, 3, 2]])
        kind = np.where(random.random(ANSWERS) < 0.8, truth[sample, of, 4], random.integers(0, num_classes, ANSWERS))
        score = np.sort(random.uniform(0.05, 1, ANSWERS))[::-1]
        answers[sample] = np.column_stack([moved, score, kind])
    return answers.astype(np.float32), truth.astype(np.float32)


def dataset(truth: np.ndarray, num_classes: int) -> dict[str, Any]:
    """The objects as COCO's annotation file has them."""
    annotations: list[dict[str, Any]] = []
    for sample, rows in enumerate(truth.astype(float)):
        for left, top, right, bottom, kind, _, area in rows[rows[:, 4] >= 0]:
            entry = {"id": len(annotations) + 1, "image_id": sample, "category_id": int(kind) + 1, "area": area}
            annotations.append(entry | {"bbox": [left, top, right - left, bottom - top], "iscrowd": 0})
    return {
        "images": [{"id": sample, "width": SIDE, "height": SIDE} for sample in range(len(truth))],
        "annotations": annotations,
        "categories": [{"id": number + 1, "name": str(number)} for number in range(num_classes)],
    }


def compare(num_samples: int, num_classes: int) -> None:
    """Time both on one world."""
    answers, truth = world(num_samples, num_classes)
    task = Detection(
        {"fused": FeatureSpec("grid", 16, (8, 12, 16), (8, 16, 32))},
        Boxes({"classes": [str(number) for number in range(num_classes)]}),
        width=32,
        depth=0,
    )
    said, there = torch.from_numpy(answers), torch.from_numpy(truth)
    names = [str(sample) for sample in range(num_samples)]

    def records() -> Records:
        return Records.merge(
            [
                task.records(said[at : at + BATCH], there[at : at + BATCH], names[at : at + BATCH])
                for at in range(0, num_samples, BATCH)
            ]
        )

    ids = list(range(1, num_classes + 1))
    results = [entry for name, rows in zip(names, answers, strict=True) for entry in detections(rows, name, ids)]
    coco = COCO(dataset(truth, num_classes))
    loaded = coco.loadRes(results)

    def faster() -> COCOeval_faster:
        evaluation = COCOeval_faster(coco, loaded, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return evaluation

    ours, theirs = task.figures(records())["AP"], float(faster().stats[0])
    if abs(ours - theirs) > 1e-6:
        raise SystemExit(f"weft says AP {ours}, faster-coco-eval {theirs}")
    functions: dict[str, Callable[[], object]] = {
        "faster-coco-eval": faster,
        "its loading of answers": lambda: coco.loadRes(results),
        "weft": lambda: task.figures(records()),
        "weft, records alone": records,
    }
    title = f"{num_samples} pictures, {num_classes} classes, {len(THRESHOLDS)} overlaps, AP {100 * ours:.1f}"
    report(title, in_turns(functions, turns=TURNS, warmup=1), over="faster-coco-eval")
    kept = records()
    hundred = in_turns({"with 100 resamples": lambda: intervals(kept, task.figures, number=100)}, turns=1, warmup=0)
    print(f"  an interval of 1000 resamples: {10 * hundred['with 100 resamples'][0]:.1f} s")


def main() -> None:
    compare(1000, 80)
    compare(1000, 1)


if __name__ == "__main__":
    main()
