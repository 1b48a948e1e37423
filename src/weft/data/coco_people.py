"""People of COCO: their keypoints in a picture, and each of them as a sample of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weft.data.cocofile import CocoFile
from weft.data.decode import read_image
from weft.data.manifest import safe_path
from weft.data.picture_part import PicturePart, picture_and_part
from weft.errors import DataFault
from weft.modalities.base import BadCell

#: How the cells begin that are parts of pictures.
PERSON = "coco-person:"

#: Width / height of a person's part, as in Xiao et al., ECCV 2018, arXiv:1804.06208.
SHAPE = 3 / 4


@dataclass(frozen=True)
class CocoPeople:
    """Cells such as "coco-person:val2017/000000000009.jpg#xywh=5,8,16,20" as the part of the picture.

    Attributes:
        root: folder that the pictures are below.
    """

    root: Path

    def __call__(self, cell: str) -> np.ndarray:
        """(height, width, 3) of the part; what lies beyond the picture is black.

        Raises:
            BadCell: the cell is none of this data set's, or the picture cannot be read.
        """
        picture, part = picture_and_part(cell.removeprefix(PERSON))
        if part is None:
            raise BadCell("not-a-person", f"{cell!r} is no cell of this data set; they end in #xywh=X,Y,WIDTH,HEIGHT")
        return part.of(read_image(safe_path(picture, (self.root,))))


def with_points(said: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The people of whom any point is marked; crowds are nobody's."""
    return [one for one in said if one.get("num_keypoints") and not one.get("iscrowd")]


def largest(people: Iterable[Mapping[str, Any]], file: CocoFile) -> str | None:
    """The points of the person with the largest area, as a cell; absent where there is nobody."""
    found = max(people, key=lambda one: float(one.get("area", 0)), default=None)
    return None if found is None else _points(found, file, (0, 0))


def rows_of(
    people: Iterable[Mapping[str, Any]], file: CocoFile, picture: str, *, margin: float
) -> list[dict[str, Any]]:
    """{id: behind that of the picture, image, keypoints} of each person: the part of the picture around its box, and
    its points within.

    Args:
        people: with a box that has an area.
        file: that they are from.
        picture: the file below the root.
        margin: how many times as large as the box the part is.
    """
    rows = []
    for one in people:
        x, y, width, height = one["bbox"]
        part = PicturePart.around((x, y, width, height), margin=margin, shape=SHAPE)
        rows.append(
            {
                "id": part.name("", one.get("id")),
                "image": PERSON + part.name(picture),
                "keypoints": _points(one, file, (part.left, part.top)),
            }
        )
    return rows


def _points(person: Mapping[str, Any], file: CocoFile, corner: tuple[int, int]) -> str:
    """The cell of a person's points, each as x, y from a corner of the picture, and visible."""
    numbers = person.get("keypoints")
    if not isinstance(numbers, list) or len(numbers) != 3 * len(file.points):
        count = len(numbers) if isinstance(numbers, list) else "no"
        raise DataFault(
            f"{file.path}: annotation {person.get('id')} has {count} numbers for keypoints; x, y and v of "
            f"{len(file.points)} points are {3 * len(file.points)}",
            code="bad-json",
        )
    # v is 0 for a point that nobody marked, 1 for one that is marked and hidden, 2 for one that is seen
    triples = [numbers[place : place + 3] for place in range(0, len(numbers), 3)]
    return json.dumps([[x - corner[0], y - corner[1], 1] if v else None for x, y, v in triples])
