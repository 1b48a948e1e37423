"""The target of detection: how boxes are read, what is refused, and how they move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from weft.data.collate import Sample, collate
from weft.data.geometry import Warp, apply, resize
from weft.errors import DataFault
from weft.modalities.base import BadCell
from weft.tasks.boxes import Boxes

CLASSES = {"classes": ["cat", "dog", "cow"]}
SIZE = (40, 60)


def read(field: Boxes, cell: object, size: tuple[int, int] = SIZE) -> np.ndarray:
    return field.placed(field.read(cell, Path), size)


@pytest.mark.parametrize(
    "cell",
    [
        [[10, 20, 30, 40, "dog"], [0, 0, 5, 4, "cow"]],
        '[[10, 20, 30, 40, "dog"], [0, 0, 5, 4, 2]]',
        [{"box": [10, 20, 30, 40], "class": "dog"}, {"box": [0, 0, 5, 4], "label": "cow"}],
        {"boxes": [[10, 20, 30, 40], [0, 0, 5, 4]], "classes": ["dog", "cow"]},
        '{"boxes": [[10, 20, 30, 40], [0, 0, 5, 4]], "classes": ["dog", "cow"]}',
        np.array([[10, 20, 30, 40, 1], [0, 0, 5, 4, 2.0]]),
    ],
)
def test_boxes_are_lists_mappings_or_arrays(cell: object) -> None:
    assert read(Boxes(CLASSES), cell).tolist() == [[10, 20, 30, 40, 1, 0, 400], [0, 0, 5, 4, 2, 0, 20]]


@pytest.mark.parametrize("cell", [[], "[]", {"boxes": [], "classes": []}, np.zeros((0, 5))])
def test_an_empty_list_says_that_nothing_is_there(cell: object) -> None:
    field = Boxes(CLASSES)
    assert read(field, cell).shape == (0, 7)
    assert field.remarks(cell, Path) == ["no object in it"]


@pytest.mark.parametrize(
    ("form", "units", "numbers"),
    [
        ("xywh", "pixels", [10, 20, 20, 10]),
        ("cxcywh", "pixels", [20, 25, 20, 10]),
        ("xyxy", "fractions", [10 / 60, 20 / 40, 30 / 60, 30 / 40]),
        ("cxcywh", "fractions", [20 / 60, 25 / 40, 20 / 60, 10 / 40]),
    ],
)
def test_forms_and_units_give_the_same_box(form: str, units: str, numbers: list[float]) -> None:
    expected = [10, 20, 30, 30, 0, 0, 200]
    declared = {**CLASSES, "boxes": form, "units": units}
    for field in (Boxes(CLASSES, boxes=form, units=units), Boxes(declared)):  # type: ignore[arg-type]
        np.testing.assert_allclose(read(field, [[*numbers, "cat"]])[0], expected, rtol=1e-6)


def test_what_is_difficult_or_a_crowd_is_ignored_and_the_area_kept() -> None:
    cell = {
        "boxes": [[0, 0, 4, 4], [0, 0, 8, 8], [1, 1, 3, 3]],
        "classes": ["cat"] * 3,
        "difficult": [True, False, False],
        "crowd": [False, True, False],
        "area": [9, 40, None],
    }
    field = Boxes(CLASSES)
    assert read(field, cell)[:, 5:].tolist() == [[1, 9], [2, 40], [0, 4]]
    assert field.remarks(cell, Path) == ["with boxes that are ignored"]


@pytest.mark.parametrize(
    ("cell", "code", "message"),
    [
        ("[[1, 2]", "box-format", "not JSON"),
        (7, "box-format", "no list of boxes"),
        ("1,2,3,4,cat", "box-format", "neither a list of boxes"),
        ([[1, 2, 3, "cat"]], "box-format", "with four numbers"),
        ([[1, 2, float("nan"), 4, "cat"]], "box-format", "not finite"),
        ([[30, 20, 10, 40, "cat"]], "box-reversed", "boxes: xywh or cxcywh"),
        ([[10, 20, 10, 40, "cat"]], "box-reversed", "no area as xyxy"),
        ([[10, 20, 30, 40, "bird"]], "class-unknown", "not in the table of 3 classes"),
        ([[10, 20, 30, 40, 3]], "class-unknown", "'3' is not in the table"),
        ([[10, 20, 30, 40]], "box-class", "has no class"),
        ([[0.1, 0.2, 0.5, 0.5, "cat"]], "box-units", "units: fractions"),
        ([[50, 30, 100, 90, "cat"]], "box-outside", "1 of 1 boxes lie outside their image of 60x40"),
        ({"boxes": [[0, 0, 1, 1]], "classes": []}, "box-format", "1 boxes and 0 classes"),
        ({"box": [[0, 0, 1, 1]]}, "box-format", "mapping of box is no list"),
    ],
)
def test_boxes_that_cannot_be_meant_are_refused(cell: object, code: str, message: str) -> None:
    with pytest.raises(BadCell, match=message) as refused:
        read(Boxes(CLASSES), cell)
    assert refused.value.code == code


def test_fractions_above_one_are_refused() -> None:
    with pytest.raises(BadCell, match="units: pixels"):
        read(Boxes(CLASSES, units="fractions"), [[10, 20, 30, 40, "cat"]])


def test_a_box_of_one_pixel_is_one() -> None:
    assert read(Boxes(CLASSES), [[0, 0, 1, 1, "cat"]]).tolist() == [[0, 0, 1, 1, 0, 0, 1]]


def test_classes_are_found_sorted() -> None:
    field = Boxes({})
    assert field.wants_fit
    cells: tuple[list[object], ...] = ([[0, 0, 9, 9, "dog"]], [], [[0, 0, 9, 9, "cat"], [0, 0, 9, 9, "dog"]])
    assert field.fit([field.read(cell, Path) for cell in cells]) == {"classes": ["cat", "dog"]}
    with pytest.raises(DataFault, match="no training sample has a box"):
        field.fit([field.read([], Path)])
    with pytest.raises(ValueError, match="'a' is named twice"):
        Boxes({}, classes=["a", "a"])


def test_instances_of_a_map_become_boxes(tmp_path: Path) -> None:
    instances = np.zeros(SIZE, np.uint8)
    instances[5:10, 7:9] = 1
    instances[20:40, 30:60] = 4
    instances[20, 30] = 0
    Image.fromarray(instances).save(tmp_path / "a.png")
    field = Boxes({"instances": True}, classes=["person"])
    expected = [[7, 5, 9, 10, 0, 0, 10], [30, 20, 60, 40, 0, 0, 599]]
    assert field.decodes
    assert field.placed(field.read("a.png", lambda cell: tmp_path / cell), SIZE).tolist() == expected
    assert field.placed(field.read("a", lambda _: instances), SIZE).tolist() == expected
    with pytest.raises(ValueError, match="does not say which of the classes"):
        Boxes({"instances": True}, classes=["cat", "dog"])


def test_boxes_move_with_their_image_and_are_cut_at_its_border() -> None:
    box = read(Boxes(CLASSES), [[10, 10, 20, 20, "cow"]])
    geometry = Boxes(CLASSES).geometry
    flip = Warp(np.array([[-1.0, 0, 60], [0, 1, 0]]), SIZE, SIZE, resizes=True, mirrors=True)
    assert apply(flip, box, geometry).tolist() == [[40, 10, 50, 20, 2, 0, 100]]
    assert apply(resize(SIZE, (80, 60)), box, geometry).tolist() == [[10, 20, 20, 40, 2, 0, 200]]
    turn = Warp(np.array([[0.0, -1, 40], [1, 0, 0]]), SIZE, (60, 40), resizes=False)
    assert apply(turn, box, geometry).tolist() == [[20, 10, 30, 20, 2, 0, 100]]

    def shifted(x: float) -> list[list[float]]:
        moved: list[list[float]] = apply(
            Warp(np.array([[1.0, 0, x], [0, 1, 0]]), SIZE, SIZE, resizes=False), box, geometry
        ).tolist()
        return moved

    assert shifted(-15) == [[0, 10, 5, 20, 2, 0, 50]]  # half is left
    assert shifted(-18) == [[0, 10, 2, 20, 2, 1, 20]]  # less than `visible` is ignored
    assert shifted(-20) == []


def test_samples_are_filled_up_to_the_most_boxes_of_a_batch() -> None:
    field = Boxes(CLASSES)

    def sample(name: str, **targets: np.ndarray) -> Sample:
        return Sample(name, {}, targets, SIZE, SIZE)

    samples = [
        sample("two", found=read(field, [[0, 0, 5, 5, "cat"], [1, 1, 9, 9, "dog"]])),
        sample("background", found=read(field, [])),
        sample("not labelled"),
    ]
    batch = collate(samples, {}, {"found": field})
    assert batch.targets["found"].shape == (2, 2, 7)
    assert batch.targets["found"][1].eq(-1).all()
    assert batch.labelled["found"].tolist() == [True, True, False]
    assert collate(samples[1:2], {}, {"found": field}).targets["found"].shape == (1, 0, 7)
    assert batch.targets["found"].dtype == torch.float32
