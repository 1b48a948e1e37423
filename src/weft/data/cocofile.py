"""The JSON files of COCO, read with suspicion."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weft.errors import DataFault


@dataclass(frozen=True)
class CocoFile:
    """One annotation file.

    Attributes:
        path: where it is.
        images: {id: {"id", "file_name", "height", "width", …}}.
        annotations: {id of an image: its annotations}; None where the file has none, as of a test split.
        categories: {id: name} in the order of the ids, which may have gaps.
        points: names of the keypoints, of the first category that has any.
        with_points: the id of that category.
    """

    path: Path
    images: dict[int, dict[str, Any]]
    annotations: dict[int, list[dict[str, Any]]] | None
    categories: dict[int, str]
    points: tuple[str, ...] = ()
    with_points: int | None = None

    def of(self, image: int) -> list[dict[str, Any]]:
        """The annotations of an image."""
        return [] if self.annotations is None else self.annotations.get(image, [])

    def name_of(self, annotation: Mapping[str, Any]) -> str:
        """The category of an annotation or segment.

        Raises:
            DataFault: there is none of that id.
        """
        number = annotation.get("category_id")
        if number not in self.categories:
            raise DataFault(
                f"{self.path}: annotation {annotation.get('id')} has the category_id {number!r}, which is not among "
                f"the {len(self.categories)} categories of the file",
                code="class-unknown",
            )
        return self.categories[number]


def read_coco(path: Path) -> CocoFile:
    """A file of instances, keypoints, captions, stuff or panoptic segments.

    Raises:
        DataFault: it is missing, is no JSON, or lacks what such files have.
    """
    content = _json(path)
    images = _by_id(content, "images", ("id", "file_name", "height", "width"), path)
    for number, image in images.items():
        if not (_is_count(image["height"]) and _is_count(image["width"])):
            raise DataFault(f"{path}: image {number} is {image['width']}x{image['height']} pixels", code="bad-json")
    listed = _by_id(content, "categories", ("id", "name"), path)
    categories = {number: str(one["name"]) for number, one in listed.items()}
    names = list(categories.values())
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataFault(f"{path} has two categories {twice!r}; every one needs its own name", code="duplicate-class")
    annotations: dict[int, list[dict[str, Any]]] | None = None
    if "annotations" in content:
        annotations = {}
        for one in _entries(content, "annotations", ("image_id",), path):
            if one["image_id"] not in images:
                raise DataFault(
                    f"{path}: annotation {one.get('id')} is of the image {one['image_id']!r}, which the file does not "
                    "list",
                    code="bad-json",
                )
            annotations.setdefault(one["image_id"], []).append(one)
    categories = dict(sorted(categories.items()))
    whose = next((number for number, one in listed.items() if one.get("keypoints")), None)
    points = () if whose is None else tuple(map(str, listed[whose]["keypoints"]))
    return CocoFile(path, images, annotations, categories, points, whose)


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataFault(f"{path} does not exist", code="missing-file") from error
    except OSError as error:
        raise DataFault(f"{path} cannot be read: {error}", code="unreadable-file") from error
    except (ValueError, RecursionError) as error:  # of JSON, or of bytes that are not UTF-8
        raise DataFault(f"{path} is no JSON: {error}", code="bad-json") from error
    if not isinstance(content, Mapping) or "images" not in content:
        raise DataFault(f"{path} is no annotation file of COCO: it has no list `images`", code="bad-json")
    return content


def _by_id(content: Mapping[str, Any], name: str, wanted: tuple[str, ...], path: Path) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for one in _entries(content, name, wanted, path):
        if not isinstance(one["id"], int) or one["id"] in found:
            said = "twice" if one["id"] in found else "and ids are whole numbers"
            raise DataFault(f"{path}: `{name}` has the id {one['id']!r} {said}", code="duplicate-id")
        found[one["id"]] = one
    return found


def _entries(content: Mapping[str, Any], name: str, wanted: tuple[str, ...], path: Path) -> Iterator[dict[str, Any]]:
    listed = content.get(name, [])
    if not isinstance(listed, list):
        raise DataFault(f"{path}: `{name}` is no list", code="bad-json")
    for place, one in enumerate(listed):
        lacking = [key for key in wanted if key not in one] if isinstance(one, dict) else list(wanted)
        if lacking:
            raise DataFault(f"{path}: `{name}[{place}]` has no {lacking[0]!r}", code="bad-json")
        yield one


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value > 0
