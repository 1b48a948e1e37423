"""Label maps: what is read, what is refused, and what is said then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weft.modalities.base import BadCell
from weft.tasks.label_map import LabelMap


def read(field: LabelMap, labels: list[list[int]], dtype: type = np.uint8) -> np.ndarray:
    return field.read("masks/7.png", lambda cell: np.array(labels, dtype))


def refused(field: LabelMap, labels: list[list[int]]) -> str:
    with pytest.raises(BadCell) as caught:
        read(field, labels)
    return str(caught.value)


def test_class_numbers_come_through_and_unlabelled_pixels_are_marked() -> None:
    field = LabelMap({"classes": ["a", "b", "c"], "ignore": 9})
    np.testing.assert_array_equal(read(field, [[0, 2, 9]]), [[0, 2, 255]])
    assert field.geometry.fill == field.ignore == 255
    assert field.to_tensor(read(field, [[0, 2, 9]])).tolist() == [[0, 2, 255]]


def test_options_go_before_what_the_format_declares() -> None:
    field = LabelMap({"classes": ["a", "b", "c"], "ignore": 9}, ignore=0, remap={"1": 0, "2": 1, "3": 2})
    np.testing.assert_array_equal(read(field, [[0, 1, 3]]), [[255, 0, 2]])


def test_a_number_declared_to_have_no_label_has_none_even_if_it_could_be_a_class() -> None:
    field = LabelMap({}, num_classes=3, ignore=0)
    np.testing.assert_array_equal(read(field, [[0, 1, 2]]), [[255, 1, 2]])


def test_more_classes_than_a_byte_holds_are_kept_apart() -> None:
    field = LabelMap({}, num_classes=300, ignore=65535)
    values = read(field, [[0, 255, 299, 65535]], np.uint16)
    assert values.tolist() == [[0, 255, 299, field.ignore]]
    assert field.to_tensor(values).tolist() == [[0, 255, 299, 32767]]


def test_classes_nobody_names_are_the_sorted_values_of_the_training_split() -> None:
    field = LabelMap({})
    assert field.wants_fit
    facts = field.fit([read(field, [[7, 3]]), read(field, [[3, 255]])])
    fitted = LabelMap(facts)
    assert fitted.classes == ("3", "7")
    np.testing.assert_array_equal(read(fitted, [[7, 3, 255]]), [[1, 0, 255]])
    assert not fitted.wants_fit
    assert LabelMap(fitted.facts).classes == fitted.classes  # the kept facts are enough


def test_a_label_outside_the_classes_is_refused_with_file_value_and_pixels() -> None:
    said = refused(LabelMap({"classes": ["a", "b", "c"], "ignore": 255}), [[0, 1, 17, 17]])
    assert "masks/7.png holds 17 (2 pixels)" in said
    assert "3 classes, 0 to 2" in said
    assert "another data set" in said


def test_255_is_explained_as_unlabelled() -> None:
    assert "`ignore: 255`" in refused(LabelMap({}, num_classes=3, ignore=99), [[0, 255]])


def test_numbers_from_one_are_explained() -> None:
    assert "start at 1" in refused(LabelMap({}, num_classes=3), [[1, 2, 3]])
    assert "from 1 beside an unlabelled 0" in refused(LabelMap({}, num_classes=3), [[0, 1, 2, 3]])


def test_binary_masks_of_0_and_255_are_not_taken_for_unlabelled() -> None:
    assert '"255": 1' in refused(LabelMap({"classes": ["no", "yes"]}), [[0, 255]])
    assert '"255": 1' in refused(LabelMap({"classes": ["no", "yes"]}, ignore=9), [[0, 255]])
    said = LabelMap({"classes": ["no", "yes"]}, remap={"0": 0, "255": 1}, ignore=9)
    np.testing.assert_array_equal(read(said, [[0, 255]]), [[0, 1]])
    followed = LabelMap({"classes": ["no", "yes"]}, remap={"0": 0, "255": 1})
    np.testing.assert_array_equal(read(followed, [[0, 255]]), [[0, 1]])
    ignored = LabelMap({"classes": ["no", "yes"]}, ignore=255)
    np.testing.assert_array_equal(read(ignored, [[0, 255]]), [[0, 255]])


def test_a_remap_refuses_what_is_not_in_it() -> None:
    said = refused(LabelMap({}, num_classes=2, remap={"4": 0, "5": 1}), [[4, 1]])
    assert "`remap` knows 4, 5" in said
    assert "say in `remap` which class they are" in said
    with pytest.raises(ValueError, match="remap sends 4 to 2, and there are 2 classes"):
        LabelMap({}, num_classes=2, remap={"4": 2})


def test_colours_are_read_by_their_table(tmp_path: Path) -> None:
    picture = np.array([[[128, 64, 128], [0, 0, 0]], [[0, 0, 255], [0, 0, 255]]], np.uint8)
    Image.fromarray(picture).save(tmp_path / "m.png")
    colours = {"road": "#804080", "sky": "#0000ff", "ignore": "#000000"}
    field = LabelMap({"classes": ["road", "sky"]}, colours=colours)
    np.testing.assert_array_equal(field.read("m.png", lambda cell: tmp_path / cell), [[0, 255], [1, 1]])
    with pytest.raises(BadCell, match="give the table of its colours"):
        LabelMap({"classes": ["road", "sky"]}).read("m.png", lambda cell: tmp_path / cell)


@pytest.mark.parametrize(
    ("colours", "message"),
    [({"car": "#000000"}, "'car', which is no class"), ({"road": "red"}, 'write it as "#rrggbb"')],
)
def test_a_table_of_colours_that_cannot_be_meant_is_refused(colours: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelMap({"classes": ["road", "sky"]}, colours=colours)


def test_reading_a_map_without_anything_to_change_copies_nothing() -> None:
    stored = np.array([[0, 1, 2]], np.uint8)
    assert np.shares_memory(LabelMap({}, num_classes=3).read("x", lambda cell: stored), stored)


def test_it_is_drawn_in_the_colours_of_the_task() -> None:
    field = LabelMap({}, num_classes=3)
    picture = np.asarray(field.draw(np.array([[0, 1, 255]], np.uint8)))
    assert picture.shape == (1, 3, 3)
    assert picture[0, 2].tolist() == [255, 255, 255]
    assert picture[0, 0].tolist() != picture[0, 1].tolist()


def test_the_real_label_maps_are_read(shared: Path) -> None:
    field = LabelMap({}, num_classes=39, ignore=255)
    folder = shared / "data" / "nyuv2" / "label"
    for name in sorted(path.name for path in folder.iterdir())[:3]:
        values = field.read(name, lambda cell: folder / cell)
        assert values.dtype == np.uint8
        assert set(np.unique(values).tolist()) <= {*range(39), 255}
