"""Calibration by hand; torchmetrics is in tests/reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from weft.metrics.calibration import Reliability, bin_of
from weft.tasks.label_map import LabelMap
from weft.tasks.segmentation import Segmentation
from weft.types import Records


def test_the_error_weighs_every_bin_by_its_answers() -> None:
    confidence = np.array([0.9, 0.9, 0.9, 0.5, 0.55])
    came_true = np.array([True, True, False, True, True])
    said = Reliability.of(confidence, came_true, num_bins=5)
    assert said.count.tolist() == [0, 0, 2, 0, 3]
    assert said.true.tolist() == [0, 0, 2, 0, 2]
    # 3/5 · |0.9 − 2/3| + 2/5 · |0.525 − 1|
    assert said.error == pytest.approx((abs(2.7 - 2) + abs(1.05 - 2)) / 5)
    mean, share = said.curve
    np.testing.assert_allclose(mean, [np.nan, np.nan, 0.525, np.nan, 0.9])
    np.testing.assert_allclose(share, [np.nan, np.nan, 1, np.nan, 2 / 3])


def test_a_bin_holds_its_upper_end_and_the_first_one_zero() -> None:
    assert bin_of(np.array([0.0, 0.1, 0.25, 0.26, 0.75, 1.0]), 4).tolist() == [0, 0, 0, 1, 2, 3]


def test_answers_that_come_true_as_often_as_they_say_have_no_error() -> None:
    confidence = np.full(100, 0.7)
    assert Reliability.of(confidence, np.arange(100) < 70).error == pytest.approx(0)


def test_of_no_answers_there_is_nothing_to_tell() -> None:
    assert math.isnan(Reliability.of(np.zeros(0), np.zeros(0, bool)).error)


def test_pixels_are_sorted_as_answers_are() -> None:
    torch.manual_seed(0)
    task = Segmentation({}, LabelMap({}, num_classes=3))
    prediction = (3 * torch.randn(3, 3, 5, 7)).softmax(1)
    prediction[0, :, 0, 0] = torch.tensor([1.0, 0.0, 0.0])
    target = torch.randint(0, 3, (3, 5, 7), dtype=torch.uint8)
    target[:, 2] = 255
    found = task.reliability(task.records(prediction, target, ["a", "b", "c"]))
    known = (target != 255).numpy()
    best = prediction.max(1)
    expected = Reliability.of(best.values.numpy()[known], (best.indices == target).numpy()[known])
    assert found is not None
    np.testing.assert_array_equal(found.count, expected.count)
    np.testing.assert_array_equal(found.true, expected.true)
    np.testing.assert_allclose(found.confidence, expected.confidence)


def test_records_that_were_kept_without_bins_have_no_calibration() -> None:
    task = Segmentation({}, LabelMap({}, num_classes=2))
    counts = np.array([[3, 1]])
    records = Records(["a"], {"tp": counts, "predicted": counts, "actual": counts})
    assert task.reliability(records) is None
    assert math.isnan(task.figures(records)["ECE"])
    assert task.figures(records)["mIoU"] == 1
