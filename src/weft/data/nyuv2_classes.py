"""The class lists of NYU Depth v2, as files beside the data give them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from weft.data.listing import read_text
from weft.errors import DataFault

#: Classes of the labelled .mat; 0 is no label.
NUM_LABELS = 894
_NONE = 255


@dataclass(frozen=True)
class Classes:
    """The 39 classes and what they are among the 13.

    Attributes:
        names: {39: names, 13: names} in the order of their numbers.
        to_13: for each of the 39 its number among the 13.
    """

    names: dict[int, tuple[str, ...]]
    to_13: tuple[int, ...]


def read_classes(path: Path) -> Classes:
    """`classes.csv` with the columns label, name39, label13, name13.

    Raises:
        DataFault: missing, or not so.
    """
    rows = _rows(path, ("label", "name39", "label13", "name13"))
    numbers = [int(row["label"]) for row in rows]
    to_13 = tuple(int(row["label13"]) for row in rows)
    if numbers != list(range(39)) or set(to_13) != set(range(13)):
        raise DataFault(f"{path} must list the labels 0 to 38 in order, mapped to 0 to 12", code="bad-mapping")
    names_13 = {int(row["label13"]): row["name13"] for row in rows}
    return Classes(
        {39: tuple(row["name39"] for row in rows), 13: tuple(names_13[number] for number in range(13))}, to_13
    )


def read_mapping(path: Path) -> tuple[Sequence[str], np.ndarray]:
    """(names of the classes, (895,) uint8 class of each label of the .mat; 255 where it has none).

    Args:
        path: `classMapping40.mat` with `mapClass` (1 to 40 for each of the 894) and `className`, or a CSV file with the
            columns label (from 1), class (from 0, empty: none) and name.

    Raises:
        DataFault: missing, or not so.
    """
    lookup = np.full(NUM_LABELS + 1, _NONE, np.uint8)
    if path.suffix == ".mat":
        content = load_mat(path, ("mapClass", "className"))
        mapped = content["mapClass"].ravel().astype(int)
        names = [str(np.asarray(name).item()) for name in content["className"].ravel()]
        if len(mapped) != NUM_LABELS or mapped.min() < 0 or mapped.max() > len(names):
            raise DataFault(
                f"{path}: mapClass must give one of {len(names)} classes for each of 894", code="bad-mapping"
            )
        lookup[1:] = np.where(mapped > 0, mapped - 1, _NONE)
        return names, lookup
    rows = _rows(path, ("label", "class", "name"))
    named: dict[int, str] = {}
    for row in rows:
        label = int(row["label"])
        if not 1 <= label <= NUM_LABELS:
            raise DataFault(f"{path} maps the label {label}; labels go from 1 to {NUM_LABELS}", code="bad-mapping")
        if row["class"]:
            lookup[label] = int(row["class"])
            named[int(row["class"])] = row["name"]
    if sorted(named) != list(range(len(named))):
        raise DataFault(f"{path} must use the classes 0 to {len(named) - 1} without a gap", code="bad-mapping")
    return [named[number] for number in sorted(named)], lookup


def load_mat(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Variables of a MATLAB file of version 5.

    Raises:
        DataFault: missing, of another kind, or without one of them.
    """
    try:
        content = loadmat(path, variable_names=names)
    except FileNotFoundError as error:
        raise DataFault(f"{path} does not exist", code="missing-file") from error
    except (MatReadError, NotImplementedError, ValueError, TypeError, OSError) as error:
        raise DataFault(f"{path} is not a MATLAB file of version 5: {error}", code="wrong-type") from error
    lacking = [name for name in names if name not in content]
    if lacking:
        raise DataFault(f"{path} has no variable {lacking[0]}", code="wrong-type")
    return {name: content[name] for name in names}


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a small CSV file; all but the names are whole numbers or empty."""
    reader = csv.DictReader(read_text(path).splitlines())
    lacking = [name for name in columns if name not in (reader.fieldnames or ())]
    if lacking:
        raise DataFault(f"{path} lacks the column {lacking[0]}; it must have {', '.join(columns)}", code="no-column")
    rows = list(reader)
    for number, row in enumerate(rows):
        for column in columns:
            value = row[column]
            whole = (value or "").isdigit() or (column == "class" and value == "")
            if value is None or (not column.startswith("name") and not whole):
                raise DataFault(
                    f"{path}, row {number + 2}: {column} is {value!r}; a whole number is wanted", code="bad-mapping"
                )
    return rows
