"""The target of segmentation: a class number per pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.data.decode import read_label
from weft.losses.base import TargetFacts
from weft.modalities.base import BadCell, Facts, Field, Geometry, Resolve
from weft.registry import Range
from weft.tasks.colours import paint

#: Raw value of pixels without a label where nothing else is declared.
COMMON_IGNORE = 255


class LabelMap(Field):
    """Label maps: grey or palette files of class numbers, or colours by a table. Values move and are never mixed.

    What the data format declares ("classes", "ignore", "remap", "colours") holds unless the options say otherwise.
    Where nobody names the classes, they are the values found in the training split, sorted.

    Args:
        classes: names of the classes, in the order of their numbers.
        num_classes: how many classes there are, instead of names.
        ignore: stored value of pixels without a label; by default what the data format declares, else 255.
        remap: class number of stored values that are not class numbers themselves, such as {"7": 0, "8": 1}; values
            that are not in it are then refused.
        colours: colour of each class in files that store colours, such as {"road": "#804080"}; the class "ignore" may
            be among them.

    Attributes:
        classes: names of the classes; empty until they are known.
        counts: training pixels of each class; empty where nobody asked for them.
        ignore: number of pixels without a label in arrays and tensors.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        classes: list[str] | None = None,
        num_classes: Annotated[int, Range(2)] | None = None,
        ignore: int | None = None,
        remap: dict[str, int] | None = None,
        colours: dict[str, str] | None = None,
    ) -> None:
        self.classes = _names(classes, num_classes, facts)
        self.facts = {**facts, "classes": list(self.classes)} if self.classes else dict(facts)
        self.counts = tuple(facts.get("counts", ()))
        declared = facts.get("ignore") if ignore is None else ignore
        self._ignore_is_declared = declared is not None
        self._raw_ignore = COMMON_IGNORE if declared is None else int(declared)
        # uint8 wherever the classes fit: a quarter of the memory and of the way to the device
        small = len(self.classes) <= COMMON_IGNORE
        self._dtype: type[np.integer] = np.uint8 if small else np.int16
        self.ignore = COMMON_IGNORE if small else int(np.iinfo(np.int16).max)
        self.geometry = Geometry("label", fill=self.ignore)
        table = facts.get("remap") if remap is None else remap
        self._table = None if table is None else {int(raw): int(number) for raw, number in table.items()}
        self._colours = _colour_table(
            facts.get("colours") if colours is None else colours, self.classes, self._raw_ignore
        )
        if self._table is not None and self.classes:
            _check_remap(self._table, len(self.classes))
        self._joined = _join_table(facts, len(self.classes), self.ignore)

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """(H, W) class numbers with `ignore` where there is no label; stored values while the classes are not known.

        Raises:
            BadCell: the file cannot be read as a label map, or holds a value that is no class.
        """
        source = resolve(cell)
        stored = read_label(source, colours=self._colours)
        if not self.classes:
            return stored
        numbers = self._numbers(stored, str(cell))
        return numbers if self._joined is None else self._joined[numbers]

    @property
    def wants_fit(self) -> bool:
        """Whether the classes are still to be found, or to be counted where a task's options ask for that."""
        return not self.classes or ("counted" in self.facts and not self.counts)

    @property
    def reading(self) -> Facts:
        """See `Field.reading`: how often classes occur does not change what a file holds."""
        return {name: fact for name, fact in self.facts.items() if name not in ("counted", "counts")}

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """How many pixels each class has; where the classes are not known, they are the values that occur, sorted."""
        found: Counter[int] = Counter()
        for stored in values:
            numbers, pixels = np.unique(stored, return_counts=True)
            found.update(dict(zip(numbers.tolist(), pixels.tolist(), strict=True)))
        if self.classes:
            return {"counts": [found[number] for number in range(len(self.classes))]}
        found.pop(self._raw_ignore, None)
        order = sorted(found)
        return {
            "classes": [str(value) for value in order],
            "remap": {str(value): number for number, value in enumerate(order)},
            "ignore": self._raw_ignore,
            "counts": [found[value] for value in order],
        }

    def loss_target(self) -> TargetFacts:
        """What a loss is told of it."""
        return TargetFacts("classes", maps=True, classes=self.classes, counts=self.counts, num_counted=sum(self.counts))

    def class_counts(self, value: np.ndarray) -> np.ndarray:
        """(K,) pixels of each class."""
        return np.bincount(value.reshape(-1), minlength=self.ignore + 1)[: len(self.classes)]

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """(H, W) uint8, or int16 for more than 255 classes."""
        return torch.from_numpy(np.ascontiguousarray(value))

    def draw(self, value: np.ndarray) -> Image.Image:
        """The classes in their colours, unlabelled pixels white."""
        return Image.fromarray(paint(value, len(self.classes)))

    def _numbers(self, stored: np.ndarray, name: str) -> np.ndarray:
        """(H, W) class numbers of stored values."""
        num_classes = len(self.classes)
        low, high = int(stored.min()), int(stored.max())
        if self._table is None and low >= 0 and high < num_classes <= self._raw_ignore:
            return stored.astype(self._dtype, copy=False)
        values, pixels = np.unique(stored, return_counts=True)
        counts = dict(zip(values.tolist(), pixels.tolist(), strict=True))
        table = dict(self._table) if self._table is not None else {number: number for number in range(num_classes)}
        meant = self._table is not None and not self._ignore_is_declared and self._raw_ignore in table
        if not meant:  # what is declared to have no label has none, whatever else it could be
            table[self._raw_ignore] = self.ignore
        strange = {value: count for value, count in counts.items() if value not in table}
        if strange:
            raise BadCell("label-outside", self._explain(strange, counts, name))
        unsaid = self._table is None and not self._ignore_is_declared
        if unsaid and num_classes == 2 and set(counts) == {0, COMMON_IGNORE}:
            raise BadCell(
                "label-binary",
                f'{name} holds only 0 and 255 and there are two classes: say `remap: {{"0": 0, "255": 1}}` if 255 '
                "is the second class, or `ignore: 255` if it marks pixels without a label",
            )
        new = np.array([table[int(value)] for value in values], self._dtype)
        if low >= 0 and high < 256:
            lookup = np.zeros(256, self._dtype)
            lookup[values] = new
            return lookup[stored]
        return new[np.searchsorted(values, stored)]

    def _explain(self, strange: Mapping[int, int], counts: Mapping[int, int], name: str) -> str:
        """What was found in a file, what is allowed, and the likely cause."""
        worst = sorted(strange, key=lambda value: -strange[value])
        found = ", ".join(f"{value} ({strange[value]} pixels)" for value in worst[:5])
        more = f" and {len(worst) - 5} other values" if len(worst) > 5 else ""
        num_classes = len(self.classes)
        if self._table is not None:
            allowed = f"`remap` knows {', '.join(str(raw) for raw in sorted(self._table)[:20])}"
        else:
            allowed = f"there are {num_classes} classes, 0 to {num_classes - 1}"
        return (
            f"{name} holds {found}{more}; {allowed}, and {self._raw_ignore} is ignored; {self._cause(strange, counts)}"
        )

    def _cause(self, strange: Mapping[int, int], counts: Mapping[int, int]) -> str:
        num_classes = len(self.classes)
        if set(strange) == {COMMON_IGNORE}:
            if num_classes == 2:
                return 'if 255 is the second class, say `remap: {"0": 0, "255": 1}`; if it has no label, `ignore: 255`'
            return "255 usually marks pixels without a label: say `ignore: 255`"
        if self._table is None and set(strange) == {num_classes}:
            if 0 in counts:
                return (
                    f"one class more than declared, or numbers from 1 beside an unlabelled 0: name the class, or "
                    f"say `ignore: 0` and `remap` 1 to {num_classes} to 0 to {num_classes - 1}"
                )
            return f"the numbers seem to start at 1: `remap` 1 to {num_classes} to 0 to {num_classes - 1}"
        if self._table is not None:
            return "say in `remap` which class they are, or `ignore` one that has no label"
        if max(strange) < 2 * num_classes:
            return "the classes may be those of a longer list: check `classes`"
        return "these look like another data set's numbers: give `remap`, or check that this column holds the labels"


def _names(classes: list[str] | None, num_classes: int | None, facts: Facts) -> tuple[str, ...]:
    """The class names from options, else from what the format declares or fitting found; empty where nobody says."""
    if classes is not None:
        if num_classes is not None and num_classes != len(classes):
            raise ValueError(f"num_classes is {num_classes} and classes names {len(classes)}; give one of the two")
        return tuple(classes)
    declared = tuple(str(name) for name in facts.get("classes", ()))
    if num_classes is not None and num_classes != len(declared):
        return tuple(str(number) for number in range(num_classes))
    return declared


def _check_remap(table: Mapping[int, int], num_classes: int) -> None:
    outside = {raw: number for raw, number in table.items() if not 0 <= number < num_classes}
    if outside:
        raw, number = next(iter(outside.items()))
        raise ValueError(f"remap sends {raw} to {number}, and there are {num_classes} classes, 0 to {num_classes - 1}")


def _join_table(facts: Facts, num_classes: int, ignore: int) -> np.ndarray | None:
    """(ignore + 1,) the number in the table of several data sets of each number in a set's own; None: of one set."""
    if "join" not in facts:
        return None
    if len(facts["join"]) != num_classes:
        raise ValueError(f"there are {num_classes} classes, and the set has {len(facts['join'])}; name them in the set")
    small = len(facts["joined"]) <= COMMON_IGNORE
    unknown = COMMON_IGNORE if small else int(np.iinfo(np.int16).max)
    table = np.full(ignore + 1, unknown, np.uint8 if small else np.int16)
    numbers = np.array(facts["join"])
    table[:num_classes] = np.where(numbers < 0, unknown, numbers)
    return table


def _colour_table(
    colours: Mapping[str, str] | None, classes: tuple[str, ...], ignore: int
) -> dict[tuple[int, int, int], int] | None:
    """{(red, green, blue): stored value} from {class: "#rrggbb"}."""
    if colours is None:
        return None
    if not classes:
        raise ValueError("colours need the names of the classes: give `classes` in the order of their numbers")
    numbers = {**{name: number for number, name in enumerate(classes)}, "ignore": ignore}
    table = {}
    for name, code in colours.items():
        if name not in numbers:
            raise ValueError(f"colours names {name!r}, which is no class; there are {', '.join(classes)}")
        digits = code.removeprefix("#")
        if len(digits) != 6 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
            raise ValueError(f'the colour of {name!r} is {code!r}; write it as "#rrggbb"')
        red, green, blue = bytes.fromhex(digits)
        table[red, green, blue] = numbers[name]
    return table
