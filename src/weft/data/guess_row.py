"""For `weft init`: which columns of a table are inputs side by side, as one row, and which are to be learned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from weft.data.guess_column import ColumnGuess
from weft.modalities.columns import Kind, guess_kind, is_number, number_of

#: The modality that the row becomes.
ROW = "columns"

#: Words in the names of columns that are usually to be learned.
_TARGETS = frozenset(
    {"answer", "class", "cost", "diagnosis", "grade", "label", "labels", "outcome", "price", "rating", "response"}
    | {"result", "score", "target", "y"}
)

#: Words in the names of numbers that are codes: no one is larger than another.
_CODES = frozenset({"code", "id", "plz", "postal", "postcode", "zip", "zipcode"})

#: Numbers above zero that differ by more than this factor are learned by their logarithms.
_WIDE = 20.0

#: Cells that are looked at.
_CELLS = 1000


def with_row(columns: Mapping[str, ColumnGuess], table: pa.Table) -> tuple[dict[str, ColumnGuess], list[str]]:
    """The columns with those of numbers, classes and dates put together as one input, but for what is to be learned.

    To be learned is what is called so (price, label, diagnosis, …); where no name tells, every column of classes, as it
    would be without a row; where there is nothing else to learn, the last column of numbers.

    Returns:
        the columns, and why, a line each.
    """
    kinds = {name: _kind(name, table, guess) for name, guess in columns.items()}
    loose = [name for name, kind in kinds.items() if kind is not None]
    called = [name for name in loose if _words(name) & _TARGETS and kinds[name] != "date"]
    learned = called or [name for name in loose if columns[name].kind == "class"]
    if not learned and not any(guess.task for guess in columns.values()):
        learned = [name for name in loose if kinds[name] == "number"][-1:]
    row = {name: kinds[name] for name in loose if name not in learned}
    kept = {name: guess for name, guess in columns.items() if name not in row}
    for name in learned:
        if columns[name].kind == "number":
            kept[name] = _regression(name, table)
    if not row or not (learned or any(guess.task for guess in kept.values())):
        return {**columns, **kept}, []
    options: dict[str, list[str]] = {"columns": list(row)}
    for option, wanted in (("numbers", "number"), ("categories", "category"), ("dates", "date")):
        named = [name for name, kind in row.items() if kind == wanted]
        if named:
            options[option] = named
    name = ROW if ROW not in columns else f"{ROW}_of_row"
    kept[name] = ColumnGuess("table", f"a row of {', '.join(row)}", options=options)
    return kept, [f"{name}: {_why(columns[name], kind)}" for name, kind in row.items()]


def _kind(name: str, table: pa.Table, guess: ColumnGuess) -> Kind | None:
    """What a column is in a row; None where it is none of a row."""
    if guess.kind not in ("number", "class", "nothing"):
        return None
    cells = table.column(name).drop_null()
    if len(pc.unique(cells)) < 2:
        return None
    kind = guess_kind(cells.slice(0, _CELLS).to_pylist())
    if kind == "number":
        return "category" if _words(name) & _CODES else kind
    return kind if kind == "date" or guess.kind == "class" else None


def _why(guess: ColumnGuess, kind: Kind | None) -> str:
    reason = guess.reason.split(";")[0].removesuffix(": classes")
    return f"{reason}; taken for {'an input' if kind is None else f'an input, a {kind}'}"


def _regression(name: str, table: pa.Table) -> ColumnGuess:
    """A column of numbers, to be learned."""
    cells = table.column(name).drop_null().slice(0, _CELLS).to_pylist()
    numbers = [number_of(cell, name) for cell in cells if is_number(cell)]
    task = {"type": "regression"}
    reason = f"numbers from {min(numbers):g} to {max(numbers):g}, to be learned"
    if min(numbers) > 0 and max(numbers) > _WIDE * min(numbers):
        task["transform"] = "log"
        reason += ", by their logarithms, since they differ by more than a factor of 20"
    return replace(ColumnGuess("number", reason), task=task)


def _words(name: str) -> set[str]:
    """The words in a name, in small letters: of `priceUSD` and `price_usd` price and usd."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)}
