"""Answers to COCO's data, written by weft, as the official tool scores them against the official file."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from weft.data.formats.coco import Coco
from weft.data.manifest import Manifest
from weft.data.picture_part import picture_and_part
from weft.errors import DataFault
from weft.modalities.image import ImageModality
from weft.tasks.boxes import Boxes
from weft.tasks.detection import Detection
from weft.tasks.exchange import Origin
from weft.tasks.location import Location
from weft.tasks.points import Points
from weft.types import FeatureSpec

SPECS = {"image": FeatureSpec("grid", 8, channels=(8,), strides=(8,))}
#: Ids with gaps, and not in their order.
CATEGORIES: list[dict[str, Any]] = [
    {"id": 18, "name": "dog"},
    {"id": 1, "name": "person"},
    {"id": 90, "name": "toothbrush"},
]
POINTS = [f"point {number}" for number in range(17)]
IMAGES: list[dict[str, Any]] = [
    {"id": number, "file_name": f"{number:012}.jpg", "height": 60, "width": 80} for number in (9, 4)
]


def write_tree(root: Path, kind: str, annotations: list[dict[str, Any]], categories: list[dict[str, Any]]) -> Path:
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").mkdir()
    for image in IMAGES:
        pixels = np.random.default_rng(image["id"]).integers(1, 255, (60, 80, 3), np.uint8)
        Image.fromarray(pixels).save(root / "val2017" / image["file_name"], quality=95)
    path = root / "annotations" / f"{kind}_val2017.json"
    path.write_text(json.dumps({"images": IMAGES, "annotations": annotations, "categories": categories}))
    return path


def official(truth: Path, results: Path, kind: str) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(str(truth))
        evaluation = COCOeval(known, known.loadRes(str(results)), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def test_boxes_are_written_by_the_ids_of_categories_and_scored_as_weft_scores_them(tmp_path: Path) -> None:
    boxes: dict[int, list[tuple[int, list[int]]]] = {
        9: [(18, [5, 5, 40, 30]), (1, [10, 20, 30, 38]), (90, [50, 2, 20, 20])],
        4: [(1, [0, 0, 64, 50])],
    }
    annotations = [
        {"id": 10 * image + n, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0}
        | {"area": box[2] * box[3]}
        for image, there in boxes.items()
        for n, (category, box) in enumerate(there)
    ]
    truth = write_tree(tmp_path / "coco", "instances", annotations, CATEGORIES)
    manifest = Coco(root=str(tmp_path / "coco"), masks="none").manifest()
    field = Boxes(manifest.columns["boxes"].facts)
    task = Detection(SPECS, field)
    records = []
    for row in range(len(manifest)):
        target = field.placed(field.read(manifest.cell(row, "boxes"), manifest.resolve), (60, 80))
        said = np.array([[*(one[:4] + np.array([0, 0, 3, 0])), 0.9 - 0.1 * n, one[4]] for n, one in enumerate(target)])
        task.write(said, Origin(manifest.id(row), (60, 80), (60, 80)), tmp_path / "said")
        answers, objects = (field.to_tensor(rows.astype(np.float32))[None] for rows in (said, target))
        records.append(task.records(answers, objects, [manifest.id(row)]))
    scored = [task.figures(one) for one in records]
    evaluation = official(truth, tmp_path / "said/detections.json", "bbox")
    assert evaluation.stats[1] == 1  # AP at 0.5: every box is of the category of its object
    per_class = {name: evaluation.eval["precision"][:, :, k, 0, -1] for k, name in enumerate(field.classes)}
    assert field.classes == ("person", "dog", "toothbrush")  # by their ids, as pycocotools has them
    of_nine = scored[manifest.values("id").to_pylist().index("000000000009")]
    for name in ("dog", "toothbrush"):  # these are in one picture alone
        assert of_nine[f"AP/{name}"] == pytest.approx(per_class[name].mean(), abs=1e-6)
    assert json.loads((tmp_path / "said/categories.json").read_text())["categories"] == sorted(
        CATEGORIES, key=lambda one: one["id"]
    )


def person(number: int, image: int, box: list[float], *, marked: int = 17, **more: Any) -> dict[str, Any]:
    """Points on a grid in a box; of the last ones nobody marked any."""
    x, y, width, height = box
    places = [(x + width * (0.1 + 0.2 * (n % 5)), y + height * (0.1 + 0.2 * (n // 5)), 1 + n % 2) for n in range(17)]
    points = [value for n, place in enumerate(places) for value in (place if n < marked else (0, 0, 0))]
    known = {"id": number, "image_id": image, "category_id": 7, "bbox": box, "area": 0.6 * width * height}
    return known | {"iscrowd": 0, "num_keypoints": marked, "keypoints": points} | more


PEOPLE = [
    person(1, 9, [4, 6, 20, 40]),
    person(2, 9, [50, 10, 28, 30], marked=11),  # its part reaches beyond the right border
    person(3, 4, [30, 0, 12, 20], marked=5),
    person(4, 4, [2, 2, 9, 9], marked=0),
    person(5, 4, [40, 30, 30, 20], iscrowd=1),
]


def people_of(root: Path, **options: Any) -> tuple[Path, Manifest]:
    path = write_tree(root, "person_keypoints", PEOPLE, [{"id": 7, "name": "person", "keypoints": POINTS}])
    return path, Coco(root=str(root), read=("keypoints",), masks="none", **options).manifest()


def test_every_person_with_points_is_a_sample_cut_from_its_picture(tmp_path: Path) -> None:
    _, manifest = people_of(tmp_path, people="each", margin=1.5)
    assert manifest.values("id").to_pylist() == [
        "000000000004#xywh=24,-5,24,30&id=3",  # 15 wide, 20 high in the shape 3 : 4; times 1.5
        "000000000009#xywh=-9,-4,46,60&id=1",
        "000000000009#xywh=43,-3,42,56&id=2",
    ]
    assert manifest.values("picture").to_pylist() == ["000000000004", "000000000009", "000000000009"]
    assert manifest.group == "picture"
    assert manifest.notes == ()
    image = ImageModality({})
    pixels = image.read(manifest.cell(2, "image"), manifest.resolve)
    whole = np.array(Image.open(tmp_path / "val2017/000000000009.jpg"))
    assert pixels.shape == (56, 42, 3)
    np.testing.assert_array_equal(pixels[3:, :37], whole[:53, 43:])
    assert not pixels[:3].any()  # beyond the borders
    assert not pixels[:, 37:].any()
    points = Points(manifest.columns["keypoints"].facts).read(manifest.cell(2, "keypoints"), manifest.resolve)
    np.testing.assert_allclose(points[0], [50 + 2.8 - 43, 10 + 3 + 3, 1], rtol=1e-6)
    assert points[:, 2].tolist() == [1] * 11 + [0] * 6


def test_pictures_of_nobody_are_told_of(tmp_path: Path) -> None:
    write_tree(tmp_path, "person_keypoints", PEOPLE[:1], [{"id": 7, "name": "person", "keypoints": POINTS}])
    manifest = Coco(root=str(tmp_path), read=("keypoints",), masks="none", people="each").manifest()
    assert manifest.notes == ("1 images have nobody with a point and are left out",)
    assert manifest.roots == ()


def test_keypoints_of_parts_are_scored_by_the_official_tool_in_pixels_of_the_picture(tmp_path: Path) -> None:
    truth, manifest = people_of(tmp_path / "coco", people="each")
    field = Points(manifest.columns["keypoints"].facts)
    task = Location(SPECS, field)
    off = {"1": (0.0, 0.0), "2": (0.5, -0.5), "3": (0.5, 0.0)}
    random = np.random.default_rng(0)
    for row in range(len(manifest)):
        sample, (height, width) = manifest.id(row), (256, 192)
        _, part = picture_and_part(sample)
        assert part is not None
        size = (part.height, part.width)
        target = field.read(manifest.cell(row, "keypoints"), manifest.resolve)
        said = target.copy()
        said[:, :2] += off[sample.rpartition("=")[2]]
        said[target[:, 2] == 0, :2] = random.uniform(0, 20, 2)  # of what nobody marked anything may be said
        said[:, :2] *= (width / size[1], height / size[0])  # as the network saw it
        said[:, 2] = 0.5 + 0.01 * row
        task.write(said, Origin(sample, size, (height, width)), tmp_path / "said")
    evaluation = official(truth, tmp_path / "said/keypoints.json", "keypoints")
    spread = (2 * evaluation.params.kpt_oks_sigmas) ** 2
    for one in PEOPLE[:3]:
        squared = sum(shift**2 for shift in off[str(one["id"])])
        marked = one["num_keypoints"]
        expected = np.exp(-squared / spread / one["area"] / 2)[:marked].mean()  # COCO's object keypoint similarity
        objects = [found["id"] for found in evaluation._gts[one["image_id"], 7]]
        overlaps = evaluation.computeOks(one["image_id"], 7)[:, objects.index(one["id"])]
        np.testing.assert_allclose(overlaps.max(), expected, rtol=1e-5)
    assert evaluation.stats[1] == 1  # AP at 0.5


def test_points_of_data_that_names_no_category_are_a_table_alone(tmp_path: Path) -> None:
    task = Location(SPECS, Points({}, points=["nose"]))
    task.write(np.array([[3.0, 4.0, 0.9]]), Origin("a", (10, 10), (10, 10)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["points.csv"]


def test_each_person_takes_keypoints_alone_and_whole_points(tmp_path: Path) -> None:
    with pytest.raises(DataFault, match=r"with keypoints alone, and this reads keypoints, instances; say `read"):
        Coco(root=str(tmp_path), read=("keypoints",), people="each").manifest()
    broken = person(1, 9, [4, 6, 20, 40]) | {"keypoints": [1, 2, 2]}
    write_tree(tmp_path / "a", "person_keypoints", [broken], [{"id": 7, "name": "person", "keypoints": POINTS}])
    for people in ("each", "largest"):
        with pytest.raises(DataFault, match="annotation 1 has 3 numbers for keypoints; x, y and v of 17 points are 51"):
            Coco(root=str(tmp_path / "a"), read=("keypoints",), masks="none", people=people).manifest()
