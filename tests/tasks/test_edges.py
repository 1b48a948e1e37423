"""Edges found in label maps, scored in place, written and drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tasks.task_cases import CASES
from weft.config import load_experiment
from weft.data.pipeline import build_data
from weft.engine.build import build_model
from weft.modalities.base import BadCell
from weft.tasks.edge_map import EDGE, NO_EDGE, OUTSIDE, UNKNOWN, EdgeMap, widened
from weft.tasks.exchange import Origin
from weft.types import Records

LABELS = {"classes": ["a", "b", "c"], "ignore": 255}


def read(field: EdgeMap, pixels: list[list[int]]) -> np.ndarray:
    return field.read("cell", lambda _: np.array(pixels, np.uint8))


def codes(field: EdgeMap, pixels: list[list[int]]) -> list[list[int]]:
    return field.to_tensor(read(field, pixels)).tolist()


# ---- where edges are


def test_edges_lie_left_of_and_above_another_class() -> None:
    assert codes(EdgeMap(LABELS), [[0, 0, 1], [0, 0, 1], [2, 2, 2]]) == [[0, 1, 0], [1, 1, 1], [0, 0, 0]]


def test_beside_a_pixel_without_a_label_nothing_is_known() -> None:
    assert codes(EdgeMap(LABELS), [[0, 255, 1, 1]]) == [[UNKNOWN, UNKNOWN, NO_EDGE, NO_EDGE]]
    assert codes(EdgeMap(LABELS), [[0, 1], [255, 1]]) == [[EDGE, NO_EDGE], [UNKNOWN, NO_EDGE]]


def test_a_strip_without_labels_is_bridged_in_its_middle() -> None:
    row = [0, 255, 255, 255, 255, 1, 1, 255, 1]
    bridged = codes(EdgeMap(LABELS, bridge=2.0), [row])[0]
    assert bridged == [UNKNOWN, UNKNOWN, EDGE, UNKNOWN, UNKNOWN, NO_EDGE, UNKNOWN, UNKNOWN, NO_EDGE]
    assert EDGE not in codes(EdgeMap(LABELS, bridge=1.0), [row])[0]


def test_edges_are_looked_for_after_the_geometry() -> None:
    field = EdgeMap(LABELS)
    value = read(field, [[0, 1], [0, 1]])
    assert field.to_tensor(np.repeat(np.repeat(value, 3, 0), 3, 1)).tolist() == [[0, 0, 1, 0, 0, 0]] * 6
    padding = field.to_tensor(np.full_like(value[:1, :1], field.geometry.fill))
    assert padding.tolist() == [[OUTSIDE]]


def test_maps_of_edges_are_taken_as_they_are() -> None:
    assert codes(EdgeMap({}), [[0, 255], [255, 0]]) == [[0, 1], [1, 0]]
    assert codes(EdgeMap({}, ignore=255), [[0, 255], [1, 0]]) == [[0, UNKNOWN], [1, 0]]
    assert codes(EdgeMap({}, source="label"), [[7, 255], [9, 9]]) == [[1, UNKNOWN], [0, 0]]
    assert codes(EdgeMap(LABELS, source="edges"), [[0, 1]]) == [[0, 1]]


def test_what_is_no_map_of_edges_is_refused() -> None:
    with pytest.raises(BadCell, match="holds 0, 1, 4 where edges are 1 or 255") as caught:
        read(EdgeMap({}), [[0, 1, 4]])
    assert caught.value.code == "edges-not-binary"
    with pytest.raises(BadCell, match="there are 3 classes"):
        read(EdgeMap(LABELS), [[0, 1, 4]])
    with pytest.raises(ValueError, match="bridge is of label maps"):
        EdgeMap({}, bridge=2.0)


def test_wide_edges_cover_both_classes_and_what_is_not_known_beside_them() -> None:
    thin = torch.tensor([[[NO_EDGE, NO_EDGE, EDGE, NO_EDGE, UNKNOWN, OUTSIDE]]], dtype=torch.uint8)
    by_width = {width: widened(thin, width)[0, 0, 0].nan_to_num(nan=-1).tolist() for width in (1, 2, 3, 5)}
    assert by_width == {
        1: [0, 0, 1, 0, -1, -1],
        2: [0, 0, 1, 1, -1, -1],
        3: [0, 1, 1, 1, -1, -1],
        5: [1, 1, 1, 1, 1, -1],
    }


def test_edges_are_counted_as_wide_as_they_are_trained_on() -> None:
    field = EdgeMap({**LABELS, "counted": True}, width=2)
    assert field.wants_fit
    facts = field.fit([read(field, [[0, 0, 1, 1, 255]])])
    assert facts == {"num_edges": 2, "num_known": 3}  # the pixel beside the unlabelled one is not known
    assert not EdgeMap({**LABELS, "counted": True, **facts}, width=2).wants_fit


# ---- scoring


def test_padding_and_its_size_change_no_figure() -> None:
    task, target = CASES["edges"].build(), CASES["edges"].target()
    prediction = torch.rand(len(target), 1, *target.shape[1:], generator=torch.Generator().manual_seed(0))
    padded = torch.full((len(target), 64, 64), OUTSIDE, dtype=torch.uint8)
    padded[:, :32, :48] = target
    said = torch.rand(len(target), 1, 64, 64)
    said[..., :32, :48] = prediction
    ids = list("abcd")
    small, large = task.records(prediction, target, ids), task.records(said, padded, ids)
    for name, values in small.rows.items():
        np.testing.assert_array_equal(large.rows[name], values)


def test_each_sample_at_its_own_threshold_is_no_worse_than_all_at_one() -> None:
    task, target = CASES["edges"].build(), CASES["edges"].target()
    scale = torch.tensor([0.9, 0.6, 0.4, 0.2]).view(-1, 1, 1, 1)
    noise = 0.3 * torch.rand(len(target), 1, *target.shape[1:], generator=torch.Generator().manual_seed(0))
    records = task.records(((target == 1)[:, None] * 0.7 + noise) * scale, target, list("abcd"))
    figures = task.figures(records)
    assert 0.2 < figures["ODS"] < figures["OIS"] <= 1
    whole = task.figures(Records(["sum"], {name: rows.sum(0, keepdims=True) for name, rows in records.rows.items()}))
    assert whole == pytest.approx(figures)  # additive


def test_the_curve_marks_the_thresholds_that_its_figures_are_of() -> None:
    def steps(*counts: int) -> np.ndarray:
        return np.repeat(counts, [10, 10, 13])  # pixels at ten low, ten middle and the high thresholds

    answered, matched = [steps(4, 2, 0), steps(4, 0, 0)], [steps(2, 2, 0), steps(4, 0, 0)]
    best = {"best_answered": np.array([2, 4]), "best_right": np.array([2, 4]), "best_found": np.array([2, 4])}
    rows = {"answered": np.array(answered), "right": np.array(matched), "found": np.array(matched)}
    records = Records(["a", "b"], rows | best | {"actual": np.array([4, 4])})
    task = CASES["edges"].build()
    (curves,) = task.curves(records)
    assert curves.lines == {"all samples": [(25, 100)] * 10 + [(75, 75)] * 10}  # from the highest threshold
    # one threshold for both: F 0.75 at the last of the low ones; each at its own: 6 of 6 right, of 8 true ones
    assert curves.points == {"ODS": (75, 75), "F": (25, 100), "OIS": (75, 100)}
    assert curves.about.startswith("all samples at 0.30 (ODS), at 0.51")
    figures = task.figures(records)
    assert (figures["ODS"], figures["OIS"]) == pytest.approx((0.75, 2 * 0.75 / 1.75))
    nothing = Records(["a"], {name: np.zeros_like(values[:1]) for name, values in records.rows.items()})
    assert task.curves(nothing) == ()


def test_the_threshold_is_that_of_the_validation_part() -> None:
    task, target = CASES["edges"].build(), CASES["edges"].target()
    right = torch.where((target == 1)[:, None], 0.4, 0.0)
    records = task.records(right, target, list("abcd"))
    assert task.figures(records)["F"] == 0  # at one half nothing is answered
    task.tune(records)
    assert float(task.get_buffer("threshold")) == pytest.approx(0.39)
    assert task.figures(records)["F"] == task.figures(records)["ODS"] == 1


def test_answers_are_written_in_eight_bits_at_the_size_of_the_sample(tmp_path: Path) -> None:
    task = CASES["edges"].build()
    prediction = np.zeros((1, 4, 6), np.float32)
    prediction[0, :, 3:] = 1
    task.write(prediction, Origin("s/1", (8, 12), (4, 6)), tmp_path)
    written = np.asarray(Image.open(tmp_path / "s%2F1.png"))
    assert written.shape == (8, 12)
    assert written.dtype == np.uint8
    assert (written[0, 0], written[0, -1]) == (0, 255)
    assert "probability" in json.loads((tmp_path / "edges.json").read_text())["value"]


def test_wrong_right_and_missed_edges_have_their_colours() -> None:
    task = CASES["edges"].build()
    truth = np.zeros((32, 48), np.int16)
    truth[:, 10] = truth[:, 30] = 1
    said = np.zeros((1, 32, 48), np.float32)
    said[0, :, 11] = said[0, :, 20] = 0.9
    picture = np.asarray(task.draw_error(said, truth, Image.new("RGB", (48, 32), "white")))
    assert picture[16, 11].tolist() == [30, 170, 60]
    assert picture[16, 20].tolist() == [230, 40, 40]
    assert picture[16, 30].tolist() == [40, 90, 230]


# ---- from a configuration


def built(edges: dict[str, Any]):
    experiment = load_experiment(
        {
            "name": "edges",
            "data": {"format": "scenes", "num_train": 4, "num_val": 2, "num_test": 0, "workers": 0},
            "modalities": {"image": {"encoder": {"type": "timm", "name": "test_resnet"}}},
            "tasks": {"edges": edges},
        }
    )
    data = build_data(experiment)
    return data, build_model(experiment, data, pretrained=False)


@pytest.mark.parametrize("target", ["edges", "label"])
def test_given_and_derived_edges_train(target: str) -> None:
    data, model = built({"target": target, "decoder": "unet", "width": 2})
    batch = next(data.batches("train", training=True))
    total, count = model.losses(model(batch), batch)["edges"]
    assert count == model.counts(batch)["edges"] == batch.targets["edges"].numel()
    total.backward()
    share = (batch.targets["edges"] == EDGE).float().mean()
    assert 0.01 < share < 0.3


def test_a_loss_that_weighs_by_the_training_split_has_its_edges_counted() -> None:
    data, model = built({"decoder": "unet", "loss": {"type": "binary_cross_entropy", "pos_weight": "inverse"}})
    facts = data.facts["targets"]["edges"]
    on, known = facts["num_edges"], facts["num_known"]
    assert model.tasks["edges"].criterion.pos_weight.item() == pytest.approx((known - on) / on)


def test_labels_of_nyuv2_have_edges_in_the_middle_of_their_unlabelled_strips(shared: Path) -> None:
    experiment = load_experiment(
        Path(__file__).parents[2] / "configs" / "nyuv2_edges.yaml", [f"data.root={shared / 'data' / 'nyuv2'}"]
    )
    data = build_data(experiment)
    sample = next(iter(data.select("test", data.ids("test")[:1])))
    value = sample.targets["edges"]
    bridged = (data.targets["edges"].edges(value) == EDGE).mean()
    assert 0.01 < bridged < 0.15
    assert bridged > 1.5 * (EdgeMap(LABELS).edges(value) == EDGE).mean()
