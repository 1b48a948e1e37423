"""What only location and pixel regression do, and the files of classification."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tasks.task_cases import CASES, DECODER, SIZE, SPEC, features
from weft.registry import Part
from weft.tasks.exchange import Origin
from weft.tasks.location import HeatMapHead, Location
from weft.tasks.pixel_regression import PixelRegression
from weft.tasks.pixel_values import PixelValues
from weft.tasks.points import Points


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_an_even_heat_map_points_at_the_middle_of_the_image() -> None:
    head = HeatMapHead(SPEC, 2, width=8)
    torch.nn.init.zeros_(head.heat.weight)
    said = head(features(), SIZE)
    torch.testing.assert_close(said[..., 0], torch.full((4, 2), SIZE[1] / 2))
    torch.testing.assert_close(said[..., 1], torch.full((4, 2), SIZE[0] / 2))
    assert said[0, 0, 3:].tolist() == [SIZE[1], SIZE[0]]


def test_a_point_that_is_not_visible_has_no_say_in_where() -> None:
    task, target = CASES["location of points"].build(), CASES["location of points"].target()
    logits = task(features(), view="fused", size=SIZE)
    elsewhere = target.clone()
    elsewhere[1, :2, :2] = 1000
    assert torch.equal(task.loss(logits, target)[0], task.loss(logits, elsewhere)[0])


def test_the_loss_of_a_point_is_in_fractions_of_the_image() -> None:
    task = Location({}, Points({"points": ["p"]}), visibility_weight=0.0)
    logits = torch.tensor([[[30.0, 10.0, 0.0, 60.0, 40.0]]])
    total, count = task.loss(logits, torch.tensor([[[15.0, 20.0, 1.0]]]))
    assert total.item() == pytest.approx((15 / 60 + 10 / 40) / 2)
    assert count.item() == 1


def test_places_are_brought_back_from_a_mirrored_and_resized_look() -> None:
    points = CASES["location of points"].build()
    seen = torch.tensor([[[10.0, 4.0, 0.9]]])
    torch.testing.assert_close(
        points.undo(seen, flipped=True, size=(20, 40), original=(40, 80)), torch.tensor([[[60.0, 8.0, 0.9]]])
    )
    boxes = CASES["location of boxes"].build()
    box = torch.tensor([[[2.0, 3.0, 0.9], [12.0, 9.0, 0.8]]])
    torch.testing.assert_close(
        boxes.undo(box, flipped=True, size=(20, 40), original=(20, 40)),
        torch.tensor([[[28.0, 3.0, 0.9], [38.0, 9.0, 0.8]]]),
    )


def test_a_mirrored_map_is_mirrored_back() -> None:
    task, values = CASES["segmentation"].build(), torch.rand(2, 5, 3, 4)
    back = task.undo(values.flip(-1), flipped=True, size=(3, 4), original=(3, 4))
    assert torch.equal(back, values)


def test_places_are_written_in_pixels_of_the_samples_own_image(tmp_path: Path) -> None:
    task = CASES["location of points"].build()
    answer = np.array([[10, 20, 0.9], [0, 0, 0.1], [47, 31, 1.0]])
    task.write(answer, Origin("a", (64, 96), SIZE), tmp_path)
    task.write(answer, Origin("b", SIZE, SIZE), tmp_path)
    rows = rows_of(tmp_path / "points.csv")
    assert rows[0] == ["id", "point", "x", "y", "visible"]
    assert rows[1] == ["a", "p", "20.00", "40.00", "0.900000"]
    assert rows[4][:4] == ["b", "p", "10.00", "20.00"]


def test_what_is_not_visible_is_not_drawn() -> None:
    task, background = CASES["location of points"].build(), Image.new("RGB", SIZE[::-1])
    hidden = np.array([[10, 20, 0.1]] * 3)
    assert not np.asarray(task.draw(hidden, background)).any()
    assert np.asarray(task.draw(hidden + np.array([0, 0, 0.8]), background)).any()
    assert not np.asarray(background).any()  # the picture that was given stays as it was
    target = task.field.read([[10, 20], None, None], Path)
    assert np.asarray(task.draw_truth(target, background)).any()
    assert np.asarray(task.draw_error(hidden, target, background)).any()


def test_classes_are_written_as_a_table(tmp_path: Path) -> None:
    one = CASES["classification"].build()
    one.write(np.array([0.2, 0.7, 0.1]), Origin("x", SIZE, SIZE), tmp_path / "one")
    assert rows_of(tmp_path / "one" / "classes.csv") == [
        ["id", "class", "p/a", "p/b", "p/c"],
        ["x", "b", "0.200000", "0.700000", "0.100000"],
    ]
    many = CASES["classification of many labels"].build()
    many.write(np.array([0.6, 0.7, 0.1]), Origin("x", SIZE, SIZE), tmp_path / "many")
    many.write(np.array([0.1, 0.2, 0.1]), Origin("y", SIZE, SIZE), tmp_path / "many")
    assert [row[1] for row in rows_of(tmp_path / "many" / "classes.csv")] == ["labels", "a|b", ""]
    assert many.draw_truth(np.array([0.0, 0, 0]), Image.new("RGB", (8, 8))).size[1] > 8


def depth(**options: object) -> PixelRegression:
    field = PixelValues({"mean": 3.0, "std": 1.0, "low": 0.7, "high": 10.0})
    return PixelRegression({"fused": SPEC}, field, decoder=DECODER, **options)


def test_an_untrained_answer_is_about_the_mean() -> None:
    zeros = torch.zeros(1, 1, 2, 2)
    assert depth(output="linear").predict(zeros).mean().item() == pytest.approx(3.0)
    assert depth(output="positive").predict(zeros).mean().item() == pytest.approx(3.0, rel=0.02)


def test_positive_answers_are_positive() -> None:
    assert depth().predict(torch.full((1, 1, 2, 2), -30.0)).min() > 0


def test_a_loss_of_logarithms_needs_positive_answers() -> None:
    with pytest.raises(ValueError, match="say `output: positive`"):
        depth(output="linear", loss=Part("loss", "scale_invariant"))


def test_unknown_pixels_are_in_no_loss_and_no_figure() -> None:
    task, target = depth(), torch.full((2, 1, 4, 4), 2.0)
    target[0] = 0
    target[1, 0, 0] = torch.nan
    said = torch.rand(2, 1, 4, 4)
    total, count = task.loss(said, target)
    assert count.item() == 12
    said[0] = 99
    assert torch.equal(task.loss(said, target)[0], total)
    records = task.records(task.predict(said), target, ["a", "b"])
    assert records.rows["count"].tolist() == [0, 12]
    assert task.badness(records)[0] == 0


def test_a_prediction_below_zero_is_within_no_ratio() -> None:
    task = depth(output="linear")
    records = task.records(torch.full((1, 1, 1, 2), -2.0), torch.full((1, 1, 1, 2), 2.0), ["a"])
    assert task.figures(records)["delta_1.25^3"] == 0


def test_depth_is_written_in_millimetres_with_its_meaning_beside_it(tmp_path: Path) -> None:
    depth().write(np.array([[[1.2345, 9.0]]], np.float32), Origin("a", (1, 2), (1, 2)), tmp_path)
    picture = np.asarray(Image.open(tmp_path / "a.png"))
    assert picture.dtype == np.uint16
    assert picture.tolist() == [[1234, 9000]]
    meaning = json.loads((tmp_path / "values.json").read_text(encoding="utf-8"))
    assert meaning == {"value": "stored * scale + offset", "scale": 0.001, "offset": 0.0, "unit": "m"}


def test_values_below_zero_come_back_from_their_file(tmp_path: Path) -> None:
    field = PixelValues({"mean": -5.0, "std": 10.0, "low": -40.0, "high": 20.0}, unknown=None, unit="°C")
    task = PixelRegression({"fused": SPEC}, field, decoder=DECODER)
    values = np.array([[[-60.0, -5.0, 35.0]]], np.float32)
    task.write(values, Origin("a", (1, 3), (1, 3)), tmp_path)
    meaning = json.loads((tmp_path / "values.json").read_text(encoding="utf-8"))
    read = np.asarray(Image.open(tmp_path / "a.png")) * meaning["scale"] + meaning["offset"]
    np.testing.assert_allclose(read, values[0], atol=meaning["scale"])


def test_values_are_drawn_with_unknown_pixels_grey() -> None:
    task, background = depth(), Image.new("RGB", (6, 4))
    target = np.full((4, 6, 1), 2.0, np.float32)
    target[0] = 0
    said = np.full((1, 4, 6), 2.5, np.float32)
    for picture in (task.draw_truth(target, background), task.draw_error(said, target, background)):
        pixels = np.asarray(picture)
        assert pixels[0, 0].tolist() == [128, 128, 128]
        assert pixels[2, 2].tolist() != [128, 128, 128]
    assert task.draw(said, background).size == (6, 4)
