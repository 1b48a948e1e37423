"""The target of classification: one class or several per sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from weft.errors import DataFault, first_few
from weft.losses.base import TargetFacts
from weft.modalities.base import BadCell, Facts, Field, Geometry, Lines, Resolve
from weft.tasks.cells import class_name
from weft.types import Answer

#: Between the labels of a cell that holds several.
SEPARATOR = "|"
#: Before a label of which it is not known whether the sample has it: neither yes nor no.
UNKNOWN = "?"


class ClassLabel(Field):
    """Class names, or the values that stand for them. Several are a list or `a|b`; none of them is an empty list; of a
    label as in `a|?b` it is not known whether it is there.

    The table of classes comes from the options, else from the data format, else from the training split, sorted; it is
    kept in the run. A whole number that is not itself in the table of names is taken as a place in it, from 0.

    Of several labels in a data set among others, those that the set did not annotate are not known.

    Args:
        classes: the names of the classes, in the order of their numbers.
        multi_label: whether a sample may have several labels at once, or none.

    Attributes:
        classes: the table; empty until it is known.
        counts: training samples of each class; empty until they are counted.
        num_counted: training samples with a label, or with a word on having none.
        known: of those, how many tell of each class whether they have it; empty: all do.
    """

    def __init__(self, facts: Facts, *, classes: list[str] | None = None, multi_label: bool = False) -> None:
        self.geometry = Geometry("none")
        self.multi_label = multi_label
        table = facts.get("classes", ()) if classes is None else classes
        self.classes = tuple(str(name) for name in table)
        self.facts = {**facts, "classes": list(self.classes)} if self.classes else dict(facts)
        self.counts = tuple(facts.get("counts", ()))
        self.num_counted = int(facts.get("num_counted", 0))
        self.known = tuple(facts.get("known", ()))
        self._numbers = {name: number for number, name in enumerate(self.classes)}
        if len(self._numbers) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise ValueError(f"class {twice!r} is named twice; every class needs its own name")
        self._annotated: list[str] | None = facts.get("annotated")
        self._joined = tuple(facts.get("joined", ()))
        self._join = facts.get("join", range(len(self.classes)))
        # names that are numbers are looked up as they are; only words can be meant by their place
        self._by_place = not any(_is_whole(name) for name in self.classes)
        if self.classes:
            self._refuse_one_class(self.classes)

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """() int64 class number, or (K,) float32 of 0 and 1 for several, NaN where not known; the names as they are
        given while the table is unknown.

        Raises:
            BadCell: a class that is not in the table, or several where one is allowed.
        """
        names = _split(cell, self.multi_label)
        if not self.classes:
            return np.array(names, np.str_)
        unsure: list[int] = []
        if self.multi_label:
            unsure = [self._number(name.removeprefix(UNKNOWN)) for name in names if name.startswith(UNKNOWN)]
            names = [name for name in names if not name.startswith(UNKNOWN)]
        numbers = [self._number(name) for name in names]
        if not self.multi_label:
            return np.array(numbers[0], np.int64)
        several = np.zeros(len(self.classes), np.float32)
        several[numbers] = 1
        several[unsure] = np.nan
        return several if self._annotated is None else self._of_all_sets(several, self._annotated)

    @property
    def wants_fit(self) -> bool:
        """Until the classes are known and counted."""
        return not self.classes or not self.counts

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """How often each class occurs, and how often it is known whether it does; which ones do, sorted by number where
        all are numbers, else by name, where the table is not known.
        """
        found: Counter[str] = Counter()
        unsure: Counter[str] = Counter()
        num_counted = 0
        for value in values:
            found.update(self._names(value))
            unsure.update(self._unsure(value))
            num_counted += 1
        order = list(self.classes)
        if not order:
            named = found.keys() | unsure.keys()
            order = sorted(named, key=int) if all(_is_whole(name) for name in named) else sorted(named)
            self._refuse_one_class(tuple(order))
        known = {"known": [num_counted - unsure[name] for name in order]} if unsure else {}
        return {"classes": order, "counts": [found[name] for name in order], "num_counted": num_counted, **known}

    def _names(self, value: np.ndarray) -> set[str]:
        """The classes that `read` gave."""
        if not self.classes:
            return {str(name) for name in value} - {UNKNOWN + name for name in self._unsure(value)}
        numbers = np.flatnonzero(value == 1) if self.multi_label else [int(value)]  # NaN: not known
        return {self.classes[number] for number in numbers}

    def _unsure(self, value: np.ndarray) -> set[str]:
        """The classes of which `read` did not know whether the sample has them."""
        if not self.multi_label:
            return set()
        if not self.classes:
            return {str(name).removeprefix(UNKNOWN) for name in value if name.startswith(UNKNOWN)}
        return {self.classes[number] for number in np.flatnonzero(np.isnan(value))}

    def _of_all_sets(self, several: np.ndarray, annotated: list[str]) -> np.ndarray:
        """(K,) labels of the table of several data sets from those of one of them: NaN where it did not annotate."""
        known = [name in annotated for name in self._joined]
        result = np.where(known, 0, np.nan).astype(np.float32)
        for number, own in zip(self._join, several, strict=True):
            if number >= 0 and own and result[number] != 1:
                result[number] = own  # 1, or NaN where it is not known; of several own classes one will do
        return result

    def loss_target(self) -> TargetFacts:
        """What a loss is told of it."""
        answer: Answer = "labels" if self.multi_label else "classes"
        return TargetFacts(
            answer, classes=self.classes, counts=self.counts, num_counted=self.num_counted, known=self.known
        )

    def class_counts(self, value: np.ndarray) -> np.ndarray:
        """(K,) 1 of each label that a sample has."""
        numbers = np.flatnonzero(value == 1) if self.multi_label else np.array([int(value)])
        return np.bincount(numbers, minlength=len(self.classes))

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """() int64, or (K,) float32."""
        return torch.from_numpy(np.array(value))

    def describe(self, value: np.ndarray) -> Lines:
        """The names, or "none"."""
        names = self._names(value)
        return (("", ", ".join(name for name in self.classes if name in names) or "none"),)

    def draw(self, value: np.ndarray) -> Image.Image:
        """The names, written."""
        return written(self.describe(value)[0][1])

    def _number(self, name: str) -> int:
        if name in self._numbers:
            return self._numbers[name]
        if self._by_place and _is_whole(name) and 0 <= int(name) < len(self.classes):
            return int(name)
        raise unknown_class(name, self.classes)

    def _refuse_one_class(self, classes: tuple[str, ...]) -> None:
        if len(classes) == 1 and not self.multi_label:
            raise DataFault(
                f"there is one class only ({classes[0]!r}), so there is nothing to tell apart; give samples of a "
                "second one, or name all classes in `classes`",
                code="one-class",
            )


def unknown_class(name: str, classes: Sequence[str]) -> BadCell:
    """A class in a cell that is not in the table."""
    return BadCell(
        "class-unknown",
        f"class {name!r} is not in the table of {len(classes)} classes ({first_few(classes)}); add it to `classes`, or "
        "mend the cell",
    )


def written(text: str) -> Image.Image:
    """A small white picture with a line of text."""
    picture = Image.new("RGB", (max(64, 8 + 7 * len(text)), 24), "white")
    ImageDraw.Draw(picture).text((4, 6), text, fill="black")
    return picture


def _split(cell: Any, multi_label: bool) -> list[str]:
    """The names in a cell."""
    if isinstance(cell, list | tuple | np.ndarray):
        names = [class_name(item) for item in cell]
    else:
        text = class_name(cell)
        names = [part.strip() for part in text.split(SEPARATOR)] if multi_label else [text]
        names = [name for name in names if name or not multi_label]
    if not multi_label and len(names) != 1:
        raise BadCell("several-labels", f"{len(names)} labels where one is expected; say `multi_label: true`")
    return names


def _is_whole(name: str) -> bool:
    return name.isascii() and name.removeprefix("-").isdigit()
