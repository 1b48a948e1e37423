"""Detection: what it learns from pictures with and without objects, what it answers, and how that is shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.tasks.task_cases import SIZE, SPEC, features
from weft.config import load_experiment
from weft.errors import ConfigError
from weft.metrics.box_matching import LEFT_OUT
from weft.tasks.box_pictures import FALSE, FOUND, MISSED
from weft.tasks.boxes import Boxes
from weft.tasks.detection import Detection
from weft.tasks.detection_head import PyramidHead, places_of
from weft.tasks.detection_loss import assign, count_of, detection_loss
from weft.types import Features, FeatureSpec

CLASSES = ["cat", "dog"]
CPU = torch.device("cpu")


def task(*, spec: FeatureSpec = SPEC, **options: object) -> Detection:
    options = {"width": 16, "depth": 1, "max_boxes": 6} | options
    return Detection({"fused": spec}, Boxes({"classes": CLASSES}), **options)  # type: ignore[arg-type]


def targets(*samples: list[tuple[float, ...]]) -> Tensor:
    """(P, n, 7) of (x1, y1, x2, y2, class[, ignored])."""
    most = max(len(rows) for rows in samples)
    filled = torch.full((len(samples), most, 7), -1.0)
    for place, rows in enumerate(samples):
        for row, (left, top, right, bottom, kind, *ignored) in enumerate(rows):
            area = (right - left) * (bottom - top)
            filled[place, row] = torch.tensor([left, top, right, bottom, kind, *(ignored or [0]), area])
    return filled


def logits(detection: Detection, num_rows: int) -> Tensor:
    return detection(features(num_rows), view="fused", size=SIZE)


@pytest.mark.parametrize("samples", [[[]], [[], []], [[(3, 3, 4, 4, 0)], []]], ids=["one", "two", "one pixel"])
def test_pictures_without_an_object_to_learn_teach_background(samples: list[list[tuple[float, ...]]]) -> None:
    torch.manual_seed(0)
    detection, target = task(), targets(*samples)
    optimizer = torch.optim.Adam(detection.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        total, count = detection.loss(logits(detection, len(samples)), target)
        assert count.item() == detection.count(target).item() == len(samples)
        losses.append(total.item() / count.item())
        optimizer.zero_grad()
        (total / count).backward()
        assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in detection.parameters())
        optimizer.step()
    assert 0 < losses[-1] < losses[0]


@pytest.mark.parametrize("size", [(32, 48), (33, 50), (100, 37)])
def test_the_count_follows_from_the_target_alone(size: tuple[int, int]) -> None:
    strides = (4, 8, 16)
    random = np.random.default_rng(0)
    corners = random.uniform(0, 1, (5, 7, 2, 2)) * np.array([size[1], size[0]])
    low, high = np.sort(corners, 2).transpose(2, 0, 1, 3)
    rows = [[(*low[i, j], *high[i, j], j % 2) for j in range(i + 2)] for i in range(5)]
    target = targets(*rows, [(0, 0, size[1], size[0], 0)])
    shapes = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in strides]
    there = assign(places_of(strides, shapes, device=CPU), target, 2, radius=1.5).count
    assert there == count_of(target, strides, radius=1.5) > len(target)


def test_a_place_answers_for_the_smallest_object_of_its_size_that_it_lies_in() -> None:
    places = places_of((8, 16), [(4, 6), (2, 3)], device=CPU)
    target = targets([(0, 0, 48, 32, 0), (8, 8, 16, 16, 1), (40, 24, 48, 32, 0, 1), (30, 2, 31, 3, 1)])
    assigned = assign(places, target, 2, radius=1.5)
    at = {(int(x), int(y), int(s)): int(row) for (x, y, s), row in zip(places, assigned.object[0], strict=True)}
    assert at[12, 12, 8] == 1  # in both
    assert at[20, 12, 8] == 0  # near the centre of the first
    assert at[4, 4, 8] == -1  # in the first, far from its centre
    assert 3 not in at.values()  # the box of one pixel lies between the places
    assert places[assigned.silent[0, :, 0]].tolist() == [[44, 28, 8]]
    assert not assigned.silent[..., 1].any()


def test_places_in_ignored_objects_learn_nothing_of_their_class() -> None:
    detection, target = task(strides=(8,)), targets([(0, 0, 48, 32, 0, 2), (8, 8, 16, 16, 1)])
    said = logits(detection, 1).detach().requires_grad_()
    total, _ = detection_loss(said, target, 2, radius=1.5)
    total.backward()
    assert said.grad is not None
    assert said.grad[..., 0].abs().sum() == 0
    assert (said.grad[..., 1] != 0).all()


def test_hundreds_of_objects_at_the_border_and_beyond_what_is_answered() -> None:
    row = [(x, y, x + 1.5, y + 1.5, 0) for x in range(0, 46, 2) for y in range(0, 30, 2)]
    detection, target = task(), targets([*row, (46, 30, 48, 32, 1), (0, 0, 1, 32, 1)], [])
    total, count = detection.loss(logits(detection, 2), target)
    assert total.isfinite()
    assert count == detection.count(target)
    with torch.no_grad():
        records = detection.records(detection.predict(logits(detection, 2)), target, ["many", "none"])
    assert records.rows["actual"][..., 0].tolist() == [[345, 2], [0, 0]]
    assert all(np.isfinite(value) for value in detection.figures(records).values() if value == value)


def test_the_loss_is_exact_and_finite_under_bf16() -> None:
    torch.manual_seed(0)
    detection, target = task(width=32), targets([(2, 3, 22, 25, 0)], [])
    exact, _ = detection.loss(logits(detection, 2), target)
    with torch.autocast("cpu", torch.bfloat16):
        said = logits(detection, 2)
    assert said.dtype == torch.float32
    rounded, _ = detection.loss(said, target)
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0.02)
    assert (said[0, :, -3:] == logits(detection, 2)[0, :, -3:]).all()  # places are never rounded


def test_answers_stay_in_the_picture_are_apart_and_come_by_score() -> None:
    torch.manual_seed(0)
    detection = task().eval()
    with torch.no_grad():
        detection.get_parameter("heads.fused.classes.cls_logits.bias").fill_(2)  # sure of much
        detection.get_parameter("heads.fused.reach.bbox_reg.bias").fill_(1.5)
        said = logits(detection, 2)
        answers = detection.predict(said)
    assert answers.shape == (2, 6, 6)
    assert (answers[..., 4].diff(dim=1) <= 0).all()
    rows = answers[answers[..., 4] > 0]
    assert len(rows) > 2
    assert (rows[:, :2] >= 0).all()
    assert (rows[:, 2] <= SIZE[1]).all()
    assert (rows[:, 3] <= SIZE[0]).all()
    assert detection.predict(said[:0]).shape == (0, 6, 6)


def test_looks_are_undone_and_put_together() -> None:
    detection = task()
    seen = torch.zeros(1, 6, 6)
    seen[0, 0] = torch.tensor([10, 4, 30, 20, 0.8, 1])
    mirrored = torch.zeros(1, 6, 6)
    mirrored[0, 0] = torch.tensor([2 * (48 - 30), 8, 2 * (48 - 10), 40, 0.4, 1])
    undone = detection.undo(mirrored, flipped=True, size=(64, 96), original=SIZE)
    assert undone[0, 0, :4].tolist() == [10, 4, 30, 20]
    assert undone[0, 1].tolist() == [0] * 6
    together = detection.together([seen, undone])[0, 0].tolist()
    assert together == pytest.approx([10, 4, 30, 20, 0.6, 1])


def answered(*rows: tuple[float, ...]) -> Tensor:
    filled = torch.zeros(1, 6, 6)
    filled[0, : len(rows)] = torch.tensor(rows)
    return filled


OBJECTS = targets([(0, 0, 10, 10, 0), (20, 0, 30, 10, 1), (40, 20, 48, 30, 0, 1)])
ANSWERS = answered((0, 0, 10, 10, 0.9, 0), (40, 20, 48, 30, 0.8, 0), (0, 20, 10, 30, 0.7, 1), (20, 0, 30, 10, 0.3, 1))


def test_the_validation_part_chooses_the_score_that_is_shown_and_counted() -> None:
    detection = task()
    records = detection.records(ANSWERS, OBJECTS, ["a"])
    assert records.rows["became"][0, 1, 0, 0] == LEFT_OUT
    # at 0.5: one right, one wrong, one ignored; a dog is said where one is, though another one
    assert detection.figures(records)["count_error"] == 0
    assert detection.badness(records).tolist() == [2]
    detection.tune(records)
    assert detection.least == pytest.approx(0.3)  # two of three are right, and all is found
    figures = detection.figures(records)
    assert (figures["count_error/cat"], figures["count_error/dog"]) == (0, 1)
    fixed = task(threshold=0.75)
    fixed.tune(records)
    assert fixed.least == 0.75
    assert fixed.figures(records)["count_error/dog"] == 1
    restored = task()
    restored.load_state_dict(detection.state_dict())
    assert restored.least == detection.least


def test_curves_are_kept_for_every_class_that_occurs() -> None:
    detection = task()
    halves, three_quarters, overlaps = detection.curves(detection.records(ANSWERS, OBJECTS, ["a"]))
    assert halves.lines == three_quarters.lines == {"cat": [(100, 100)], "dog": [(0, 0), (100, 50)]}
    assert halves.points == {"cat": (100, 100), "dog": (0, 0)}  # at 0.5 the one dog that is said is none
    assert overlaps.lines["dog"] == [(x / 100, pytest.approx(50)) for x in range(50, 100, 5)]
    assert overlaps.lines["mean of the classes"][0] == (0.5, pytest.approx(75))


def test_a_box_that_overlaps_by_less_than_is_asked_is_wrong() -> None:
    detection = task()
    answers = answered((0, 0, 10, 6.2, 0.9, 0))
    halves, three_quarters, overlaps = detection.curves(detection.records(answers, OBJECTS[:, :1], ["a"]))
    assert (halves.lines, three_quarters.lines) == ({"cat": [(100, 100)]}, {"cat": [(0, 0)]})
    assert [y for _, y in overlaps.lines["cat"]] == pytest.approx([100] * 3 + [0] * 7)  # 0.62 is above three of them
    assert list(overlaps.lines) == ["cat"]  # a class that does not occur has no curve, and one class no mean


def test_a_curve_falls_with_every_wrong_answer_and_rises_with_the_next_right_one() -> None:
    rows = [(0, 0, 10, 10, 0.9, 0), (40, 0, 48, 10, 0.8, 0), (40, 0, 48, 8, 0.7, 0), (20, 20, 30, 30, 0.6, 0)]
    truth = targets([(0, 0, 10, 10, 0), (20, 20, 30, 30, 0)])
    detection = task(threshold=0.65)
    curves, *_ = detection.curves(detection.records(answered(*rows), truth, ["a"]))
    # right, wrong, wrong, right: of the wrong ones the last before the next right one is kept
    assert curves.lines["cat"] == [(50, 100), (50, pytest.approx(100 / 3)), (100, 50)]
    assert curves.points["cat"] == (50, pytest.approx(100 / 3))


def test_objects_and_the_boxes_that_are_shown_are_counted_by_class() -> None:
    detection = task(threshold=0.2)
    assert detection.counts(detection.records(ANSWERS, OBJECTS, ["a"])) == {"cat": (1, 1), "dog": (1, 2)}
    assert task(threshold=0.95).counts(detection.records(ANSWERS, OBJECTS, ["a"])) == {"cat": (1, 0), "dog": (1, 0)}


def test_pictures_show_what_is_right_wrong_and_missing() -> None:
    detection = task()
    background = Image.new("RGB", (48, 32), "white")
    row, target = ANSWERS[0].numpy(), OBJECTS[0].numpy()
    error = detection.draw_error(row, target, background)
    assert error.size == (8 * 48, 8 * 32)  # large enough for names to be read
    assert error.getpixel((0, 8 * 9)) == FOUND
    assert error.getpixel((0, 8 * 29)) == FALSE
    assert error.getpixel((8 * 20, 8 * 9)) == MISSED
    assert error.getpixel((8 * 48 - 1, 8 * 29)) == (255, 255, 255)  # ignored
    assert detection.draw(row, background).getpixel((0, 8 * 9)) == detection.colours()["cat"]
    assert detection.draw_truth(target, background).getpixel((8 * 20, 8 * 9)) == detection.colours()["dog"]
    assert detection.told(row) == (
        ("cat", "0.90 from (0, 0) to (10, 10)"),
        ("cat", "0.80 from (40, 20) to (48, 30)"),
        ("dog", "0.70 from (0, 20) to (10, 30)"),
    )


def test_levels_that_a_view_lacks_are_made_and_impossible_ones_refused() -> None:
    spec = FeatureSpec("grid", 12, (8, 12), (4, 8))
    head = PyramidHead(spec, 2, strides=(8, 16, 32), width=16, depth=0)
    said = head(Features.of_pyramid([torch.zeros(1, 8, 9, 13), torch.zeros(1, 12, 5, 7)]), (33, 50))
    assert said.shape == (1, 5 * 7 + 3 * 4 + 2 * 2, 2 + 8)
    for strides, message in [
        ((2, 4), "begin `strides` with one of them"),
        ((8, 32), "not twice 8"),
        ((8, 4), "from fine to coarse"),
        ((), "from fine to coarse"),
    ]:
        with pytest.raises(ValueError, match=message):
            task(spec=spec, strides=strides)


def test_a_rule_that_has_no_meaning_for_boxes_is_refused_before_anything_is_read() -> None:
    config = "configs/scenes_detection.yaml"
    assert load_experiment(config, ["fusion=none", "decision=maximum"]).decision.type == "maximum"
    assert load_experiment(config, ["decision=linear"]).decision.type == "linear"  # of the one fused view
    with pytest.raises(ConfigError, match="no meaning for the boxes of things; those that have: maximum, mean"):
        load_experiment(config, ["fusion=none", "decision=linear"])
