"""What only segmentation does: logits brought to pixels piece by piece, masks as files, colours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from tests.tasks.task_cases import CASES, SIZE, features
from weft.tasks import segmentation
from weft.tasks.colours import palette
from weft.tasks.exchange import Origin
from weft.tasks.label_map import LabelMap
from weft.tasks.segmentation import Segmentation


def test_the_loss_of_coarse_logits_is_that_of_full_ones() -> None:
    task, target = CASES["segmentation"].build(), CASES["segmentation"].target()
    coarse = torch.randn(4, 5, 8, 12, requires_grad=True)
    full = F.interpolate(coarse, size=SIZE, mode="bilinear", align_corners=False)
    expected = F.cross_entropy(full, target.long(), ignore_index=255, reduction="sum")
    total, count = task.loss(coarse, target)
    torch.testing.assert_close(total, expected)
    assert count.item() == (target != 255).sum()
    (gradient,) = torch.autograd.grad(total, coarse)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, coarse)[0], rtol=1e-4, atol=1e-5)


def test_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    task, target = CASES["segmentation"].build(), CASES["segmentation"].target()
    logits = torch.randn(4, 5, 8, 12)
    whole = task.loss(logits, target)
    monkeypatch.setattr(segmentation, "_samples_at_once", lambda *_: 3)
    torch.testing.assert_close(task.loss(logits, target), whole)


def test_in_evaluation_logits_have_the_size_of_the_image() -> None:
    task = CASES["segmentation"].build()
    assert task(features(), view="fused", size=SIZE).shape == (4, 5, 8, 12)
    assert task.eval()(features(), view="fused", size=SIZE).shape == (4, 5, *SIZE)


def test_an_image_no_multiple_of_the_stride_gets_all_its_pixels() -> None:
    task = CASES["segmentation"].build().eval()
    assert task(features(), view="fused", size=(31, 46)).shape == (4, 5, 31, 46)


def test_probabilities_sum_to_one() -> None:
    task = CASES["segmentation"].build()
    probabilities = task.predict(torch.randn(2, 5, 3, 4))
    torch.testing.assert_close(probabilities, torch.randn(0).new_ones(2, 3, 4)[:, None] * probabilities)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 3, 4))


def test_classes_beyond_a_byte_are_scored_and_written(tmp_path: Path) -> None:
    task = Segmentation({}, LabelMap({}, num_classes=300))
    target = torch.tensor([[[0, 280, 32767]]], dtype=torch.int16)
    scores = F.one_hot(torch.tensor([[[0, 280, 5]]]), 300).movedim(-1, 1).float()
    assert task.figures(task.records(scores, target, ["a"]))["mIoU"] == 1
    task.write(scores[0].numpy(), Origin("a", (1, 3), (1, 3)), tmp_path)
    assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == [[0, 280, 5]]


def test_a_mask_is_written_with_a_palette_at_the_size_of_the_samples_own_image(tmp_path: Path) -> None:
    task = CASES["segmentation"].build()
    probabilities = np.zeros((5, 4, 6), np.float32)
    probabilities[1, :, :3], probabilities[4, :, 3:] = 1, 1
    task.write(probabilities, Origin("kitchen/3", (8, 12), (4, 6)), tmp_path)
    picture = Image.open(tmp_path / "kitchen%2F3.png")
    assert picture.mode == "P"
    assert picture.size == (12, 8)
    labels = np.asarray(picture)
    assert labels[0].tolist() == [1] * 6 + [4] * 6
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB"))[0, 0], palette(5)[1])
    legend = json.loads((tmp_path / "classes.json").read_text(encoding="utf-8"))
    assert legend["4"] == {"name": "4", "colour": "#" + bytes(task.colours()["4"]).hex()}


def test_resizing_class_by_class_is_the_maximum_of_resized_probabilities() -> None:
    probabilities = np.random.default_rng(0).random((5, 4, 6)).astype(np.float32)
    resized = F.interpolate(torch.from_numpy(probabilities)[None], size=(9, 13), mode="bilinear")[0]
    np.testing.assert_array_equal(segmentation._largest(probabilities, (9, 13)), resized.argmax(0).numpy())


def test_truth_and_errors_are_drawn_where_something_is_labelled() -> None:
    task, target = CASES["segmentation"].build(), CASES["segmentation"].target()[0].numpy()
    background = Image.new("RGB", SIZE[::-1], (100, 100, 100))
    answer = np.zeros((5, *SIZE), np.float32)
    answer[2] = 1
    error = np.asarray(task.draw_error(answer, target, background)).astype(int)
    wrong = (target != 2) & (target != 255)
    assert (error[wrong][:, 0] > error[wrong][:, 1] + 50).all()  # red
    assert (error[~wrong].std(axis=1) == 0).all()  # grey
    truth = np.asarray(task.draw_truth(target, background))
    assert (truth[:3] == 100).all()  # not labelled: the background as it is
    assert task.draw(answer, background).size == background.size


def test_a_hundred_and_fifty_classes_have_colours_that_can_be_told_apart() -> None:
    import cv2

    colours = palette(150)
    np.testing.assert_array_equal(colours[:20], palette(20))
    lab = cv2.cvtColor(colours[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    distance = np.linalg.norm(lab[:, None] - lab, axis=-1) + np.eye(150) * 1000
    assert distance.min() > 8  # about three just noticeable differences
    assert distance[:20, :20].min() > 30
