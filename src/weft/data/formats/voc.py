"""PASCAL VOC: masks, instances, boxes and image labels of twenty classes, from the official folders and lists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import pyarrow as pa

from weft.data.listing import absent_notes, by_stem, column_of, folder, read_names
from weft.data.manifest import SPLITS, Column, Manifest
from weft.data.xmlfile import read_xml
from weft.errors import DataFault, all_of, did_you_mean
from weft.registry import register
from weft.tasks.class_label import SEPARATOR, UNKNOWN

#: In the order of their numbers in the masks, from 1; 0 is the background.
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
BACKGROUND = "background"

#: The value of borders and of what is hard to tell in the masks.
BORDER = 255


@register("format", "voc")
class Voc:
    """Images in `JPEGImages/`, boxes in `Annotations/ID.xml`, masks in `SegmentationClass/` and `SegmentationObject/`,
    and the official lists in `ImageSets/Main/`, `ImageSets/Segmentation/` or `ImageSets/Layout/`, below `root`.

    Columns: `image`; `label`, a class per pixel, 0 the background and 255 (borders) ignored; `instances`, an object per
    pixel; `boxes` with their classes, of which the difficult ones count neither for nor against; and `labels`, the
    classes of the image, of which one that only difficult objects show is not known. What the files do not hold of an
    image is absent. The numbers of the boxes are pixels counted from 1, the last one within; weft counts from 0 and
    ends behind it.

    Reference: Everingham et al., IJCV 2010; development kit of VOC 2012.

    Args:
        root: the folder that holds them, such as VOCdevkit/VOC2012.
        lists: whose lists name the samples. Those of Segmentation have a mask each; of Main, most images have none.
        names: the list of each split, such as {train: trainval, test: test}; by default train, val and test, where they
            are.
        masks: the folder of the masks of classes, where it is another (SegmentationClassAug).
        classes: where they are not the twenty: the names of the objects, in the order of their numbers in masks.
    """

    def __init__(
        self,
        *,
        root: str,
        lists: Literal["Main", "Segmentation", "Layout"] = "Main",
        names: dict[str, str] | None = None,
        masks: str = "SegmentationClass",
        classes: list[str] | None = None,
    ) -> None:
        self.root = root
        self.lists = lists
        self.names = dict(names or {})
        self.masks = masks
        self.classes = tuple(CLASSES if classes is None else classes)

    def manifest(self) -> Manifest:
        """All images of the lists, split by split.

        Raises:
            DataFault: a folder, a list or an annotation is missing or not as described.
        """
        root = folder(self.root)
        images = by_stem(folder(root, "JPEGImages"))
        listed = list(_listed(folder(root, "ImageSets", self.lists), self.names))
        ids = [name for name, _ in listed]
        found = {
            "image": ("JPEGImages", images),
            "label": (self.masks, _files(root, self.masks)),
            "instances": ("SegmentationObject", _files(root, "SegmentationObject")),
        }
        annotated = _files(root, "Annotations", endings=(".xml",))
        objects = self._all_objects(root / "Annotations", ids, annotated)
        cells = {column: column_of(prefix, ids, files) for column, (prefix, files) in found.items()}
        table = pa.table(
            {
                "id": pa.array(ids, pa.string()),
                "split": pa.array([split for _, split in listed], pa.string()),
                **cells,
                "boxes": pa.array([None if rows is None else _boxes(rows) for rows in objects], pa.string()),
                "labels": pa.array([None if rows is None else _labels(rows) for rows in objects], pa.string()),
            }
        )
        masks = {"classes": [BACKGROUND, *self.classes], "ignore": BORDER, "rest": BACKGROUND}
        names = {"classes": list(self.classes)}
        columns = {
            "image": Column("image"),
            "label": Column("label", masks),
            "instances": Column("instances", {"instances": True, "ignore": BORDER}),
            "boxes": Column("boxes", names),
            "labels": Column("labels", names),
        }
        return Manifest(
            table, root, columns, notes=tuple(absent_notes(table.select(["image", "label", "instances", "boxes"])))
        )

    def _all_objects(self, folder: Path, ids: list[str], files: Mapping[str, str]) -> list[list[dict[str, Any]] | None]:
        """Those of every image; None of one that has no annotation.

        Raises:
            DataFault: annotations are not as described, all of them together.
        """
        found: list[list[dict[str, Any]] | None] = []
        faults = []
        for name in ids:
            try:
                found.append(self._objects(folder / files[name]) if name in files else None)
            except DataFault as error:
                faults.append(error)
        if faults:
            raise all_of(faults)
        return found

    def _objects(self, path: Path) -> list[dict[str, Any]]:
        """{name, box, difficult} of each object of an annotation; the box as x1, y1, x2, y2 from 0."""
        found = []
        for number, element in enumerate(read_xml(path).findall("object"), start=1):
            name = _text(element, "name", path, number)
            if name not in self.classes:
                raise DataFault(
                    f"{path}, object {number}: {name!r} is no class; there are {', '.join(self.classes)}; name others "
                    f"in `classes`{did_you_mean(name, self.classes)}",
                    code="class-unknown",
                )
            box = element.find("bndbox")
            if box is None:
                raise DataFault(f"{path}, object {number}: {name} has no bndbox", code="bad-box")
            left, top, right, bottom = (_number(box, side, path, number) for side in ("xmin", "ymin", "xmax", "ymax"))
            difficult = (element.findtext("difficult") or "0").strip() == "1"
            found.append({"name": name, "box": [left - 1, top - 1, right, bottom], "difficult": difficult})
        return found


def _listed(lists: Path, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    """(id, split) of the images in the lists."""
    chosen = names or {split: split for split in SPLITS if (lists / f"{split}.txt").is_file()}
    if not chosen:
        raise DataFault(
            f"{lists} has no train.txt, val.txt or test.txt; name the list of each split in `names`", code="no-split"
        )
    for split, name in chosen.items():
        for line in read_names(lists / f"{name}.txt"):
            yield line.split()[0], split  # the lists of a class have a second column


def _files(root: Path, name: str, *, endings: Sequence[str] = (".png",)) -> dict[str, str]:
    """{id: file} of a folder that need not be there."""
    return by_stem(root / name, endings=endings) if (root / name).is_dir() else {}


def _boxes(objects: list[dict[str, Any]]) -> str:
    return json.dumps(
        {
            "boxes": [one["box"] for one in objects],
            "classes": [one["name"] for one in objects],
            "difficult": [one["difficult"] for one in objects],
        }
    )


def _labels(objects: list[dict[str, Any]]) -> str:
    """The classes that are there; one of difficult objects only is marked as not known."""
    sure = dict.fromkeys(one["name"] for one in objects if not one["difficult"])
    unsure = dict.fromkeys(one["name"] for one in objects if one["name"] not in sure)
    return SEPARATOR.join([*sure, *(UNKNOWN + name for name in unsure)])


def _text(element: ElementTree.Element, name: str, path: Path, number: int) -> str:
    text = (element.findtext(name) or "").strip()
    if not text:
        raise DataFault(f"{path}, object {number} has no {name}", code="bad-box")
    return text


def _number(element: ElementTree.Element, name: str, path: Path, number: int) -> float:
    text = _text(element, name, path, number)
    try:
        return float(text)
    except ValueError as error:
        raise DataFault(f"{path}, object {number}: {name} is {text!r}, which is no number", code="bad-box") from error
