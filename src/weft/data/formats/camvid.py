"""CamVid: frames of four drives with 11 classes, as laid out for SegNet."""

from __future__ import annotations

import pyarrow as pa

from weft.data.listing import absent_notes, by_stem, column_of, folder
from weft.data.manifest import SPLITS, Column, Manifest
from weft.errors import DataFault
from weft.registry import register

#: In the order of their numbers in the files; 11 is void.
CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
VOID = 11


@register("format", "camvid")
class CamVid:
    """Frames in `train/`, `val/`, `test/` and label maps of the same names in `trainannot/`, `valannot/`, `testannot/`.

    Columns: `image`; `label`, 11 classes, 11 = void, which is ignored; `drive`, the group; `frame`, the number within
    the drive.

    Reference: Brostow et al., Pattern Recognition Letters 2009; 11 classes after Badrinarayanan et al., TPAMI 2017.

    Args:
        root: the folder that holds them. A split whose folder is not there is left out.
    """

    def __init__(self, *, root: str) -> None:
        self.root = root

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
        return Manifest(table, root, columns, notes=notes, group="drive")

    def _split(self, split: str) -> pa.Table:
        images = by_stem(folder(self.root, split))
        annotated = folder(self.root, f"{split}annot")
        ids = list(images)
        drives, frames = zip(*(name.rpartition("_")[::2] for name in ids), strict=True) if ids else ((), ())
        return pa.table(
            {
                "id": pa.array(ids, pa.string()),
                "split": pa.array([split] * len(ids), pa.string()),
                "image": column_of(split, ids, images),
                "label": column_of(f"{split}annot", ids, by_stem(annotated)),
                "drive": pa.array([drive or None for drive in drives], pa.string()),
                "frame": pa.array([_number(frame) for frame in frames], pa.int64()),
            }
        )


def _number(frame: str) -> int | None:
    """The number in the last part of a name; one of the drives writes an f before it."""
    digits = frame.removeprefix("f")
    return int(digits) if digits.isdigit() else None
