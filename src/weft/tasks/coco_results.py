"""Answers as COCO has them: JSON lists of boxes and keypoints that pycocotools loads, and of boxes faster-coco-eval."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from weft.boxes import ANSWERED_CLASS, SCORE
from weft.data.picture_part import PicturePart, picture_and_part
from weft.modalities.base import Facts

#: How a list ends; an entry is put in its place and the end written anew, so that the file is whole at any moment.
_END = b"\n]\n"
_EMPTY = b"[" + _END


def image_id(sample: str) -> int:
    """The id of an image, a number as the official tools want it: the sample's own id where that is one, as COCO's are,
    else 48 bits of its hash, the same in every run.
    """
    if sample.isdecimal():
        return int(sample)
    return int.from_bytes(hashlib.blake2b(sample.encode(), digest_size=6).digest())


def category_ids(facts: Facts, classes: Sequence[str]) -> list[int]:
    """The number of every class in files: that of its category where the data names one for all, else 1, 2, ….

    Args:
        facts: of a target; `category_ids` is {class: number}.
        classes: in their order.
    """
    known = facts.get("category_ids", {})
    if set(classes) <= set(known):
        return [int(known[name]) for name in classes]
    return list(range(1, len(classes) + 1))


def keypoints(points: np.ndarray, sample: str, category_id: int) -> list[dict[str, object]]:
    """The one entry {image_id, category_id, keypoints: [x, y, v, …], score} of a sample; v is 1 for every point.

    Of a sample that is a part of a picture, the entry is of the picture and in its pixels. The score is the mean
    probability of the points to be visible.

    Args:
        points: (n, 3) x, y in pixels of the sample's own image, and the probability of visible.
        sample: its id.
        category_id: of the people.
    """
    picture, part = picture_and_part(sample)
    part = part or PicturePart(0, 0, 0, 0)
    triples = [(_number(x + part.left), _number(y + part.top), 1) for x, y, _ in points]
    return [
        {
            "image_id": image_id(picture),
            "category_id": category_id,
            "keypoints": [number for triple in triples for number in triple],
            "score": _number(points[:, 2].mean()),
        }
    ]


def detections(boxes: np.ndarray, sample: str, category_ids: Sequence[int]) -> list[dict[str, object]]:
    """Entries {image_id, category_id, bbox: [x, y, width, height], score} of one sample.

    Args:
        boxes: (n, 6) answers in pixels of the sample's own image.
        sample: its id.
        category_ids: of the classes, in order.
    """
    return [
        {
            "image_id": image_id(sample),
            "category_id": category_ids[int(row[ANSWERED_CLASS])],
            "bbox": [_number(row[0]), _number(row[1]), _number(row[2] - row[0]), _number(row[3] - row[1])],
            "score": _number(row[SCORE]),
        }
        for row in boxes
    ]


def add_entries(path: Path, entries: Sequence[Mapping[str, object]]) -> None:
    """Append entries to a list in a file, which is begun where it is not there yet, also by no entries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(_EMPTY)
    if not entries:
        return
    text = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries).encode()
    with path.open("r+b") as file:
        first = file.seek(0, 2) == len(_EMPTY)
        file.seek(-len(_END), 2)
        file.write((b"\n" if first else b",\n") + text + _END)


def _number(value: np.floating) -> float:
    """The shortest decimal that is the same number in single precision."""
    return float(str(np.float32(value)))
