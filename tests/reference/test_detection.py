"""Detection against the libraries that the field counts with: COCO's figures, VOC's by hand, FCOS's loss."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models.detection.fcos import FCOS, FCOSHead

from weft.metrics.box_matching import LEFT_OUT, RIGHT, WRONG, match
from weft.metrics.detection import Ranked, best_threshold, coco_average_precision, voc_average_precision
from weft.tasks.boxes import Boxes
from weft.tasks.coco_results import image_id
from weft.tasks.detection import Detection
from weft.tasks.detection_head import places_of
from weft.tasks.detection_loss import detection_loss
from weft.tasks.exchange import Origin
from weft.types import FeatureSpec

NUM_CLASSES = 3
SIDES = (12, 40, 120)


def world(seed: int, *, num_samples: int = 20, most: int = 9, num_answers: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Answers (P, N, 6) and objects (P, n, 7) of all sizes: crowds among them, samples without any, jittered boxes."""
    random = np.random.default_rng(seed)
    truth, answers = np.full((num_samples, most, 7), -1.0), np.zeros((num_samples, num_answers, 6))

    def box() -> np.ndarray:
        corner, extent = random.uniform(0, 200, 2), random.choice(SIDES, 2) * random.uniform(0.6, 1.4, 2)
        return np.concatenate([corner, corner + extent])

    for sample in range(num_samples):
        number = int(random.integers(0, most + 1))
        for place in range(number):
            corners = box()
            area = float((corners[2:] - corners[:2]).prod()) * 0.8  # of an outline: less than the box
            crowd = 2 * (random.random() < 0.1)
            truth[sample, place] = [*corners, random.integers(NUM_CLASSES), crowd, area]
        rows = []
        for _ in range(int(random.integers(0, num_answers))):
            found = truth[sample, random.integers(number)] if number and random.random() < 0.7 else None
            corners = (
                box() if found is None else found[:4] + random.normal(0, 0.08, 4) * np.tile(found[2:4] - found[:2], 2)
            )
            kind = random.integers(NUM_CLASSES) if found is None or random.random() < 0.1 else found[4]
            if (corners[2:] > corners[:2]).all():
                rows.append([*corners, random.uniform(0.05, 1), kind])
        rows.sort(key=lambda row: -row[4])
        answers[sample, : len(rows)] = np.array(rows).reshape(-1, 6)
    return answers.astype(np.float32).astype(np.float64), truth.astype(np.float32).astype(np.float64)


def dataset(truth: np.ndarray, ids: list[int]) -> dict[str, Any]:
    """Objects as an annotation file of COCO."""
    annotations: list[dict[str, Any]] = []
    for number, rows in zip(ids, truth, strict=True):
        for left, top, right, bottom, kind, ignored, area in rows[rows[:, 4] >= 0]:
            entry = {"id": len(annotations) + 1, "image_id": number, "category_id": int(kind) + 1, "area": area}
            annotations.append(entry | {"bbox": [left, top, right - left, bottom - top], "iscrowd": int(ignored == 2)})
    return {
        "info": {},
        "licenses": [],
        "images": [{"id": number, "width": 400, "height": 400} for number in ids],
        "annotations": annotations,
        "categories": [{"id": number + 1, "name": str(number)} for number in range(NUM_CLASSES)],
    }


def scored(library: str, truth: dict[str, Any], results: Any) -> tuple[np.ndarray, np.ndarray]:
    """The twelve figures of COCO, and (T, K, A) the average precision of every threshold, class and area."""
    with contextlib.redirect_stdout(io.StringIO()):
        if library == "pycocotools":
            coco = pytest.importorskip("pycocotools.coco").COCO()
            coco.dataset = truth
            coco.createIndex()
            evaluation = pytest.importorskip("pycocotools.cocoeval").COCOeval(coco, coco.loadRes(results), "bbox")
        else:
            faster = pytest.importorskip("faster_coco_eval")
            coco = faster.COCO(truth)
            evaluation = faster.COCOeval_faster(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][..., -1]
    return np.asarray(evaluation.stats), np.where(precision > -1, precision, np.nan).mean(1)


def task(**options: Any) -> Detection:
    spec = {"fused": FeatureSpec("grid", 16, (8, 12, 16), (8, 16, 32))}
    field = Boxes({"classes": [str(number) for number in range(NUM_CLASSES)]})
    return Detection(spec, field, width=32, depth=1, max_boxes=40, **options)


@pytest.mark.parametrize("library", ["faster-coco-eval", "pycocotools"])
@pytest.mark.parametrize("seed", [0, 1])
def test_written_results_load_and_score_to_our_own_figures(library: str, seed: int, tmp_path: Path) -> None:
    answers, truth = world(seed)
    names = [f"picture {number}" for number in range(len(answers))]
    ids = [image_id(name) for name in names]
    detection = task()
    for name, rows in zip(names, answers, strict=True):
        detection.write(rows.clip(0, 400), Origin(name, (400, 400), (400, 400)), tmp_path)
    stats, per_class = scored(library, dataset(truth, ids), str(tmp_path / "detections.json"))
    records = detection.records(torch.from_numpy(answers.clip(0, 400)), torch.from_numpy(truth), names)
    figures = detection.figures(records)
    totals = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
    assert [figures[name] for name in totals] == pytest.approx(stats[:6].tolist(), abs=1e-6)
    assert 0.1 < figures["AP"] < 0.9
    by_class = np.nanmean(per_class[:, :, 0], 0)
    assert [figures[f"AP/{number}"] for number in range(NUM_CLASSES)] == pytest.approx(by_class.tolist(), abs=1e-6)


@pytest.mark.parametrize("seed", [2, 3])
def test_average_precision_is_that_of_faster_coco_eval_for_every_threshold_class_and_area(seed: int) -> None:
    answers, truth = world(seed, num_samples=40)
    results = [
        {"image_id": number, "category_id": int(row[5]) + 1, "score": row[4], "bbox": [*row[:2], *(row[2:4] - row[:2])]}
        for number, rows in enumerate(answers, start=1)
        for row in rows[rows[:, 4] > 0]
    ]
    _, theirs = scored("faster-coco-eval", dataset(truth, list(range(1, 41))), results)
    matched = match(answers, truth, NUM_CLASSES)
    ranked = Ranked.of(answers[..., 4], answers[..., 5], matched.coco, NUM_CLASSES)
    mine = coco_average_precision(ranked, matched.actual.sum(0))
    np.testing.assert_allclose(mine, theirs.transpose(1, 2, 0), atol=1e-6)


def test_samples_without_a_number_get_one_and_are_listed_with_their_names(tmp_path: Path) -> None:
    detection = task(threshold=0.5)
    detection.write(np.zeros((40, 6)), Origin("a/b", (10, 10), (10, 10)), tmp_path)
    assert json.loads((tmp_path / "detections.json").read_text()) == []
    row = np.array([[1, 2, 3, 5, 0.5, 2]])
    for sample in ("a/b", "7"):
        detection.write(row, Origin(sample, (20, 30), (10, 10)), tmp_path)
    entry = {"category_id": 3, "bbox": [3.0, 4.0, 6.0, 6.0], "score": 0.5}
    number = image_id("a/b")
    assert number != image_id("a/c")
    assert 0 < number < 2**48
    expected = [{"image_id": number, **entry}, {"image_id": 7, **entry}]
    assert json.loads((tmp_path / "detections.json").read_text()) == expected
    named = json.loads((tmp_path / "images.json").read_text())
    assert named == [{"id": number, "sample": "a/b"}] * 2 + [{"id": 7, "sample": "7"}]
    assert json.loads((tmp_path / "categories.json").read_text())["categories"][2] == {"id": 3, "name": "2"}


def answer(*rows: tuple[float, ...]) -> np.ndarray:
    """(1, n, 6) of (x1, x2, score): boxes 10 high of class 0."""
    return np.array([[[left, 0, right, 10, score, 0] for left, right, score in rows]], float).reshape(1, -1, 6)


def objects(*rows: tuple[float, float, int]) -> np.ndarray:
    """(1, n, 7) of (x1, x2, ignored)."""
    return np.array([[[left, 0, right, 10, 0, ignored, 10 * (right - left)] for left, right, ignored in rows]], float)


def test_coco_takes_the_next_best_object_where_voc_is_wrong() -> None:
    answers = answer((0, 10, 0.9), (0, 9, 0.8))
    truth = objects((0, 9.5, 0), (0, 7, 0))  # both answers overlap the first one most
    matched = match(answers, truth, 1)
    assert matched.coco[0, :, 0, 0].tolist() == [RIGHT, RIGHT]
    assert matched.object[0].tolist() == [0, 1]
    assert matched.voc[0].tolist() == [RIGHT, WRONG]


def test_what_is_ignored_counts_neither_for_nor_against() -> None:
    answers = answer((0, 10, 0.9), (20, 30, 0.8), (20, 29, 0.7), (60, 70, 0.6))
    difficult, crowd = objects((0, 10, 1), (20, 30, 1)), objects((0, 10, 1), (15, 40, 2))
    assert match(answers, difficult, 1).coco[0, :, 0, 0].tolist() == [LEFT_OUT, LEFT_OUT, WRONG, WRONG]
    assert match(answers, difficult, 1).voc[0].tolist() == [LEFT_OUT, LEFT_OUT, LEFT_OUT, WRONG]
    assert match(answers, crowd, 1).coco[0, :, 0, 0].tolist() == [LEFT_OUT, LEFT_OUT, LEFT_OUT, WRONG]
    assert match(answers, crowd, 1).actual.sum() == 0


def test_average_precision_of_voc_by_hand() -> None:
    became = np.array([[RIGHT, WRONG, RIGHT, LEFT_OUT, WRONG]])
    scores = np.array([[0.9, 0.8, 0.7, 0.6, 0.5]])
    ranked = Ranked.of(scores, np.zeros((1, 5)), became, 1)
    # of four objects: recall 1/4 at precision 1, and 2/4 at 2/3
    assert voc_average_precision(ranked, np.array([4])) == pytest.approx([0.25 + 0.25 * 2 / 3])
    # COCO: recalls 0 to 0.25 are 26 of 101, those to 0.5 25 more
    assert coco_average_precision(Ranked.of(scores, np.zeros((1, 5)), became[..., None, None], 1), np.array([[4]]))[
        0, 0, 0
    ] == pytest.approx((26 + 25 * 2 / 3) / 101)


def test_the_best_threshold_lies_between_the_last_answer_worth_it_and_the_next() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.4, 0.2])
    became = np.array([RIGHT, RIGHT, LEFT_OUT, WRONG, WRONG])
    assert best_threshold(scores, became, 2) == pytest.approx(0.6)
    assert np.isnan(best_threshold(scores, np.full(5, WRONG), 2))


def fcos_loss(logits: torch.Tensor, target: torch.Tensor, strides: tuple[int, ...], sizes: list[int]) -> torch.Tensor:
    """torchvision's losses of the same answers, added up."""
    classes, centre, reach, places = logits.split((NUM_CLASSES, 1, 4, 3), -1)
    half = places[0, :, 2:] / 2
    anchors = torch.cat([places[0, :, :2] - half, places[0, :, :2] + half], -1)
    targets = [{"boxes": rows[rows[:, 4] >= 0, :4], "labels": rows[rows[:, 4] >= 0, 4].long()} for rows in target]
    outputs = {"cls_logits": classes, "bbox_regression": reach, "bbox_ctrness": centre}
    network = SimpleNamespace(head=FCOSHead(32, 1, NUM_CLASSES), center_sampling_radius=1.5)
    losses = FCOS.compute_loss(network, targets, outputs, [anchors] * len(target), sizes)
    return torch.stack(list(losses.values())).sum()


def test_the_loss_is_that_of_torchvision_where_every_sample_has_places() -> None:
    generator = torch.Generator().manual_seed(0)
    strides, shapes = (8, 16, 32), [(12, 16), (6, 8), (3, 4)]
    places = places_of(strides, shapes, device=torch.device("cpu"))
    corners = torch.rand(3, 5, 2, generator=generator) * 60
    extent = torch.rand(3, 5, 2, generator=generator) * 60 + 6
    kinds = torch.randint(0, NUM_CLASSES, (3, 5, 1), generator=generator).float()
    target = torch.cat([corners, (corners + extent).clamp(max=96), kinds, torch.zeros(3, 5, 2)], -1)
    target[1, 2:] = -1
    logits = torch.randn(3, len(places), NUM_CLASSES + 5, generator=generator)
    logits[..., NUM_CLASSES + 1 :] = logits[..., NUM_CLASSES + 1 :].relu() * 3
    logits = torch.cat([logits, places.expand(3, -1, -1)], -1)
    total, count = detection_loss(logits, target, NUM_CLASSES, radius=1.5)
    expected = fcos_loss(logits, target, strides, [height * width for height, width in shapes])
    torch.testing.assert_close(total / count, expected, rtol=1e-5, atol=1e-6)
