"""CamVid: frames of four drives with 11 classes, as laid out for SegNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import pyarrow as pa

from weft.data.listing import absent_notes, by_stem, column_of, folder
from weft.data.manifest import SPLITS, Column, Manifest
from weft.errors import DataFault
from weft.registry import Range, register

#: In the order of their numbers in the files; 11 is void.
CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
VOID = 11


@register("format", "camvid")
class CamVid:
    """Frames in `train/`, `val/`, `test/` and label maps of the same names in `trainannot/`, `valannot/`, `testannot/`.

    Columns: `image`; `label`, 11 classes, 11 = void, which is ignored; `drive`, the group; `frame`, the number within
    the drive. With `before` also `clip`, the frame after those that come before it in its drive, of which the
    first of a drive have fewer, and `masks`, the label of the last frame of the clip alone.

    Reference: Brostow et al., Pattern Recognition Letters 2009; 11 classes after Badrinarayanan et al., TPAMI 2017.

    Args:
        root: the folder that holds them. A split whose folder is not there is left out.
        before: so many of the frames that are there before each are given with it, as a clip.
    """

    def __init__(self, *, root: str, before: Annotated[int, Range(0)] = 0) -> None:
        self.root = root
        self.before = before

    def manifest(self) -> Manifest:
        """All frames, in the order of their names.

        Raises:
            DataFault: no split's folder is there, or it has no frames.
        """
        root = folder(self.root)
        parts = [self._split(name) for name in SPLITS if (root / name).is_dir()]
        if not parts or not sum(part.num_rows for part in parts):
            raise DataFault(f"{root} has no frames in train/, val/ or test/; check `root`", code="no-samples")
        table = pa.concat_tables(parts)
        facts = {"classes": list(CLASSES), "ignore": VOID}
        columns = {"image": Column("image"), "label": Column("label", facts), "drive": Column("class")}
        notes = tuple(absent_notes(table.select(["image", "label"])))
        if not self.before:
            return Manifest(table, root, columns, notes=notes, group="drive")
        columns |= {"clip": Column("video"), "masks": Column("masks", facts)}
        return Manifest(table, root, columns, notes=notes, group="drive", clip="clip")

    def _split(self, split: str) -> pa.Table:
        images = by_stem(folder(self.root, split))
        annotated = by_stem(folder(self.root, f"{split}annot"))
        ids = list(images)
        drives, frames = zip(*(name.rpartition("_")[::2] for name in ids), strict=True) if ids else ((), ())
        cells = _clips(split, images, annotated, drives, self.before) if self.before else {}
        return pa.table(
            {
                **cells,
                "id": pa.array(ids, pa.string()),
                "split": pa.array([split] * len(ids), pa.string()),
                "image": column_of(split, ids, images),
                "label": column_of(f"{split}annot", ids, annotated),
                "drive": pa.array([drive or None for drive in drives], pa.string()),
                "frame": pa.array([_number(frame) for frame in frames], pa.int64()),
            }
        )


def _clips(
    split: str, images: Mapping[str, str], labels: Mapping[str, str], drives: Sequence[str], before: int
) -> dict[str, pa.Array]:
    """The columns `clip` and `masks` of a split: lists of files, each drive's in the order of its frames."""
    files = [f"{split}/{file}" for file in images.values()]
    firsts = [max(drives.index(drive), place - before) for place, drive in enumerate(drives)]
    clips = [files[first : place + 1] for place, first in enumerate(firsts)]
    masks = [[f"{split}annot/{labels[name]}"] if name in labels else None for name in images]
    kind = pa.list_(pa.string())
    return {"clip": pa.array(clips, kind), "masks": pa.array(masks, kind)}


def _number(frame: str) -> int | None:
    """The number in the last part of a name; one of the drives writes an f before it."""
    digits = frame.removeprefix("f")
    return int(digits) if digits.isdigit() else None
