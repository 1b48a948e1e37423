"""Several labels at once: weights by rarity, thresholds tuned on the validation part; by hand and by trying all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.metrics import f1_score
from sklearn.utils.class_weight import compute_class_weight

from weft.config import load_experiment
from weft.engine.checkpoint import find
from weft.engine.evaluate import evaluate
from weft.engine.loading import load_run
from weft.engine.predict import predict
from weft.engine.train import train
from weft.metrics.thresholds import best_f1_thresholds
from weft.registry import Part
from weft.tasks.class_label import ClassLabel
from weft.tasks.classification import Classification
from weft.types import FeatureSpec

SPEC = {"fused": FeatureSpec("vector", 4)}


def task_of(
    *, counts: tuple[int, ...] = (), num: int = 0, multi_label: bool = True, **options: object
) -> Classification:
    facts = {"classes": ["a", "b", "c"], "counts": list(counts), "num_counted": num}
    return Classification(SPEC, ClassLabel(facts, multi_label=multi_label), **options)  # type: ignore[arg-type]


# ---- counts and weights


def test_training_samples_are_counted_for_each_class_once() -> None:
    found = ClassLabel({}, multi_label=True)
    cells = ["a|c", "a|a", "", "c"]
    facts = found.fit([found.read(cell, Path) for cell in cells])
    assert facts == {"classes": ["a", "c"], "counts": [2, 2], "num_counted": 4}
    declared = ClassLabel({}, classes=["c", "b", "a"], multi_label=True)
    assert declared.wants_fit
    facts = declared.fit([declared.read(cell, Path) for cell in cells])
    assert facts == {"classes": ["c", "b", "a"], "counts": [2, 0, 2], "num_counted": 4}
    assert not ClassLabel(facts, multi_label=True).wants_fit
    single = ClassLabel({}, classes=["x", "y"])
    assert single.fit([single.read(cell, Path) for cell in ("y", "y", 0)])["counts"] == [1, 2]


def test_what_is_not_known_of_a_label_is_no_negative_of_it() -> None:
    for found in (ClassLabel({}, multi_label=True), ClassLabel({}, classes=["a", "b"], multi_label=True)):
        facts = found.fit([found.read(cell, Path) for cell in ("a|?b", "b", "?b", "", "a|b")])
        assert facts == {"classes": ["a", "b"], "counts": [2, 2], "num_counted": 5, "known": [5, 3]}
    task = Classification(SPEC, ClassLabel(facts, multi_label=True), balanced=True)
    assert task.criterion.pos_weight.tolist() == [1.5, 0.5]
    one_way = ClassLabel({}, multi_label=True)
    assert one_way.fit([one_way.read("?b|a", Path)])["classes"] == ["a", "b"]


def test_a_rare_label_weighs_its_negatives_over_its_positives() -> None:
    task = task_of(counts=(2, 0, 8), num=10, balanced=True)
    assert task.criterion.pos_weight.tolist() == [4, 1, 0.25]
    logits, target = torch.tensor([[0.3, -1.0, 2.0]]), torch.tensor([[1.0, 0.0, 1.0]])
    total, count = task.loss(logits, target)
    by_hand = (
        -4 * F.logsigmoid(torch.tensor(0.3)) - F.logsigmoid(torch.tensor(1.0)) - F.logsigmoid(torch.tensor(2.0)) / 4
    )
    assert total.item() == pytest.approx(by_hand.item())
    assert count.item() == 3


def test_classes_weigh_as_scikit_learn_balances_them() -> None:
    labels = [0] * 6 + [1] * 3 + [2]
    task = task_of(counts=(6, 3, 1), num=10, multi_label=False, balanced=True)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert task.criterion.class_weights.tolist() == pytest.approx(expected.tolist())


def test_weights_that_a_loss_cannot_take_or_has_been_given_are_refused() -> None:
    given = Part("loss", "binary_cross_entropy", {"pos_weight": [1.0, 2.0, 3.0]})
    assert task_of(loss=given).criterion.pos_weight.tolist() == [1, 2, 3]
    for loss in (given, Part("loss", "mse")):
        with pytest.raises(
            ValueError, match=r"`balanced` gives the loss .* its pos_weight, which it lacks, or was given"
        ):
            task_of(counts=(1, 1, 1), num=2, balanced=True, loss=loss)


# ---- thresholds


def test_thresholds_by_hand() -> None:
    scores = np.array([[0.9, 0.2, 0.5], [0.6, 0.2, 0.5], [0.4, 0.7, 0.5], [0.1, 0.3, 0.5]], np.float32)
    truth = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 0], [0, 0, 0]], bool)
    # a: cutting below 0.4 answers three, two of them right: F1 2·2/(3+2) = 0.8, above 0.6 it is 2/3
    # b: below 0.2 all four are answered: 2·2/(4+2) = 2/3; below 0.7 one, right: 2·1/(1+2) = 2/3, the higher cut
    # c: all scores are equal: all or nothing
    expected = [0.25, 0.5, 0.25]
    np.testing.assert_allclose(best_f1_thresholds(scores, truth, otherwise=0.5), expected, atol=1e-6)
    nobody = best_f1_thresholds(scores, np.zeros_like(truth), otherwise=0.5)
    assert nobody.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("seed", range(4))
def test_no_other_threshold_has_a_larger_f1(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.random((30, 3)).round(1 + seed).astype(np.float32)  # with one digit, ties are common
    truth = random.random((30, 3)) < scores * 0.7
    best = best_f1_thresholds(scores, truth, otherwise=0.5)
    for label in range(3):
        reached = f1_score(truth[:, label], scores[:, label] >= best[label])
        tried = [f1_score(truth[:, label], scores[:, label] >= cut, zero_division=0) for cut in np.linspace(0, 1, 401)]
        assert reached >= max(tried) - 1e-12


def test_neighbours_in_float32_are_told_apart() -> None:
    high = np.float32(0.7)
    low = np.nextafter(high, np.float32(0))
    scores, truth = np.array([[high], [low]]), np.array([[True], [False]])
    best = best_f1_thresholds(scores, truth, otherwise=0.5)
    assert (scores >= best).ravel().tolist() == [True, False]


def test_tuning_changes_answers_and_figures_and_nothing_else() -> None:
    task = task_of(thresholds="tuned")
    scores = torch.tensor([[0.4, 0.9, 0.1], [0.3, 0.8, 0.1], [0.1, 0.7, 0.2]])
    truth = torch.tensor([[1.0, 1, 0], [1, 0, 0], [0, 0, 0]])
    records = task.records(scores, truth, ["x", "y", "z"])
    before = task.figures(records)
    assert (before["F1/a"], before["recall/a"], before["F1/b"]) == (0, 0, 0.5)
    task.tune(records)
    assert task.get_buffer("thresholds").tolist() == pytest.approx([0.2, 0.85, 0.5])
    after = task.figures(records)
    assert (after["F1/a"], after["F1/b"], after["exact_match"]) == (1, 1, 1)
    assert after["average_precision_macro"] == before["average_precision_macro"]
    assert task.right(records).tolist() == [True, True, True]


def test_thresholds_that_are_given_stay_and_one_of_many_classes_has_none() -> None:
    task = task_of(thresholds=0.3)
    records = task.records(torch.tensor([[0.4, 0.2, 0.3]]), torch.tensor([[1.0, 0, 0]]), ["x"])
    task.tune(records)
    assert task.get_buffer("thresholds").tolist() == pytest.approx([0.3, 0.3, 0.3])
    assert task.figures(records)["accuracy"] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="give them with `multi_label: true`"):
        task_of(multi_label=False, thresholds="tuned")


def test_a_run_tunes_on_its_validation_part_and_answers_with_what_it_found(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lines = ["id,split,x,y,labels"]
    for place in range(90):
        x, y = random.normal(size=2)
        labels = [name for name, there in (("rare", x > 1.2), ("often", y > -1)) if there]
        lines.append(f"{place},{'val' if place % 3 == 0 else 'train'},{x:.3f},{y:.3f},{'|'.join(labels) or '|'}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    experiment = load_experiment(
        {
            "name": "labels",
            "data": {"format": "table", "root": str(tmp_path), "file": "t.csv", "workers": 0},
            "modalities": {
                "facts": {"type": "table", "columns": ["x", "y"], "encoder": {"type": "table_mlp", "dim": 8}}
            },
            "tasks": {
                "labels": {
                    "type": "classification",
                    "multi_label": True,
                    "classes": ["rare", "often"],
                    "thresholds": "tuned",
                }
            },
            "train": {"epochs": 2, "precision": "fp32", "device": "cpu", "output": str(tmp_path / "runs")},
        }
    )
    run = train(experiment, progress=False)
    thresholds = load_run(run).model.tasks["labels"].get_buffer("thresholds")
    assert (thresholds != 0.5).any()
    assert find(run / "checkpoints" / "best") is not None
    result = evaluate(run, split="val", quick=True, progress=False)
    subset = result["tasks"]["labels"]["subsets"]["facts"]
    folder = predict(run, split="val", progress=False) / "labels"
    written = json.loads((folder / "thresholds.json").read_text())
    assert list(written.values()) == pytest.approx(thresholds.tolist(), abs=1e-6)
    answers = [line.split(",") for line in (folder / "classes.csv").read_text().splitlines()[1:]]
    for _, said, *shares in answers:
        over = [name for name, share in zip(("rare", "often"), shares, strict=True) if float(share) >= written[name]]
        assert said == "|".join(over)
    assert subset["figures"]["F1_macro"]["value"] > 0.5


def test_pictures_of_labels_name_them_in_the_order_of_the_table() -> None:
    field = ClassLabel({}, classes=["z", "a"], multi_label=True)
    assert field.describe(np.array([1.0, 1.0])) == (("", "z, a"),)
    assert field.describe(np.zeros(2)) == (("", "none"),)
    assert isinstance(field.draw(np.array([1.0, 0.0])), Image.Image)
