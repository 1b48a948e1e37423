"""The target of a class per frame: names, of those frames that have one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.data.framelabels import labels_of
from weft.data.timeline import Timeline
from weft.losses.base import TargetFacts
from weft.modalities.base import BadCell, Facts, Field, Geometry, Lines, Resolve
from weft.tasks.class_label import ClassLabel, written

#: Number of frames whose class is not known.
UNKNOWN_FRAME = -1


class FrameLabel(Field):
    """A class for each frame: a table with the columns `frame` and `label`, or `start`, `stop` (seconds) and `label`;
    or a list with the labels of the frames 0, 1, 2, … in the cell itself.

    A frame without a label is not known, and counts nowhere.

    Args:
        classes: the names of the classes, in the order of their numbers; by default those that occur in the training
            split, sorted.

    Attributes:
        classes: the table; empty until it is known.
        counts: training frames of each class; empty until they are counted.
        num_counted: training frames with a label.
    """

    def __init__(self, facts: Facts, *, classes: list[str] | None = None) -> None:
        self.geometry = Geometry("frames", fill=UNKNOWN_FRAME)
        self._one = ClassLabel(facts, classes=classes)  # reads the names
        self.facts = self._one.facts
        self.classes = self._one.classes
        self.counts, self.num_counted = self._one.counts, self._one.num_counted

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """As `read_frames`; labels belong to frames, and by themselves have none.

        Raises:
            BadCell: nothing in the sample has frames.
        """
        return self.read_frames(cell, resolve, None)

    def read_frames(self, cell: Any, resolve: Resolve, frames: Timeline | None) -> np.ndarray:
        """(T,) int64 class numbers, -1 where not known; names, "" where not known, while the table is unknown.

        Raises:
            BadCell: the table cannot be read, a class is not in the table of classes, or nothing in the sample has
                frames.
        """
        if frames is None:
            raise BadCell("no-frames", "labels of frames stand beside nothing that has frames; give the sample a clip")
        source = resolve(cell) if isinstance(cell, str) else cell
        labels = labels_of(source, frames)
        if not self.classes:
            return np.array(["" if label is None else str(label).strip() for label in labels], np.str_)
        none = Path()  # a class is no path
        numbers = [UNKNOWN_FRAME if label is None else int(self._one.read(label, lambda _: none)) for label in labels]
        return np.array(numbers, np.int64)

    @property
    def names_file(self) -> bool:
        """Where a cell is a text, it names a table."""
        return True

    @property
    def wants_fit(self) -> bool:
        """Until the classes are known and counted."""
        return self._one.wants_fit

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """How many frames each class has; which ones occur, where the table is not known."""
        if not self.classes:
            return self._one.fit(np.array([name]) for value in values for name in value.tolist() if name)
        found: Counter[int] = Counter()
        for value in values:
            found.update(value[value != UNKNOWN_FRAME].tolist())
        counts = [found[number] for number in range(len(self.classes))]
        return {"classes": list(self.classes), "counts": counts, "num_counted": sum(counts)}

    @property
    def reading(self) -> Facts:
        """The table of classes."""
        return {"classes": list(self.classes)}

    def loss_target(self) -> TargetFacts:
        """What a loss is told of it."""
        return self._one.loss_target()

    def class_counts(self, value: np.ndarray) -> np.ndarray:
        """(K,) frames of each class."""
        return np.bincount(value[value != UNKNOWN_FRAME], minlength=len(self.classes))

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """(T,) int64, -1 where not known."""
        return torch.from_numpy(np.array(value))

    def describe(self, value: np.ndarray) -> Lines:
        """The classes in the order of the frames, each run once."""
        names = [self.classes[number] if number != UNKNOWN_FRAME else "?" for number in value.tolist()]
        runs = [name for place, name in enumerate(names) if place == 0 or name != names[place - 1]]
        return (("", " → ".join(runs)),)

    def draw(self, value: np.ndarray) -> Image.Image:
        """The same, written."""
        return written(self.describe(value)[0][1])
