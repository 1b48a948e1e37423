"""PASCAL VOC, from a small tree written after the description in the official development kit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weft.boxes import CLASS, DIFFICULT, IGNORED
from weft.data.formats.voc import CLASSES, Voc
from weft.errors import DataFault
from weft.tasks.boxes import Boxes
from weft.tasks.class_label import ClassLabel
from weft.tasks.label_map import LabelMap

ANNOTATION = """<annotation>
	<folder>VOC2012</folder>
	<filename>{name}.jpg</filename>
	<size><width>8</width><height>6</height><depth>3</depth></size>
	<segmented>1</segmented>
{objects}
</annotation>
"""
OBJECT = """	<object>
		<name>{name}</name>
		<pose>Unspecified</pose>
		<truncated>0</truncated>
		<difficult>{difficult}</difficult>
		<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>
		<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
	</object>"""


def official_palette() -> list[int]:
    """The colours of the kit: bits of the number, three at a time, from the highest bit of each channel down."""
    colours = []
    for number in range(256):
        red = green = blue = 0
        for bit in range(8):
            red |= ((number >> (3 * bit)) & 1) << (7 - bit)
            green |= ((number >> (3 * bit + 1)) & 1) << (7 - bit)
            blue |= ((number >> (3 * bit + 2)) & 1) << (7 - bit)
        colours += [red, green, blue]
    return colours


def write_voc(root: Path, *, train: int = 2, val: int = 1) -> None:
    """Pictures of 8x6 with a person (15) in a white border and a difficult chair (9), in every official list."""
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", "SegmentationObject"):
        (root / folder).mkdir(parents=True)
    mask = np.zeros((6, 8), np.uint8)
    mask[1:5, 1:5] = 255
    mask[2:4, 2:4] = 15
    mask[5, 7] = 9
    names = [f"2008_{number:06}" for number in range(train + val)]
    for place, name in enumerate(names):
        random = np.random.default_rng(place)
        Image.fromarray(random.integers(0, 255, (6, 8, 3), np.uint8)).save(root / "JPEGImages" / f"{name}.jpg")
        for folder, values in (("SegmentationClass", mask), ("SegmentationObject", np.where(mask == 15, 1, mask))):
            picture = Image.fromarray(values.astype(np.uint8), mode="P")
            picture.putpalette(official_palette())
            picture.save(root / folder / f"{name}.png")
        objects = [OBJECT.format(name="person", difficult=0, box=(2, 2, 5, 5))]
        objects += [OBJECT.format(name="chair", difficult=1, box=(8, 6, 8, 6))]
        text = ANNOTATION.format(name=name, objects="\n".join(objects))
        (root / "Annotations" / f"{name}.xml").write_text(text)
    for lists in ("Main", "Segmentation", "Layout"):
        (root / "ImageSets" / lists).mkdir(parents=True)
        (root / "ImageSets" / lists / "train.txt").write_text("\n".join(names[:train]) + "\n")
        (root / "ImageSets" / lists / "val.txt").write_text("\n".join(names[train:]) + "\n")
        (root / "ImageSets" / lists / "trainval.txt").write_text("\n".join(names) + "\n")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_voc(tmp_path / "VOC2012")
    return tmp_path / "VOC2012"


def test_the_lists_give_the_splits(tree: Path) -> None:
    manifest = Voc(root=str(tree)).manifest()
    assert {split: len(manifest.split(split)) for split in manifest.splits} == {"train": 2, "val": 1}
    whole = Voc(root=str(tree), lists="Segmentation", names={"train": "trainval"}).manifest()
    assert manifest.values("id").to_pylist() == whole.values("id").to_pylist()
    assert whole.splits == ["train"]


def test_masks_are_indices_whose_border_is_ignored(tree: Path) -> None:
    manifest = Voc(root=str(tree)).manifest()
    facts = manifest.columns["label"].facts
    assert facts["classes"] == ["background", *CLASSES]
    assert facts["classes"][15] == "person"
    read = LabelMap(facts).read(manifest.cell(0, "label"), manifest.resolve)
    assert np.unique(read, return_counts=True)[0].tolist() == [0, 9, 15, 255]
    assert (read == 255).sum() == 12


def test_boxes_count_pixels_from_one_and_difficult_ones_are_ignored(tree: Path) -> None:
    manifest = Voc(root=str(tree)).manifest()
    field = Boxes(manifest.columns["boxes"].facts)
    rows = field.placed(field.read(manifest.cell(0, "boxes"), manifest.resolve), (6, 8))
    assert rows[:, :4].tolist() == [[1, 1, 5, 5], [7, 5, 8, 6]]  # one pixel is one pixel wide; parts are no objects
    assert [CLASSES[int(row[CLASS])] for row in rows] == ["person", "chair"]
    assert rows[:, IGNORED].tolist() == [0, DIFFICULT]


def test_a_label_that_only_difficult_objects_show_is_not_known(tree: Path) -> None:
    manifest = Voc(root=str(tree)).manifest()
    field = ClassLabel(manifest.columns["labels"].facts, multi_label=True)
    read = dict(zip(CLASSES, field.read(manifest.cell(0, "labels"), manifest.resolve).tolist(), strict=True))
    assert read["person"] == 1
    assert np.isnan(read.pop("chair"))
    assert sum(read.values()) == 1


def test_instances_leave_the_border_out(tree: Path) -> None:
    manifest = Voc(root=str(tree)).manifest()
    rows = Boxes(manifest.columns["instances"].facts).read(manifest.cell(0, "instances"), manifest.resolve)
    assert rows[:, :4].tolist() == [[2, 2, 4, 4], [7, 5, 8, 6]]


def test_an_image_without_mask_or_annotation_is_not_labelled(tree: Path) -> None:
    (tree / "SegmentationClass" / "2008_000000.png").unlink()
    (tree / "Annotations" / "2008_000001.xml").unlink()
    manifest = Voc(root=str(tree)).manifest()
    assert manifest.present("label").tolist() == [False, True, True]
    assert manifest.present("boxes").tolist() == manifest.present("labels").tolist() == [True, False, True]
    assert "column 'label': 1 of 3 samples have no file" in manifest.notes


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("<name>person</name>", "<name>persn</name>", "'persn' is no class"),
        ("<xmin>2</xmin>", "<xmin>two</xmin>", "xmin is 'two', which is no number"),
        ("<ymax>5</ymax>", "", "object 1 has no ymax"),
        ("</annotation>", "", "is no XML"),
        ("<annotation>", '<!DOCTYPE a [<!ENTITY b "bbbb">]><annotation>', "declares a document type"),
    ],
)
def test_a_faulty_annotation_is_refused_with_its_file(tree: Path, before: str, after: str, said: str) -> None:
    path = tree / "Annotations" / "2008_000001.xml"
    path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises(DataFault, match=f"2008_000001.xml.*{said}"):
        Voc(root=str(tree)).manifest()


def test_all_faulty_annotations_are_told_together(tree: Path) -> None:
    for path in sorted((tree / "Annotations").iterdir())[1:]:
        path.write_text(path.read_text().replace("<name>person</name>", "<name>persn</name>", 1))
    with pytest.raises(DataFault, match="2 faults:") as told:
        Voc(root=str(tree)).manifest()
    assert str(told.value).count("'persn' is no class") == str(told.value).count("did you mean 'person'?") == 2


def test_a_list_that_is_not_there_is_named(tree: Path) -> None:
    with pytest.raises(DataFault, match=r"trainaug.txt does not exist"):
        Voc(root=str(tree), names={"train": "trainaug"}).manifest()


def test_other_classes_can_be_named(tree: Path) -> None:
    manifest = Voc(root=str(tree), classes=["chair", "person"]).manifest()
    assert manifest.columns["boxes"].facts["classes"] == ["chair", "person"]
