"""DAVIS: sequences of frames with a mask of the moving object on every frame, cut into windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
import pyarrow as pa

from weft.data.clipfile import open_clip
from weft.data.geometry import generator
from weft.data.listing import absent_notes, folder, folders, read_names
from weft.data.manifest import SPLITS, Column, Manifest, usual_split
from weft.errors import DataFault
from weft.modalities.base import BadCell
from weft.registry import Range, register

Share = Annotated[float, Range(0, 1, open_high=True)]
Count = Annotated[int, Range(1)]

CLASSES = ("background", "object")

#: Of the sequences as they are published.
FRAME_RATE = 24.0

#: Columns, and the folders that they are in.
_FOLDERS = {"clip": "JPEGImages", "masks": "Annotations", "motion": "Motion", "flow": "Flow"}

#: Stored values by class: 2016 has 0 and 255, 2017 numbers the objects from 1 on. None of them means "unlabelled".
_REMAP = {str(value): min(value, 1) for value in range(256)}
_NO_IGNORE = -1


@register("format", "davis")
class Davis:
    """Windows of the frames in `JPEGImages/RESOLUTION/SEQUENCE/`, with masks of the same names in `Annotations/…`.

    A window is `length` frames, every `stride`-th. Outside training each frame of a sequence is in exactly one; a
    window at its end may be shorter; with `whole` a sequence is one window, as DAVIS measures it. In training windows
    begin every `step` frames, and one more ends with the sequence; all are whole, unless the sequence is shorter than
    one.

    The splits are those of the lists `train.txt` and `val.txt` in `ImageSets/RESOLUTION/`, `ImageSets/2016/` or
    `ImageSets/2017/`. Where there are none, whole sequences are drawn for test and validation.

    Columns: `clip`; `masks`, the classes background and object, where every object is one; `motion`, where there is a
    folder `Motion/RESOLUTION/SEQUENCE/`: one channel a frame, from it to the next, so that the last frame has none and
    is shown the one before; `flow`, where there is a folder `Flow/RESOLUTION/SEQUENCE/`: likewise, the optical flow as
    the modality `flow` reads it; `sequence`, the group.

    Reference: Perazzi et al., CVPR 2016; Pont-Tuset et al., arXiv:1704.00675.

    Args:
        root: the folder that holds them.
        length: frames of a window.
        stride: from one frame of a window to the next.
        step: from the beginning of a training window to that of the next; by default the frames that a window spans, so
            that none is in two.
        whole: outside training, whole sequences in the place of windows, with every frame.
        resolution: the folder below `JPEGImages`.
        test: share of the sequences that are the test part where there are no lists, rounded, at least one; 0: none.
        val: likewise for the validation part.
        seed: of that draw.
    """

    def __init__(
        self,
        *,
        root: str,
        length: Count = 8,
        stride: Count = 1,
        step: Count | None = None,
        whole: bool = False,
        resolution: str = "480p",
        test: Share = 0.3,
        val: Share = 0.15,
        seed: Annotated[int, Range(0)] = 0,
    ) -> None:
        self.root = root
        self.length, self.stride = length, stride
        self.step = length * stride if step is None else step
        self.whole = whole
        self.resolution = resolution
        self.shares = {"test": test, "val": val}
        self.seed = seed

    def manifest(self) -> Manifest:
        """All windows, sequence by sequence.

        Raises:
            DataFault: a folder or a listed sequence is missing, a sequence has no frames, or no training part is left.
        """
        root = folder(self.root)
        splits, notes = self._splits(root, folders(folder(root, _FOLDERS["clip"], self.resolution)))
        rows = [row for split in SPLITS for name in splits.get(split, ()) for row in self._windows(root, name, split)]
        names = ["id", "split", *_FOLDERS, "sequence"]
        table = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in names})
        empty = [name for name in ("masks", "motion", "flow") if table.column(name).null_count == table.num_rows]
        table = table.drop_columns(empty)
        facts: dict[str, Any] = {"classes": list(CLASSES), "remap": _REMAP, "ignore": _NO_IGNORE}
        known = {
            "clip": Column("video", {"rate": FRAME_RATE}),
            "masks": Column("masks", facts),
            "motion": Column("video", {"rate": FRAME_RATE}),
            "flow": Column("flow", {"rate": FRAME_RATE}),
            "sequence": Column("class"),
        }
        columns = {name: column for name, column in known.items() if name not in empty}
        notes += absent_notes(table)
        return Manifest(table, root, columns, notes=tuple(notes), group="sequence", clip="clip")

    def _splits(self, root: Path, sequences: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
        """({split: sequences}, notes)."""
        if not sequences:
            raise DataFault(
                f"{root / _FOLDERS['clip'] / self.resolution} has no folder for any sequence", code="no-samples"
            )
        lists = next((found for name in (self.resolution, "2016", "2017") if (found := _lists(root, name))), {})
        if lists:
            missing = [name for names in lists.values() for name in names if name not in sequences]
            if missing:
                raise DataFault(
                    f"the lists in {root / 'ImageSets'} name {missing[0]!r}, which is not among the sequences "
                    f"{', '.join(sequences[:5])}, …; copy it again, or take it off the list",
                    code="missing-file",
                )
            unlisted = len(set(sequences) - {name for names in lists.values() for name in names})
            return lists, [f"{unlisted} sequences are on no list and are left out"] if unlisted else []
        order = [sequences[place] for place in generator(self.seed, "davis").permutation(len(sequences))]
        splits: dict[str, list[str]] = {}
        for split, share in self.shares.items():
            taken = max(1, round(share * len(sequences))) if share else 0
            splits[split], order = sorted(order[:taken]), order[taken:]
        if not order:
            raise DataFault(
                f"test {self.shares['test']} and val {self.shares['val']} of {len(sequences)} sequences leave nothing "
                "to train on; lower them",
                code="no-samples",
            )
        note = f"there are no lists of sequences: test is {', '.join(splits['test']) or 'none'}"
        return {**splits, "train": sorted(order)}, [f"{note}; val is {', '.join(splits['val']) or 'none'}"]

    def _windows(self, root: Path, sequence: str, split: str) -> Iterator[Mapping[str, str | None]]:
        """The rows of one sequence."""
        paths = {
            name: path.as_posix()
            for name, top in _FOLDERS.items()
            if (root / (path := PurePosixPath(top, self.resolution, sequence))).is_dir()
        }
        try:
            numbers = open_clip(root / paths["clip"]).timeline.numbers
        except BadCell as error:
            raise DataFault(str(error), code=error.code) from error
        row = {name: paths.get(name) for name in _FOLDERS} | {"split": split, "sequence": sequence}
        if self.whole and split != "train":
            yield {**row, "id": sequence, "clip": paths["clip"]}
            return
        first, last = int(numbers[0]), int(numbers[-1])
        windows = training_windows if split == "train" else covering_windows
        for start, stop in windows(last - first + 1, self.length, self.stride, self.step):
            part = f"#frames={first + start}:{first + stop}:{self.stride}"
            if not np.isin(np.arange(first + start, first + stop, self.stride), numbers).any():
                continue  # all of them are missing in the folder
            yield {**row, "id": f"{sequence}/{first + start:05d}", "clip": paths["clip"] + part}


def covering_windows(num: int, length: int, stride: int, step: int = 0) -> Iterator[tuple[int, int]]:
    """(start, stop) of windows of every `stride`-th of `num` frames, at most `length` of each, in which each frame is
    exactly once: runs of `length` x `stride` frames are dealt to `stride` windows in turn.
    """
    span = length * stride
    for begin in range(0, num, span):
        for start in range(begin, min(begin + stride, num)):
            yield start, min(begin + span, num)


def training_windows(num: int, length: int, stride: int, step: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of whole windows that begin every `step` frames, and of one more at the end of what they leave; of
    all frames, where they are not enough for one.
    """
    span = (length - 1) * stride + 1
    last = max(0, num - span)
    for start in [*range(0, last, step), last]:
        yield start, min(start + span, num)


def _lists(root: Path, name: str) -> dict[str, list[str]]:
    """{split: sequences} of `ImageSets/NAME/`: a line is a sequence, or the files of a frame and its mask."""
    found = {}
    for split in SPLITS:
        path = root / "ImageSets" / name / f"{split}.txt"
        if path.is_file():
            lines = read_names(path)
            names = [PurePosixPath(line.split()[0]).parent.name or line for line in lines]
            found[usual_split(split)] = list(dict.fromkeys(names))
    return found
