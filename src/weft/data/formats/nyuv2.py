"""NYU Depth v2: indoor scenes with depth and 39 or 13 classes, from small files or the official labelled .mat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa

from weft.data.listing import absent_notes, by_stem, column_of, folder, read_names
from weft.data.manifest import SPLITS, Column, Manifest
from weft.data.nyuv2_classes import Classes, read_classes, read_mapping
from weft.data.nyuv2_mat import LabelledMat, split_numbers
from weft.data.nyuv2_questions import asked
from weft.errors import DataFault
from weft.registry import Range, register

#: Value of pixels without a label in the small files, and in the arrays made of the .mat.
IGNORE = 255


@register("format", "nyuv2")
class NyuV2:
    """RGB, depth and a class per pixel of 1449 indoor frames.

    Without `file`: `image/ID.jpg`, `depth/ID.png`, `label/ID.png` (0 to 38, 255 = no label), `classes.csv`
    (label, name39, label13, name13) and a list `SPLIT.txt` of ids for each split, below `root`.

    With `file`: the official `nyu_depth_v2_labeled.mat` with its 894 classes. It holds neither the split nor the 39
    classes: those come from `splits.mat` (or `train.txt` and `test.txt` with the numbers of the frames, from 1) and
    from the `mapping` of the 894 classes to 40, of which the last, otherprop, is then ignored.

    Columns: `image`, `depth` in metres, `label`, and `scene`, the group: a run of frames with consecutive numbers in
    one split. Numbers follow scenes and the official split divides no scene, so a run holds whole scenes, often
    several.

    With `answers`, rows are questions about the frames (DAQUAR), from `questions_train.csv` and `questions_test.csv`
    with the columns image, question and answer. As is usual for answering by classification, the classes are the most
    frequent answers of the training split, a whole answer each; an answer that lists things is a set. Training
    questions with a rarer answer are left out; elsewhere they have the class "(another answer)", which is in no
    training sample, so that they count as wrong. Columns besides those above: `question`, `answer`, `asks` (number,
    colour or thing, for subgroups) and `picture`, the group. A validation part cut from the training split has no rare
    answers, so its figures are higher.

    Reference: Silberman et al., ECCV 2012; 40 classes: Gupta et al., CVPR 2013; 13: Couprie et al., ICLR 2013;
    questions: Malinowski and Fritz, NeurIPS 2014, arXiv:1410.0210; as classes: Ren et al., NeurIPS 2015,
    arXiv:1505.02074.

    Args:
        root: the folder that holds the files.
        file: name of the labelled .mat below `root`.
        classes: how many classes the labels have.
        mapping: with `file`, the mapping of its 894 classes to 40: `classMapping40.mat` (mapClass, className), or a CSV
            file with the columns label (from 1), class (from 0, empty: ignored) and name.
        metres_per_unit: metres of one unit of the depth files; the .mat holds metres.
        answers: so many of the most frequent answers are the classes of the questions; by default rows are frames.
    """

    def __init__(
        self,
        *,
        root: str,
        file: str | None = None,
        classes: Literal[13, 39] = 39,
        mapping: str | None = None,
        metres_per_unit: float = 1 / 25.5,
        answers: Annotated[int, Range(2)] | None = None,
    ) -> None:
        self.root = root
        self.file = file
        self.num_classes = classes
        self.mapping = mapping
        self.metres_per_unit = metres_per_unit
        self.answers = answers

    def manifest(self) -> Manifest:
        """All frames in the order of their numbers, or all questions about them.

        Raises:
            DataFault: a file or folder is missing or not as described.
        """
        root = folder(self.root)
        frames = self._of_files(root) if self.file is None else self._of_mat(root, self.file)
        return frames if self.answers is None else asked(frames, self.answers)

    def _of_files(self, root: Path) -> Manifest:
        classes = read_classes(root / "classes.csv")
        facts = {"classes": list(classes.names[self.num_classes]), "ignore": IGNORE}
        if self.num_classes == 13:
            facts["remap"] = {str(label): number for label, number in enumerate(classes.to_13)}
        ids, splits = _listed(_lists(root))
        table = pa.table(
            {
                "id": ids,
                "split": splits,
                "scene": _runs(ids, splits),
                **{name: column_of(name, ids, by_stem(folder(root, name))) for name in ("image", "depth", "label")},
            }
        )
        depth = Column("depth", {"metres_per_unit": self.metres_per_unit})
        columns = {"image": Column("image"), "depth": depth, "label": Column("label", facts), "scene": Column("class")}
        return Manifest(table, root, columns, notes=tuple(absent_notes(table)), group="scene")

    def _of_mat(self, root: Path, file: str) -> Manifest:
        if self.mapping is None:
            raise DataFault(
                f"{file} labels 894 classes; give `mapping`, the file that maps them to 40 (classMapping40.mat, or a "
                "CSV file with the columns label, class, name)",
                code="no-mapping",
            )
        classes, lookup = self._mapped(root, self.mapping)
        mat = LabelledMat(root / file, lookup)
        lists = _lists(root) if not (root / "splits.mat").is_file() else split_numbers(root / "splits.mat")
        ids, splits = _listed(lists)
        num_frames = mat.check()
        outside = [name for name in ids if not (name.isdigit() and 1 <= int(name) <= num_frames)]
        if outside:
            raise DataFault(
                f"the split lists the frame {outside[0]!r}, and {file} has the frames 1 to {num_frames}",
                code="bad-split",
            )
        cells = {name: [f"{name}/{int(number)}" for number in ids] for name in ("image", "depth", "label")}
        table = pa.table({"id": ids, "split": splits, "scene": _runs(ids, splits), **cells})
        label = Column("label", {"classes": list(classes), "ignore": IGNORE})
        columns = {"image": Column("image"), "depth": Column("depth"), "label": label, "scene": Column("class")}
        return Manifest(table, root, columns, arrays=mat, group="scene")

    def _mapped(self, root: Path, mapping: str) -> tuple[Sequence[str], np.ndarray]:
        """(names, (895,) uint8 class of each of the .mat's labels, 255 where there is none)."""
        names, lookup = read_mapping(root / mapping)
        if len(names) < 39:
            raise DataFault(f"{mapping} names {len(names)} classes; the 40 or the 39 are wanted", code="bad-mapping")
        lookup = np.where(lookup >= 39, IGNORE, lookup).astype(np.uint8)  # the 40th is otherprop
        if self.num_classes == 39:
            return names[:39], lookup
        classes: Classes = read_classes(root / "classes.csv")
        to_13 = np.full(256, IGNORE, np.uint8)
        to_13[: len(classes.to_13)] = classes.to_13
        return classes.names[13], to_13[lookup]


def _lists(root: Path) -> dict[str, list[str]]:
    """{split: ids} of the list files that are there."""
    found = {split: read_names(root / f"{split}.txt") for split in SPLITS if (root / f"{split}.txt").is_file()}
    if not any(found.values()):
        raise DataFault(f"{root} has no train.txt, val.txt or test.txt with ids; write one id a line", code="no-split")
    return found


def _listed(lists: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """(ids, their splits), in the order of the ids."""
    pairs = sorted((name, split) for split, names in lists.items() for name in names)
    return [name for name, _ in pairs], [split for _, split in pairs]


def _runs(ids: Sequence[str], splits: Sequence[str]) -> list[str]:
    """For each frame the id of the first of its run: consecutive numbers, one split."""
    firsts: list[str] = []
    for place, (name, split) in enumerate(zip(ids, splits, strict=True)):
        previous = ids[place - 1] if place and splits[place - 1] == split else ""
        follows = name.isdigit() and previous.isdigit() and int(name) == int(previous) + 1
        firsts.append(firsts[-1] if follows else name)
    return firsts
