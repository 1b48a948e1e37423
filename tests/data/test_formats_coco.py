"""COCO, from small files written after the official description of the format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from weft.boxes import AREA, CLASS, CROWD, IGNORED
from weft.data.coco_masks import region, run_lengths
from weft.data.formats.coco import Coco
from weft.errors import DataFault
from weft.modalities.base import BadCell
from weft.tasks.boxes import Boxes
from weft.tasks.class_label import ClassLabel
from weft.tasks.label_map import LabelMap
from weft.tasks.points import Points

#: Ids with gaps, and not in their order.
CATEGORIES = [
    {"id": 18, "name": "dog", "supercategory": "animal"},
    {"id": 1, "name": "person", "supercategory": "person"},
]
POINTS = ["nose", "left_eye", "right_eye"]

PERSON = {
    "id": 7, "image_id": 9, "category_id": 1, "iscrowd": 0, "area": 8, "bbox": [1, 1, 4, 2],
    "segmentation": [[1, 1, 5, 1, 5, 3, 1, 3]],
}  # fmt: skip
DOG = {
    "id": 8, "image_id": 9, "category_id": 18, "iscrowd": 0, "area": 1, "bbox": [2, 1, 1, 1],
    "segmentation": [[2, 1, 3, 1, 3, 2, 2, 2]],
}  # fmt: skip
#: Column by column, from the top: 20 pixels of nothing, then the four of the last column.
CROWD_OF_PEOPLE = {
    "id": 9, "image_id": 9, "category_id": 1, "iscrowd": 1, "area": 4, "bbox": [5, 0, 1, 4],
    "segmentation": {"counts": [20, 4], "size": [4, 6]},
}  # fmt: skip


def write_json(root: Path, name: str, annotations: list[Any] | None, **more: Any) -> None:
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    images = [{"id": number, "file_name": f"{number:012}.jpg", "height": 4, "width": 6} for number in (9, 4)]
    content = {"info": {}, "images": images, "categories": CATEGORIES, **more}
    if annotations is not None:
        content["annotations"] = annotations
    (root / "annotations" / f"{name}.json").write_text(json.dumps(content))


def write_coco(root: Path, *names: str) -> None:
    """Two pictures of 6x4 of a split each, of which the one with the id 9 has a person, a dog and a crowd."""
    for place, name in enumerate(names or ("train2017", "val2017")):
        (root / name).mkdir(parents=True)
        shift = 100 * place  # a picture is in one split
        annotations = [one | {"image_id": 9 + shift} for one in (DOG, PERSON, CROWD_OF_PEOPLE)]
        images = [{"id": n + shift, "file_name": f"{n + shift:012}.jpg", "height": 4, "width": 6} for n in (9, 4)]
        write_json(root, f"instances_{name}", annotations, images=images)
        for image in images:
            random = np.random.default_rng(image["id"])
            Image.fromarray(random.integers(0, 255, (4, 6, 3), np.uint8)).save(root / name / image["file_name"])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_coco(tmp_path, "train2017")
    return tmp_path


def test_categories_with_gaps_are_a_table_in_the_order_of_their_ids(tree: Path) -> None:
    manifest = Coco(root=str(tree)).manifest()
    assert manifest.values("id").to_pylist() == ["000000000004", "000000000009"]
    assert manifest.columns["boxes"].facts["classes"] == ["person", "dog"]
    assert manifest.columns["label"].facts["classes"] == ["background", "person", "dog"]
    field = Boxes(manifest.columns["boxes"].facts)
    rows = field.placed(field.read(manifest.cell(1, "boxes"), manifest.resolve), (4, 6))
    assert rows[:, :4].tolist() == [[2, 1, 3, 2], [1, 1, 5, 3], [5, 0, 6, 4]]
    assert rows[:, [CLASS, IGNORED, AREA]].tolist() == [[1, 0, 1], [0, 0, 8], [0, CROWD, 4]]


def test_an_image_without_an_object_is_labelled_as_empty(tree: Path) -> None:
    manifest = Coco(root=str(tree)).manifest()
    assert manifest.present("boxes").all()
    assert len(Boxes(manifest.columns["boxes"].facts).read(manifest.cell(0, "boxes"), manifest.resolve)) == 0
    labels = ClassLabel(manifest.columns["labels"].facts, multi_label=True)
    assert labels.read(manifest.cell(0, "labels"), manifest.resolve).tolist() == [0, 0]
    assert labels.read(manifest.cell(1, "labels"), manifest.resolve).tolist() == [1, 1]
    mask = LabelMap(manifest.columns["label"].facts).read(manifest.cell(0, "label"), manifest.resolve)
    assert mask.tolist() == [[0] * 6] * 4


def test_masks_are_drawn_of_polygons_and_run_lengths_with_what_is_small_on_top(tree: Path) -> None:
    manifest = Coco(root=str(tree)).manifest()
    mask = LabelMap(manifest.columns["label"].facts).read(manifest.cell(1, "label"), manifest.resolve)
    assert mask.tolist() == [[0, 0, 0, 0, 0, 1], [0, 1, 2, 1, 1, 1], [0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1]]
    assert isinstance(manifest.resolve(manifest.cell(1, "image")), Path)


def test_stuff_has_no_background(tmp_path: Path) -> None:
    (tmp_path / "train2017").mkdir()
    write_json(tmp_path, "stuff_train2017", [PERSON])
    manifest = Coco(root=str(tmp_path), read=(), masks="stuff").manifest()
    assert manifest.columns["label"].facts["classes"] == ["person", "dog"]
    mask = LabelMap(manifest.columns["label"].facts).read(manifest.cell(1, "label"), manifest.resolve)
    assert mask[1].tolist() == [255, 0, 0, 0, 0, 255]


def test_panoptic_segments_are_classes_of_their_pixels(tmp_path: Path) -> None:
    folder = tmp_path / "annotations" / "panoptic_train2017"
    folder.mkdir(parents=True)
    ids = np.zeros((4, 6), np.int64)
    ids[0], ids[1] = 300, 5
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 256**2], -1).astype(np.uint8)
    Image.fromarray(colours).save(folder / "000000000009.png")
    segments = [{"id": 300, "category_id": 18, "iscrowd": 0}, {"id": 5, "category_id": 1, "iscrowd": 0}]
    one = {"image_id": 9, "file_name": "000000000009.png", "segments_info": segments}
    write_json(tmp_path, "panoptic_train2017", [one])
    manifest = Coco(root=str(tmp_path), read=(), masks="panoptic").manifest()
    field = LabelMap(manifest.columns["label"].facts)
    assert field.read(manifest.cell(1, "label"), manifest.resolve)[:, 0].tolist() == [1, 0, 255, 255]
    assert manifest.present("label").tolist() == [False, True]
    ids[3] = 77
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 256**2], -1).astype(np.uint8)
    Image.fromarray(colours).save(folder / "000000000009.png")
    with pytest.raises(BadCell, match="has a segment 77, which the JSON does not list"):
        field.read(manifest.cell(1, "label"), manifest.resolve)


def test_captions_and_the_points_of_the_largest_person(tmp_path: Path) -> None:
    (tmp_path / "train2017").mkdir()
    write_json(tmp_path, "captions_train2017", [{"id": 1, "image_id": 9, "caption": " A dog. "}], categories=[])
    small = PERSON | {"keypoints": [0, 0, 0, 0, 0, 0, 1, 1, 2], "num_keypoints": 1, "area": 2}
    large = PERSON | {"id": 70, "keypoints": [3, 2, 2, 4, 1, 1, 0, 0, 0], "num_keypoints": 2}
    categories = [{"id": 1, "name": "person", "keypoints": POINTS, "skeleton": [[1, 2]]}]
    write_json(tmp_path, "person_keypoints_train2017", [small, large], categories=categories)
    manifest = Coco(root=str(tmp_path), read=("captions", "keypoints"), masks="none").manifest()
    assert manifest.values("captions").to_pylist() == [None, ["A dog."]]
    assert manifest.present("keypoints").tolist() == [False, True]
    points = Points(manifest.columns["keypoints"].facts)
    assert points.names == tuple(POINTS)
    assert points.read(manifest.cell(1, "keypoints"), manifest.resolve).tolist() == [[3, 2, 1], [4, 1, 1], [0, 0, 0]]


def test_a_file_without_annotations_leaves_its_images_unlabelled(tmp_path: Path) -> None:
    write_json(tmp_path, "instances_test", None)
    manifest = Coco(root=str(tmp_path), names={"test": "test"}).manifest()
    assert not manifest.present("boxes").any()
    assert not manifest.present("label").any()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"category_id": 2}, "annotation 7 has the category_id 2, which is not among the 2 categories"),
        ({"image_id": 5}, "is of the image 5, which the file does not list"),
        ({"bbox": [1, 1, -4, 2]}, "of negative size"),
        ({"bbox": [1, 1, 4]}, r"it is \[x, y, width, height\]"),
    ],
)
def test_a_faulty_annotation_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    write_json(tmp_path, "instances_train2017", [PERSON | change])
    with pytest.raises(DataFault, match=said):
        Coco(root=str(tmp_path)).manifest()


def test_faulty_annotations_of_several_images_are_told_together(tmp_path: Path) -> None:
    faulty = [PERSON | {"bbox": [1, 1, -4, 2]}, DOG | {"image_id": 4, "category_id": 2}]
    write_json(tmp_path, "instances_train2017", faulty)
    with pytest.raises(DataFault, match=r"2 faults:(.|\n)*category_id 2(.|\n)*of negative size"):
        Coco(root=str(tmp_path)).manifest()


def test_a_box_without_an_area_is_left_out_and_counted(tmp_path: Path) -> None:
    write_json(tmp_path, "instances_train2017", [PERSON | {"bbox": [1, 1, 0, 2]}])
    manifest = Coco(root=str(tmp_path), masks="none").manifest()
    assert json.loads(manifest.cell(1, "boxes"))["boxes"] == []
    assert "1 boxes have no area and are left out" in manifest.notes


@pytest.mark.parametrize(
    "region",
    [
        [[1, 1, 2, 2]],
        [],
        {"counts": [20, 3], "size": [4, 6]},
        {"counts": [20, 4], "size": [6, 4]},
        {"counts": [], "size": [4, 6]},
        {"counts": "zz", "size": [4, 6]},
        {"counts": "d04", "size": [6, 4]},
        {"counts": "d0o", "size": [4, 6]},  # ends within a run
        {"counts": "é", "size": [4, 6]},
        "rle",
        None,
    ],
)
def test_a_region_that_is_none_is_refused_when_it_is_read(tmp_path: Path, region: Any) -> None:
    write_json(tmp_path, "instances_train2017", [PERSON | {"segmentation": region}])
    manifest = Coco(root=str(tmp_path)).manifest()
    with pytest.raises(BadCell, match="neither polygons nor a run-length code"):
        LabelMap(manifest.columns["label"].facts).read(manifest.cell(1, "label"), manifest.resolve)


@pytest.mark.parametrize("share", [0.5, 0.97, 0.9999])
def test_compressed_codes_are_read_as_the_official_tool_writes_them(share: float) -> None:
    mask = np.random.default_rng(0).random((40, 300)) > share
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = {"counts": code["counts"].decode(), "size": [40, 300]}
    assert (region(text, 40, 300) == mask).all()
    assert sum(run_lengths(text["counts"])) == mask.size
    whole = coco_mask.encode(np.ones((40, 300), np.uint8, order="F"))["counts"].decode()
    assert run_lengths(whole) == [0, 40 * 300]


def test_files_that_are_not_as_described_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "annotations" / "instances_train2017.json"
    path.parent.mkdir()
    with pytest.raises(DataFault, match=r"has no instances_train2017.json or instances_val2017.json"):
        Coco(root=str(tmp_path)).manifest()
    path.write_text('{"images": [{"id": 1')
    with pytest.raises(DataFault, match=r"instances_train2017.json is no JSON"):
        Coco(root=str(tmp_path)).manifest()
    write_json(tmp_path, "instances_train2017", [], categories=[{"id": 1, "name": "a"}, {"id": 2, "name": "a"}])
    with pytest.raises(DataFault, match="two categories 'a'"):
        Coco(root=str(tmp_path)).manifest()
    write_json(tmp_path, "instances_train2017", [], images=[{"id": 1}])
    with pytest.raises(DataFault, match=r"images\[0\]` has no 'file_name'"):
        Coco(root=str(tmp_path)).manifest()
