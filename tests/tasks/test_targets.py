"""The targets of classification, location and pixel regression: what is read and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weft.errors import DataFault
from weft.modalities.base import BadCell, Field
from weft.tasks.class_label import ClassLabel
from weft.tasks.pixel_values import FAR_BELOW, PixelValues
from weft.tasks.points import Points


def read(field: Field, cell: object) -> np.ndarray:
    return field.read(cell, Path)


@pytest.mark.parametrize(("cell", "number"), [("dog", 1), (" dog ", 1), (1, 1), ("0", 0), (2.0, 2)])
def test_a_class_is_a_name_or_its_place(cell: object, number: int) -> None:
    assert read(ClassLabel({"classes": ["cat", "dog", "cow"]}), cell).item() == number


def test_numbers_with_gaps_are_looked_up_and_not_taken_as_places() -> None:
    field = ClassLabel({"classes": [1, 2, 5]})
    assert [read(field, cell).item() for cell in (1, "2", 5.0)] == [0, 1, 2]
    with pytest.raises(BadCell, match=r"class '0' is not in the table of 3 classes \(1, 2, 5\)"):
        read(field, 0)


def test_the_table_of_classes_is_fitted_sorted_and_kept() -> None:
    field = ClassLabel({})
    assert field.wants_fit
    assert field.fit([read(field, cell) for cell in (10, 9, 2, 9)])["classes"] == ["2", "9", "10"]
    assert field.fit([read(field, cell) for cell in ("b", "a")])["classes"] == ["a", "b"]
    assert ClassLabel({}, classes=["x", "y"]).facts == {"classes": ["x", "y"]}


def test_one_class_only_is_refused() -> None:
    field = ClassLabel({})
    with pytest.raises(DataFault, match="one class only \\('a'\\)"):
        field.fit([read(field, "a"), read(field, "a")])
    with pytest.raises(DataFault, match="one class only"):
        ClassLabel({"classes": ["a"]})


def test_several_labels_are_lists_or_joined_and_none_of_them_is_an_answer() -> None:
    field = ClassLabel({"classes": ["a", "b", "c"]}, multi_label=True)
    for cell, expected in [
        ("a|c", [1, 0, 1]),
        (["b"], [0, 1, 0]),
        ([], [0, 0, 0]),
        ("", [0, 0, 0]),
        ([0, 2], [1, 0, 1]),
    ]:
        assert read(field, cell).tolist() == expected
    fresh = ClassLabel({}, multi_label=True)
    assert fresh.fit([read(fresh, "c|a"), read(fresh, []), read(fresh, ["b"])])["classes"] == ["a", "b", "c"]


def test_several_labels_where_one_is_expected_are_refused() -> None:
    with pytest.raises(BadCell, match="multi_label: true"):
        read(ClassLabel({"classes": ["a", "b"]}), ["a", "b"])


@pytest.mark.parametrize("cell", ["bird", 3, -1, 0.5, float("nan")])
def test_a_class_outside_the_table_is_refused(cell: object) -> None:
    with pytest.raises(BadCell):
        read(ClassLabel({"classes": ["cat", "dog", "cow"]}), cell)


def test_a_class_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'a' is named twice"):
        ClassLabel({}, classes=["a", "b", "a"])


@pytest.mark.parametrize(
    "cell",
    [
        [[1, 2], [3, 4, 0]],
        "[[1, 2], null]",
        {"p": [1, 2]},
        '{"p": [1, 2, 1], "q": null}',
        np.array([[1.0, 2, 1], [5, 5, 0]]),
    ],
)
def test_points_are_lists_or_mappings_and_what_is_not_there_is_not_visible(cell: object) -> None:
    field = Points({"points": ["p", "q"]})
    assert read(field, cell).tolist() == [[1, 2, 1], [0, 0, 0]]


def test_a_single_point_needs_no_list_of_its_own() -> None:
    assert read(Points({"points": ["p"]}), [4, 5]).tolist() == [[4, 5, 1]]


def test_names_of_points_are_found_in_order() -> None:
    field = Points({})
    assert field.fit([read(field, {"nose": [1, 2]}), read(field, {"eye": [1, 2], "nose": None})]) == {
        "points": ["nose", "eye"]
    }
    assert field.fit([read(field, [[1, 2], [3, 4]])]) == {"points": ["0", "1"]}


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("[[1, 2]", "not JSON"),
        (7, "neither a list"),
        ({"ear": [1, 2]}, "'ear' is not among the names"),
        ([[1, 2]], "1 entries and 2 names"),
        ({"p": [1]}, "1 numbers; 2 are read"),
        ({"p": [1, 2, 0.5]}, "0.5 for visible"),
        ({"p": [1, float("nan")]}, "not finite"),
        ({"p": ["x", 2]}, "not a list of numbers"),
    ],
)
def test_points_that_cannot_be_meant_are_refused(cell: object, message: str) -> None:
    with pytest.raises(BadCell, match=message):
        read(Points({"points": ["p", "q"]}), cell)


def test_boxes_are_two_corners_whatever_turned_them() -> None:
    field = Points({"points": ["cup"]}, kind="boxes")
    rows = read(field, [10, 20, 30, 60])
    assert field.to_tensor(rows).tolist() == [[10, 20, 1], [30, 60, 1]]
    mirrored = rows.copy()
    mirrored[:, 0] = 100 - mirrored[:, 0]
    assert field.to_tensor(mirrored).tolist() == [[70, 20, 1], [90, 60, 1]]
    turned = rows[:, [1, 0, 2]]
    assert field.to_tensor(turned).tolist() == [[20, 10, 1], [60, 30, 1]]
    assert field.num_points == 2


def test_a_box_is_visible_as_long_as_any_of_it_is() -> None:
    field = Points({"points": ["cup"]}, kind="boxes")
    rows = read(field, [10, 20, 30, 60])
    rows[1:, 2] = 0
    assert field.to_tensor(rows)[:, 2].tolist() == [1, 1]
    rows[:, 2] = 0
    assert field.to_tensor(rows).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_the_form_of_boxes_is_declared() -> None:
    field = Points({"points": ["cup"]}, kind="boxes", box="xywh")
    assert field.to_tensor(read(field, [10, 20, 5, 6])).tolist() == [[10, 20, 1], [15, 26, 1]]


@pytest.mark.parametrize(
    ("box", "code"),
    [
        ([30, 20, 10, 60], "box-reversed"),
        ([0.1, 0.2, 0.5, 0.9], "box-format"),
        ([-9, -9, -2, 5], "box-outside"),
        ([1, 2, 3], "points-format"),
    ],
)
def test_boxes_that_cannot_be_meant_are_refused(box: list[float], code: str) -> None:
    with pytest.raises(BadCell) as caught:
        read(Points({"points": ["cup"]}, kind="boxes"), [box])
    assert caught.value.code == code


def test_values_are_scaled_and_what_is_unknown_stays_out(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1500], [500, 2500]], np.uint16)).save(tmp_path / "d.png")
    field = PixelValues({}, scale=0.001)
    values = field.read("d.png", lambda cell: tmp_path / cell)
    np.testing.assert_allclose(values[..., 0], [[0, 1.5], [0.5, 2.5]], rtol=1e-6)
    assert field.known(values)[..., 0].tolist() == [[False, True], [True, True]]
    facts = field.fit([values])
    assert facts == pytest.approx({"mean": 1.5, "std": (2 / 3) ** 0.5, "low": 0.5, "high": 2.5}, rel=1e-5)
    assert not PixelValues(facts, scale=0.001).wants_fit


def test_nan_and_infinity_are_unknown_and_zero_may_be_a_value() -> None:
    stored = np.array([[np.nan, np.inf, 0.0, -3.0]], np.float32)
    field = PixelValues({}, unknown=None)
    values = field.read("x", lambda cell: stored)
    assert values[0, :, 0].tolist() == [np.float32(FAR_BELOW), np.float32(FAR_BELOW), 0, -3]
    assert field.known(values)[0, :, 0].tolist() == [False, False, True, True]
    assert field.geometry.fill == field.geometry.unknown == field.unknown


def test_a_declared_value_is_unknown() -> None:
    field = PixelValues({"scale": 2.0}, unknown=65535)
    values = field.read("x", lambda cell: np.array([[0, 65535, 7]], np.uint16))
    assert field.known(values)[0, :, 0].tolist() == [True, False, True]
    assert values[0, 2, 0] == 14


def test_values_of_nothing_known_and_of_one_value_can_be_fitted() -> None:
    field = PixelValues({}, scale=1.0)
    assert field.fit([np.zeros((2, 2, 1), np.float32)])["std"] == 1
    assert field.fit([np.full((2, 2, 1), 3, np.float32)]) == {"mean": 3, "std": 1, "low": 3, "high": 3}


@pytest.mark.parametrize(
    ("stored", "code"),
    [(np.zeros((2, 2), np.uint16), "values-scale"), (np.zeros((2, 2, 3), np.uint8), "values-channels")],
)
def test_maps_of_values_that_no_rule_covers_are_refused(stored: np.ndarray, code: str) -> None:
    with pytest.raises(BadCell) as caught:
        PixelValues({}).read("x", lambda cell: stored)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (ClassLabel({"classes": ["a", "b"]}), np.array(1)),
        (ClassLabel({"classes": ["a", "b"]}, multi_label=True), np.array([1.0, 1.0])),
        (Points({"points": ["p"]}), np.array([[3.0, 4.0, 1.0]])),
        (PixelValues({}), np.ones((4, 5, 1), np.float32)),
    ],
)
def test_targets_are_drawn(field: Field, value: np.ndarray) -> None:
    assert field.draw(value).size[0] > 0
