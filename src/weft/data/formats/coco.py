"""COCO: boxes, masks, captions, keypoints and image labels, from the official JSON files."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

import pyarrow as pa

from weft.data.coco_masks import MADE, CocoMasks
from weft.data.coco_people import PERSON, CocoPeople, largest, rows_of, with_points
from weft.data.cocofile import CocoFile, read_coco
from weft.data.listing import absent_notes, folder
from weft.data.manifest import Column, Manifest
from weft.errors import DataFault, all_of
from weft.registry import Range, register
from weft.tasks.class_label import SEPARATOR

Read = Literal["instances", "captions", "keypoints"]
Masks = Literal["none", "instances", "stuff", "panoptic"]
People = Literal["largest", "each"]

#: How the files of each kind begin, in `annotations/`.
_FILES = {
    "instances": "instances_",
    "captions": "captions_",
    "keypoints": "person_keypoints_",
    "stuff": "stuff_",
    "panoptic": "panoptic_",
}

#: The official names of the splits.
_SPLITS = {"train": ("train2017", "train2014"), "val": ("val2017", "val2014")}

BACKGROUND = "background"
#: Of pixels without a label.
IGNORE = 65535


@register("format", "coco")
class Coco:
    """Pictures in `train2017/` and `val2017/`, and what is said of them in `annotations/*.json`, below `root`.

    Columns: `image`; with instances, `boxes` with their classes (crowds count neither for nor against) and `labels`,
    the classes that an image has; with `captions`, a list of sentences; with keypoints, `keypoints`, the points of the
    person with the largest area; and `label`, a class per pixel. Classes are the categories of the file by name, in the
    order of their ids, which have gaps. An image of which nothing is said has no boxes, no labels, and no
    captions or keypoints.

    With `people: each`, every person of whom a point is marked is a sample: `image` is the part of the picture around
    its box, in the shape 3 : 4, black beyond the border, `keypoints` its points within, `picture` the picture's id.

    In masks of instances what is smaller lies on top, and the rest is the background. Masks of stuff and panoptic ones
    have no background: what they do not cover is ignored.

    Reference: Lin et al., ECCV 2014, arXiv:1405.0312; stuff: Caesar et al., CVPR 2018, arXiv:1612.03716; panoptic:
    Kirillov et al., CVPR 2019, arXiv:1801.00868.

    Args:
        root: the folder that holds `annotations/` and the pictures.
        read: what is read besides the masks.
        masks: what the class per pixel is drawn from.
        names: the name of each split in files and folders, such as {train: train2017, val: val2017}; by default those
            of 2017, else of 2014.
        people: whose keypoints are read: of each picture the largest person's, or each person by itself, which takes
            `read: [keypoints]` and `masks: none`.
        margin: with `people: each`, how many times as large as its box the part around a person is.
    """

    def __init__(
        self,
        *,
        root: str,
        read: tuple[Read, ...] = ("instances",),
        masks: Masks = "instances",
        names: dict[str, str] | None = None,
        people: People = "largest",
        margin: Annotated[float, Range(1)] = 1.25,
    ) -> None:
        self.root = root
        self.read = tuple(read)
        self.people = people
        self.margin = margin
        self.masks = masks
        self.names = dict(names or {})

    def manifest(self) -> Manifest:
        """All images, split by split, in the order of their ids.

        Raises:
            DataFault: a file is missing or not as described, or two splits have other categories.
        """
        root = folder(self.root)
        kinds = list(dict.fromkeys([*self.read, *([] if self.masks == "none" else [self.masks])]))
        if not kinds:
            raise DataFault("nothing is read; name something in `read` or `masks`", code="no-columns")
        if self.people == "each" and kinds != ["keypoints"]:
            raise DataFault(
                f"with `people: each` a sample is a part of a picture, with keypoints alone, and this reads "
                f"{', '.join(kinds)}; say `read: [keypoints]` and `masks: none`",
                code="people-alone",
            )
        found = _Found({}, {}, [], [], [])
        for split, name in self._names(folder(root, "annotations"), kinds[0]).items():
            files: dict[str, CocoFile] = {
                kind: read_coco(root / "annotations" / f"{_FILES[kind]}{name}.json") for kind in kinds
            }
            self._add(found, root, split, name, files)
        if found.faults:
            raise all_of(found.faults)
        types = {"captions": pa.list_(pa.string())}
        table = pa.table({one: pa.array(cells, types.get(one, pa.string())) for one, cells in found.cells.items()})
        columns = {"image": Column("image"), **found.columns}
        notes = absent_notes(table.select([one for one in table.column_names if one not in ("id", "split")]))
        notes += [f"{count} {said}" for said, count in Counter(found.notes).items()]
        if self.people == "each":
            people = CocoPeople(root)
            return Manifest(table, root, columns, notes=tuple(notes), arrays=people, made=PERSON, group="picture")
        arrays = None if self.masks == "none" else CocoMasks(pa.chunked_array([found.regions], pa.string()), root)
        return Manifest(table, root, columns, notes=tuple(notes), arrays=arrays, made=MADE)

    def _names(self, annotations: Path, kind: str) -> dict[str, str]:
        """{split: how it is called in files}."""
        if self.names:
            return self.names
        there = {
            split: name
            for split, names in _SPLITS.items()
            for name in reversed(names)
            if (annotations / f"{_FILES[kind]}{name}.json").is_file()
        }
        if not there:
            raise DataFault(
                f"{annotations} has no {_FILES[kind]}train2017.json or {_FILES[kind]}val2017.json; give `names`, such "
                "as {train: train2017}",
                code="missing-file",
            )
        return there

    def _add(self, found: _Found, root: Path, split: str, name: str, files: Mapping[str, CocoFile]) -> None:
        """The rows of one split."""
        for kind, file in files.items():
            found.know(self._columns(kind, file), file)
        images = {number: image for file in files.values() for number, image in file.images.items()}
        there = set(os.listdir(root / name)) if (root / name).is_dir() else set()
        for number in sorted(images):
            image = images[number]
            picture = str(image["file_name"])
            row: dict[str, Any] = {"id": PurePath(picture).stem, "split": split}
            row["image"] = f"{name}/{picture}" if picture in there else None
            try:
                if self.people == "each":
                    self._add_people(found, files["keypoints"], number, row)
                    continue
                for kind in self.read:
                    row |= _said(kind, files[kind], number, found.notes)
                if self.masks != "none":
                    row["label"] = self._mask(files[self.masks], number, name, found)
            except DataFault as fault:
                found.faults.append(fault)
                continue
            found.add(row)

    def _add_people(self, found: _Found, file: CocoFile, number: int, row: Mapping[str, Any]) -> None:
        """A row for each person of an image of whom a point is marked."""
        people = list(_with_area(with_points(file.of(number)), file, found.notes))
        if not people:
            found.notes.append("images have nobody with a point and are left out")
        for one in rows_of(people, file, str(row["image"]), margin=self.margin):
            image = None if row["image"] is None else one["image"]
            found.add({**row, **one, "id": row["id"] + one["id"], "image": image, "picture": row["id"]})

    def _columns(self, kind: str, file: CocoFile) -> dict[str, Column]:
        """What is known of the columns that a file gives."""
        names = list(file.categories.values())
        ids = {name: number for number, name in file.categories.items()}
        columns: dict[str, Column] = {}
        if kind == "instances" and kind in self.read:
            boxes = Column("boxes", {"classes": names, "category_ids": ids})
            columns = {"boxes": boxes, "labels": Column("labels", {"classes": names})}
        elif kind == "captions":
            columns = {"captions": Column("captions")}
        elif kind == "keypoints":
            columns = {"keypoints": Column("points", {"points": list(file.points), "category_id": file.with_points})}
        if kind == self.masks:
            facts: dict[str, Any] = {"classes": names, "ignore": IGNORE}
            if kind == "instances":
                facts |= {"classes": [BACKGROUND, *names], "rest": BACKGROUND}
            columns["label"] = Column("label", facts)
        return columns

    def _mask(self, file: CocoFile, number: int, name: str, found: _Found) -> str | None:
        """The cell of an image's mask, whose regions are kept in `found`."""
        if file.annotations is None or number not in file.images:
            return None
        place = {category: place for place, category in enumerate(file.categories.values())}
        image, said = file.images[number], file.of(number)
        if self.masks == "panoptic":
            if not said:
                return None
            segments = {str(one["id"]): place[file.name_of(one)] for one in said[0].get("segments_info", [])}
            known = {"file": f"annotations/panoptic_{name}/{said[0].get('file_name')}", "fill": IGNORE}
            found.regions.append(json.dumps({**known, "segments": segments}))
            return f"{MADE}{len(found.regions) - 1}"
        first = 1 if self.masks == "instances" else 0
        # crowds lie below, and what is small on top
        said = sorted(said, key=lambda one: (not one.get("iscrowd"), -float(one.get("area", 0))))
        regions = [[place[file.name_of(one)] + first, one.get("segmentation")] for one in said]
        fill = 0 if self.masks == "instances" else IGNORE
        found.regions.append(json.dumps({"size": [image["height"], image["width"]], "fill": fill, "regions": regions}))
        return f"{MADE}{len(found.regions) - 1}"


@dataclass
class _Found:
    """What the files hold so far: columns of cells, what is known of them, regions of masks, remarks, and what is wrong
    with images, one fault each.
    """

    cells: dict[str, list[Any]]
    columns: dict[str, Column]
    regions: list[str]
    notes: list[str]
    faults: list[DataFault]

    def know(self, columns: Mapping[str, Column], file: CocoFile) -> None:
        """Take note of columns; those of every split are alike."""
        for name, column in columns.items():
            if self.columns.setdefault(name, column).facts != column.facts:
                raise DataFault(
                    f"{file.path} has other categories or points than the file of another split; both need the same",
                    code="classes-differ",
                )

    def add(self, row: Mapping[str, Any]) -> None:
        """One image."""
        for name, cell in row.items():
            self.cells.setdefault(name, []).append(cell)


def _said(kind: Read, file: CocoFile, number: int, notes: list[str]) -> dict[str, Any]:
    """The cells of an image that a file gives; absent where the file says nothing of it."""
    empty = {"instances": ("boxes", "labels"), "captions": ("captions",), "keypoints": ("keypoints",)}
    if file.annotations is None or number not in file.images:
        return dict.fromkeys(empty[kind])
    said = file.of(number)
    if kind == "instances":
        kept = list(_with_area(said, file, notes))
        names = [file.name_of(one) for one in kept]
        return {"boxes": _boxes(kept, names), "labels": SEPARATOR.join(dict.fromkeys(names))}
    if kind == "captions":
        return {"captions": [str(one["caption"]).strip() for one in said if one.get("caption")] or None}
    return {"keypoints": largest(with_points(said), file)}


def _with_area(said: Iterable[Mapping[str, Any]], file: CocoFile, notes: list[str]) -> Iterator[Mapping[str, Any]]:
    """The annotations with a box that has an area; the few that have none are counted."""
    for one in said:
        box = one.get("bbox")
        if not (isinstance(box, list) and len(box) == 4 and all(isinstance(side, int | float) for side in box)):
            raise DataFault(
                f"{file.path}: annotation {one.get('id')} has the bbox {box!r}; it is [x, y, width, height]",
                code="bad-box",
            )
        if box[2] < 0 or box[3] < 0:
            raise DataFault(
                f"{file.path}: annotation {one.get('id')} has the bbox {box}, of negative size; it is [x, y, width, "
                "height]",
                code="bad-box",
            )
        if box[2] == 0 or box[3] == 0:
            notes.append("boxes have no area and are left out")
            continue
        yield one


def _boxes(said: list[Mapping[str, Any]], names: list[str]) -> str:
    corners = [[x, y, x + width, y + height] for x, y, width, height in (one["bbox"] for one in said)]
    return json.dumps(
        {
            "boxes": corners,
            "classes": names,
            "crowd": [bool(one.get("iscrowd")) for one in said],
            "area": [one.get("area", width * height) for one in said for _, _, width, height in [one["bbox"]]],
        }
    )
