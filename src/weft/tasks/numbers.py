"""The target of regression: one number or a few per sample, some of them unknown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.errors import DataFault
from weft.modalities.base import BadCell, Facts, Field, Geometry, Lines, Resolve
from weft.tasks.class_label import SEPARATOR, written

Transform = Literal["none", "log"]

#: The largest number whose exponential float32 holds, and that of its negative too.
_LARGEST_LOG = 88.0


class Numbers(Field):
    """A number, or several: a list, or `1.5|2`. Null or nothing between the bars is not known; an empty cell: none is.

    Args:
        names: what the numbers are called, in their order; by default one has no name and several are counted from 0.
        transform: what the network learns: the numbers as they are, or with log their logarithms, as prices and other
            amounts want it that are above zero and wrong by a factor rather than by a sum.
        unit: of the numbers, for reports.

    Attributes:
        names: empty until it is known how many there are.
        mean, std: of each number of the training split, after the transform.
    """

    def __init__(
        self, facts: Facts, *, names: tuple[str, ...] | None = None, transform: Transform = "none", unit: str = ""
    ) -> None:
        self.geometry = Geometry("none")
        self.transform: Transform = transform
        self.unit = unit
        self.facts = dict(facts)
        self.mean: list[float] = list(facts.get("mean", ()))
        self.std: list[float] = list(facts.get("std", ()))
        counted = ("",) if len(self.mean) == 1 else tuple(str(place) for place in range(len(self.mean)))
        self.names = counted if names is None else tuple(names)
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"names has {', '.join(self.names)}; every number needs its own name")
        if self.mean and len(self.names) != len(self.mean):
            raise ValueError(f"names has {len(self.names)} and the training split {len(self.mean)} numbers a sample")

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """(K,) float32, NaN where not known.

        Raises:
            BadCell: no number, not as many as elsewhere, none that is known, or one that has no logarithm.
        """
        numbers = np.array([self._number(entry) for entry in _entries(cell)], np.float32)
        if np.isnan(numbers).all():
            raise BadCell("not-a-number", f"{cell!r} holds no number that is known; leave the cell empty")
        if self.names and len(numbers) != len(self.names):
            raise BadCell("numbers-count", f"{cell!r} holds {len(numbers)} numbers where there are {len(self.names)}")
        return numbers

    def _number(self, entry: Any) -> float:
        if entry is None or (isinstance(entry, str) and not entry.strip()):
            return math.nan
        try:
            number = float(entry)
        except (TypeError, ValueError) as error:
            raise BadCell(
                "not-a-number", f"{str(entry)[:60]!r} is no number; mend the cell or leave it empty"
            ) from error
        if abs(number) > float(np.finfo(np.float32).max):
            raise BadCell("not-a-number", f"{entry} is too large to compute with; scale the column")
        if self.transform == "log" and number <= 0:
            raise BadCell("no-logarithm", f"{number:g} has no logarithm; mend the cell, or choose `transform: none`")
        return number

    @property
    def wants_fit(self) -> bool:
        """Until mean and deviation are known."""
        return "mean" not in self.facts

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """Mean and deviation of each number, after the transform.

        Raises:
            DataFault: there is none, samples differ in how many they have, or one is the same everywhere.
        """
        rows = list(values)
        if not rows:
            raise DataFault("no training sample has a number that can be read", code="no-labels")
        sizes = sorted({len(row) for row in rows})
        if len(sizes) > 1:
            raise DataFault(
                f"some samples have {sizes[0]} numbers and others {sizes[-1]}; write null where one is not known",
                code="numbers-count",
            )
        numbers = self.transformed(torch.from_numpy(np.stack(rows))).double().numpy()
        spread = np.nanstd(numbers, axis=0)
        for place, deviation in enumerate(spread):
            if not deviation > 0:  # NaN, too: it is known nowhere
                which = f"number {self.names[place] if self.names else place}" if len(spread) > 1 else "number"
                raise DataFault(
                    f"the {which} is the same in all training samples, so there is nothing to learn", code="one-value"
                )
        return {"mean": np.nanmean(numbers, axis=0).tolist(), "std": spread.tolist()}

    def transformed(self, numbers: Tensor) -> Tensor:
        """What the network learns of numbers, before it is standardised."""
        return numbers.log() if self.transform == "log" else numbers

    def restored(self, learned: Tensor) -> Tensor:
        """The numbers that `transformed` gave `learned` of."""
        return learned.clamp(-_LARGEST_LOG, _LARGEST_LOG).exp() if self.transform == "log" else learned

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """(K,) float32."""
        return torch.from_numpy(value)

    def describe(self, value: np.ndarray) -> Lines:
        """Each number with its unit."""
        return tuple(
            (name, "unknown" if math.isnan(number) else f"{rounded(number)} {self.unit}".rstrip())
            for name, number in zip(self.names, value.tolist(), strict=True)
        )

    def draw(self, value: np.ndarray) -> Image.Image:
        """The numbers, written."""
        return written(", ".join(f"{name} {said}".lstrip() for name, said in self.describe(value)))


def rounded(number: float) -> str:
    """A number as a person wants to read it: four digits, or all whole ones."""
    return f"{number:,.0f}" if 1000 <= abs(number) < 1e12 else f"{number:.4g}"


def _entries(cell: Any) -> Sequence[Any]:
    if isinstance(cell, str):
        return cell.split(SEPARATOR)
    return list(cell) if isinstance(cell, list | tuple | np.ndarray) else [cell]
