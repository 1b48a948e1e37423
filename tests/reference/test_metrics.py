"""Figures against torchmetrics and scikit-learn on random cases, and by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torchmetrics.functional as reference
import torchmetrics.functional.image as image_reference
from sklearn.metrics import average_precision_score, balanced_accuracy_score, confusion_matrix, roc_auc_score

from weft.metrics import ranking
from weft.tasks.class_label import ClassLabel
from weft.tasks.classification import Classification
from weft.tasks.label_map import LabelMap
from weft.tasks.pixel_regression import PixelRegression
from weft.tasks.pixel_values import PixelValues
from weft.tasks.points import Points
from weft.tasks.segmentation import Segmentation
from weft.types import Records

SEEDS = range(5)


def segmentation(num_classes: int) -> Segmentation:
    return Segmentation({}, LabelMap({}, num_classes=num_classes))


def classification(num_classes: int, *, multi_label: bool = False) -> Classification:
    facts = {"classes": [f"c{number}" for number in range(num_classes)]}
    return Classification({}, ClassLabel(facts, multi_label=multi_label))


def ids(num: int) -> list[str]:
    return [str(number) for number in range(num)]


@pytest.mark.parametrize("seed", SEEDS)
def test_segmentation_figures_are_torchmetrics(seed) -> None:
    torch.manual_seed(seed)
    task = segmentation(6)
    scores = torch.rand(5, 6, 7, 9).round(decimals=1).softmax(1)  # ties are common
    scores[:, 5] = -1
    target = torch.randint(0, 5, (5, 7, 9), dtype=torch.uint8)  # class 5 is nowhere
    target[torch.rand(target.shape) < 0.2] = 255
    figures = task.figures(task.records(scores, target, ids(5)))
    long = target.long()
    options = {"num_classes": 6, "ignore_index": 255}
    jaccard = reference.jaccard_index(scores.argmax(1), long, "multiclass", average="none", **options)
    accuracy = reference.accuracy(scores.argmax(1), long, "multiclass", average="micro", **options)
    assert figures["mIoU"] == pytest.approx(jaccard[:5].mean().item())
    assert [figures[f"IoU/{number}"] for number in range(5)] == pytest.approx(jaccard[:5].tolist())
    assert np.isnan(figures["IoU/5"])
    assert figures["pixel_accuracy"] == pytest.approx(accuracy.item())


def test_segmentation_figures_by_hand() -> None:
    task = segmentation(3)
    target = torch.tensor([[[0, 0, 1, 255]], [[1, 1, 1, 0]]], dtype=torch.uint8)
    answer = torch.tensor([[[0, 1, 1, 2]], [[1, 1, 0, 0]]])
    scores = torch.nn.functional.one_hot(answer, 3).movedim(-1, 1).float()
    records = task.records(scores, target, ["a", "b"])
    np.testing.assert_array_equal(records.totals["confusion"], [[2, 1, 0], [1, 3, 0], [0, 0, 0]])
    figures = task.figures(records)
    # IoU: 2 / (3 + 3 - 2) and 3 / (4 + 4 - 3); class 2 was said only where nothing is labelled
    expected = {
        "mIoU": (2 / 4 + 3 / 5) / 2,
        "pixel_accuracy": 5 / 7,
        "mean_class_accuracy": (2 / 3 + 3 / 4) / 2,
        "ECE": 1 - 5 / 7,  # every answer is given with certainty
        "IoU/0": 2 / 4,
        "IoU/1": 3 / 5,
        "IoU/2": float("nan"),
    }
    assert figures == pytest.approx(expected, nan_ok=True)
    assert task.badness(records) == pytest.approx([1 / 3, 1 / 4])


def test_figures_are_over_the_data_set_and_not_means_of_images() -> None:
    task = segmentation(2)
    target = torch.tensor([[[0, 0, 0, 0]], [[1, 255, 255, 255]]], dtype=torch.uint8)
    scores = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(2, 2, 1, 4)
    figures = task.figures(task.records(scores, target, ["a", "b"]))
    assert figures["pixel_accuracy"] == pytest.approx(4 / 5)  # the mean of the images would be 1 / 2


@pytest.mark.parametrize("seed", SEEDS)
def test_classification_figures_are_those_of_the_references(seed) -> None:
    torch.manual_seed(seed)
    task = classification(4)
    scores, target = torch.rand(50, 4).round(decimals=1), torch.randint(0, 4, (50,))
    records = task.records(scores, target, ids(50))
    figures = task.figures(records)
    answers = scores.argmax(1)
    for figure, function in (("precision", "precision"), ("recall", "recall"), ("F1", "f1_score")):
        expected = getattr(reference, function)(answers, target, "multiclass", num_classes=4, average="none")
        assert [figures[f"{figure}/c{k}"] for k in range(4)] == pytest.approx(expected.tolist())
        assert figures[f"{figure}_macro"] == pytest.approx(expected.mean().item())
    truth = torch.nn.functional.one_hot(target, 4).numpy()
    assert figures["AUROC_macro"] == pytest.approx(roc_auc_score(truth, scores.numpy(), average="macro"))
    assert figures["average_precision_macro"] == pytest.approx(average_precision_score(truth, scores.numpy()))
    assert figures["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(target, answers))
    assert figures["accuracy"] == pytest.approx((answers == target).float().mean().item())
    np.testing.assert_array_equal(records.totals["confusion"], confusion_matrix(target, answers))


@pytest.mark.parametrize("seed", SEEDS)
def test_figures_of_many_labels_are_those_of_the_references(seed) -> None:
    torch.manual_seed(seed)
    task = classification(5, multi_label=True)
    scores, target = torch.rand(40, 5).round(decimals=1), (torch.rand(40, 5) > 0.6).float()
    figures = task.figures(task.records(scores, target, ids(40)))
    answers, truth = (scores >= 0.5).int(), target.int()
    options = {"num_labels": 5, "average": "macro"}
    assert figures["accuracy"] == pytest.approx(reference.accuracy(answers, truth, "multilabel", **options).item())
    exact = reference.exact_match(answers, truth, "multilabel", num_labels=5)
    assert figures["exact_match"] == pytest.approx(exact.item())
    for figure, function in (("precision", "precision"), ("recall", "recall"), ("F1", "f1_score")):
        expected = getattr(reference, function)(answers, truth, "multilabel", **options)
        assert figures[f"{figure}_macro"] == pytest.approx(expected.item())
    assert figures["AUROC_macro"] == pytest.approx(roc_auc_score(truth, scores, average="macro"))
    assert figures["average_precision_macro"] == pytest.approx(average_precision_score(truth, scores))


def test_a_class_absent_from_the_truth_is_untold_and_in_no_mean() -> None:
    task = classification(3)
    scores = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
    figures = task.figures(task.records(scores, torch.tensor([0, 1, 1]), ids(3)))
    for figure in ("recall", "AUROC", "average_precision"):
        assert np.isnan(figures[f"{figure}/c2"])
    assert figures["precision/c2"] == 0  # it was said, and wrongly
    assert figures["balanced_accuracy"] == pytest.approx((1 + 1 / 2) / 2)


@pytest.mark.parametrize("num_samples", [1, 2, 3, 30])
@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_rankings_are_scikit_learns_with_any_ties(num_samples, decimals) -> None:
    random = np.random.default_rng(num_samples)
    scores = random.random((num_samples, 20)).round(decimals)
    truth = random.random((num_samples, 20)) > 0.5
    areas, precisions = ranking.auroc(scores, truth), ranking.average_precision(scores, truth)
    for column in range(20):
        positives = truth[:, column].sum()
        if 0 < positives < num_samples:
            assert areas[column] == pytest.approx(roc_auc_score(truth[:, column], scores[:, column]))
        else:
            assert np.isnan(areas[column])
        if positives:
            expected = average_precision_score(truth[:, column], scores[:, column])
            assert precisions[column] == pytest.approx(expected)
        else:
            assert np.isnan(precisions[column])


def test_rankings_by_hand() -> None:
    scores, truth = np.array([[0.9], [0.8], [0.8], [0.1]]), np.array([[True], [False], [True], [False]])
    assert ranking.auroc(scores, truth) == pytest.approx([(2 + 1.5) / 4])
    assert ranking.average_precision(scores, truth) == pytest.approx([(1 + 2 / 3) / 2])


@pytest.mark.parametrize("seed", SEEDS)
def test_pixel_figures_are_torchmetrics_over_known_pixels(seed) -> None:
    torch.manual_seed(seed)
    task = PixelRegression({}, PixelValues({"mean": 2.0, "std": 1.0, "low": 0.5, "high": 5.0}))
    target, said = torch.rand(4, 1, 6, 8) * 4.5 + 0.5, torch.rand(4, 1, 6, 8) * 6
    target[torch.rand(target.shape) < 0.3] = 0
    figures = task.figures(task.records(said, target, ids(4)))
    known = target > 0
    truth, answer = target[known], said[known]
    assert figures["MAE"] == pytest.approx(reference.mean_absolute_error(answer, truth).item())
    assert figures["RMSE"] == pytest.approx(reference.mean_squared_error(answer, truth, squared=False).item())
    psnr = image_reference.peak_signal_noise_ratio(answer, truth, data_range=4.5)
    assert figures["PSNR"] == pytest.approx(psnr.item(), rel=1e-5)
    relative = reference.mean_absolute_percentage_error(answer, truth)
    assert figures["abs_rel"] == pytest.approx(relative.item(), rel=1e-5)
    factor = torch.maximum(answer / truth, truth / answer)
    for power, name in enumerate(("delta_1.25", "delta_1.25^2", "delta_1.25^3"), start=1):
        assert figures[name] == pytest.approx((factor < 1.25**power).float().mean().item())


@pytest.mark.parametrize("seed", SEEDS)
def test_calibration_errors_are_torchmetrics(seed) -> None:
    torch.manual_seed(seed)
    scores, target = (2 * torch.randn(200, 4)).softmax(1), torch.randint(0, 4, (200,))
    task = classification(4)
    ece = task.figures(task.records(scores, target, ids(200)))["ECE"]
    expected = reference.calibration_error(scores, target, "multiclass", num_classes=4, n_bins=15, norm="l1")
    assert ece == pytest.approx(expected.item(), abs=1e-6)

    labels, truth = torch.rand(80, 5), (torch.rand(80, 5) > 0.6).float()
    many = classification(5, multi_label=True)
    ece = many.figures(many.records(labels, truth, ids(80)))["ECE"]
    expected = reference.calibration_error(labels.flatten(), truth.flatten().int(), "binary", n_bins=15, norm="l1")
    assert ece == pytest.approx(expected.item(), abs=1e-6)

    maps, numbers = (2 * torch.randn(4, 6, 7, 9)).softmax(1), torch.randint(0, 6, (4, 7, 9), dtype=torch.uint8)
    numbers[torch.rand(numbers.shape) < 0.2] = 255
    pixels = segmentation(6)
    ece = pixels.figures(pixels.records(maps, numbers, ids(4)))["ECE"]
    options = {"num_classes": 6, "n_bins": 15, "norm": "l1", "ignore_index": 255}
    expected = reference.calibration_error(maps, numbers.long(), "multiclass", **options)
    assert ece == pytest.approx(expected.item(), abs=1e-6)


def test_location_figures_by_hand() -> None:
    from weft.tasks.location import Location

    task = Location({}, Points({"points": ["left", "right"]}))
    target = torch.tensor([[[10.0, 10, 1], [20, 20, 1]], [[5, 5, 1], [0, 0, 0]]])
    said = torch.tensor([[[13.0, 14, 0.9], [20, 20, 0.2]], [[5, 6, 0.8], [99, 99, 0.1]]])
    figures = task.figures(task.records(said, target, ids(2)))
    expected = {
        "MAE": (3 + 4 + 0 + 0 + 0 + 1) / 6,
        "RMSE": ((9 + 16 + 1) / 6) ** 0.5,
        "visibility_accuracy": 3 / 4,
        "PCK": 1,  # the farthest by 5 pixels
        "MAE/left": (3 + 4 + 0 + 1) / 4,
        "MAE/right": 0,
    }
    assert figures == pytest.approx(expected)


def test_box_overlap_is_that_of_torchvision() -> None:
    from torchvision.ops import box_iou

    from weft.tasks.places import box_overlap

    random = np.random.default_rng(0)
    low = random.random((2, 30, 2)) * 10
    boxes = np.concatenate([low, low + random.random((2, 30, 2)) * 10], axis=-1)
    expected = box_iou(*(torch.from_numpy(box) for box in boxes)).diagonal()
    assert box_overlap(boxes[0], boxes[1]) == pytest.approx(expected.numpy())


def test_figures_of_an_evaluation_are_cheap_enough_to_resample() -> None:
    import time

    task, random = segmentation(39), np.random.default_rng(0)
    counts = random.integers(1, 1000, (300, 39))
    records = Records(ids(300), {"tp": counts, "predicted": 2 * counts, "actual": 3 * counts})
    start = time.perf_counter()
    for _ in range(10):
        task.figures(records)
    assert (time.perf_counter() - start) / 10 < 0.005  # seconds: a thousand of them make an interval


def test_nothing_warns_where_classes_are_absent() -> None:
    task = classification(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task.figures(task.records(torch.rand(2, 3), torch.tensor([0, 0]), ids(2)))
