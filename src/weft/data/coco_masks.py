"""Masks of COCO: regions of classes as one map of class numbers, drawn when they are asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pycocotools import mask as coco_mask

from weft.data.manifest import safe_path
from weft.data.rasterfile import open_raster
from weft.modalities.base import BadCell

#: How the cells begin that are drawn.
MADE = "coco:"

#: The largest id of a segment of a panoptic PNG: red + 256 green + 256² blue.
_BASES = np.array([1, 256, 256**2])


@dataclass(frozen=True)
class CocoMasks:
    """Cells such as "coco:17" as (H, W) class numbers.

    Attributes:
        regions: JSON of each image: {"size": [H, W], "fill": number, "regions": [[number, segmentation], …]}, in the
            order they are drawn in; or {"file": PNG, "fill": number, "segments": {id: number}}.
        root: folder that the files are below.
    """

    regions: pa.ChunkedArray
    root: Path

    def __call__(self, cell: str) -> np.ndarray:
        """(H, W) uint8 or uint16.

        Raises:
            BadCell: the cell is none of this data set's, or a region is none.
        """
        place = cell.removeprefix(MADE)
        if not place.isdecimal() or int(place) >= len(self.regions):
            raise BadCell("not-a-mask", f"{cell!r} is no cell of this data set; they read {MADE}17")
        known = json.loads(self.regions[int(place)].as_py())
        return self._of_file(known) if "file" in known else _drawn(known, cell)

    def _of_file(self, known: Mapping[str, Any]) -> np.ndarray:
        """Of a panoptic PNG; pixels of no segment are filled."""
        pixels = open_raster(safe_path(known["file"], (self.root,))).pixels
        if pixels.ndim != 3 or pixels.shape[2] != 3:
            raise BadCell("wrong-type", f"{known['file']} is no panoptic PNG, which has three channels")
        ids = pixels.astype(np.int64) @ _BASES
        found, places = np.unique(ids, return_inverse=True)
        numbers = [known["segments"].get(str(one), known["fill"] if one == 0 else None) for one in found.tolist()]
        if None in numbers:
            strange = int(found[numbers.index(None)])
            raise BadCell("label-outside", f"{known['file']} has a segment {strange}, which the JSON does not list")
        return np.array(numbers, np.uint16)[places].reshape(ids.shape)


def _drawn(known: Mapping[str, Any], cell: str) -> np.ndarray:
    height, width = known["size"]
    canvas = np.full((height, width), known["fill"], np.uint16)
    for number, segmentation in known["regions"]:
        try:
            canvas[region(segmentation, height, width)] = number
        except (ValueError, TypeError, KeyError, IndexError) as error:
            said = f"{cell}: a region is neither polygons nor a run-length code: {error}"
            raise BadCell("bad-region", said) from error
    return canvas


def region(segmentation: Any, height: int, width: int) -> np.ndarray:
    """(H, W) bool of polygons [[x, y, x, y, …], …], or of a run-length code, compressed or not.

    Args:
        segmentation: as COCO writes it.
        height, width: of the image.

    Raises:
        ValueError, TypeError, KeyError, IndexError: it is neither.
    """
    if isinstance(segmentation, list):
        if not segmentation or any(len(polygon) < 6 or len(polygon) % 2 for polygon in segmentation):
            raise ValueError("a polygon has three points or more, as x, y, x, y, …")
        code = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    else:
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(f"its size is {segmentation['size']}, and the image has {[height, width]}")
        counts = segmentation["counts"]
        runs = counts if isinstance(counts, list) else run_lengths(counts)
        if sum(runs) != height * width or min(runs) < 0:
            raise ValueError(f"its counts make {sum(runs)} pixels, and the image has {height * width}")
        code = coco_mask.frPyObjects({**segmentation, "counts": runs}, height, width)
    mask: np.ndarray = coco_mask.decode(code).astype(bool)
    return mask


def run_lengths(text: str) -> list[int]:
    """The runs that a compressed run-length code stands for, which pycocotools takes for whatever it decodes to.

    Each character holds five bits above "0" and whether more follow, the least first; from the third run on, the
    difference to the run before the last is written.

    Example:
        >>> run_lengths("0410")
        [0, 4, 1, 4]
    """
    runs: list[int] = []
    value = shift = 0
    for character in text.encode():
        bits = character - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{chr(character)!r} is no character of a compressed code")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift  # the last bit is the sign
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the compressed code ends within a run")
    return runs
