"""Questions about the frames of NYU Depth v2 (DAQUAR): each becomes a row with its frame, and its answer a class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from weft.data.manifest import Column, Manifest
from weft.data.tablefile import read_table
from weft.errors import DataFault

#: The class of answers that are not among the frequent ones; no training sample has it.
OTHER = "(another answer)"


@dataclass(frozen=True)
class _Question:
    """A line of a file: the frame by its place in the manifest, its split, and what is asked."""

    frame: int
    split: str
    id: str
    text: str
    answer: str


def asked(frames: Manifest, num_answers: int) -> Manifest:
    """The questions of `questions_*.csv` as rows, by frame and in the order of the files.

    The classes are the most frequent answers to training questions, a list of things being a set. Training questions
    with a rarer answer are left out; in other splits they have the class `OTHER`.

    Args:
        frames: the frames with their splits.
        num_answers: how many answers are classes.

    Raises:
        DataFault: there is no such file, it lacks a column, or no question is about a training frame.
    """
    questions, num_unknown = _read(frames)
    counts = Counter(question.answer for question in questions if question.split == "train")
    if not counts:
        raise DataFault(f"{frames.root}: no question is about a frame of the training split", code="no-samples")
    classes = sorted(counts, key=lambda answer: (-counts[answer], answer))[:num_answers]
    frequent = set(classes)
    kept = [one for one in questions if one.answer in frequent or one.split != "train"]
    num_wrong = sum(one.answer not in frequent for one in kept)
    notes = {
        "questions are about frames in no list and are left out": num_unknown,
        f"training questions are left out: their answer is not among the {len(classes)} most frequent": len(questions)
        - len(kept),
        "questions of the other splits have such an answer, and count as wrong": num_wrong,
    }
    table = frames.table.take(pa.array([one.frame for one in kept])).drop_columns(["id"])
    columns = {
        "id": [one.id for one in kept],
        "question": [one.text for one in kept],
        "answer": [one.answer if one.answer in frequent else OTHER for one in kept],
        "asks": [_asks(one.text) for one in kept],
        "picture": frames.table.column("id").take(pa.array([one.frame for one in kept])),
    }
    for name, column in columns.items():
        table = table.append_column(name, column if isinstance(column, pa.ChunkedArray) else pa.array(column))
    known = {
        "question": Column("text"),
        "answer": Column("class", {"classes": [*classes, OTHER]}),
        "asks": Column("class"),
        "picture": Column("class"),
    }
    return replace(
        frames,
        table=table.replace_schema_metadata(None),  # of the frames it said that ids are unique
        columns={**frames.columns, **known},
        notes=(*frames.notes, *(f"{count} {said}" for said, count in notes.items() if count)),
        group="picture",
    )


def _read(frames: Manifest) -> tuple[list[_Question], int]:
    """(the questions about known frames, how many are about others)."""
    files = sorted(frames.root.glob("questions_*.csv"))
    if not files:
        raise DataFault(
            f"{frames.root} has no questions_train.csv; add it, or leave `answers` out", code="missing-file"
        )
    places = {name: place for place, name in enumerate(frames.values("id").to_pylist())}
    splits = frames.values("split").to_pylist()
    numbers: Counter[str] = Counter()
    questions: list[_Question] = []
    num_unknown = 0
    for name, text, answer in (line for file in files for line in _lines(file)):
        if name not in places:
            num_unknown += 1
            continue
        numbers[name] += 1
        place = places[name]
        questions.append(_Question(place, splits[place], f"{name}-{numbers[name]:03d}", text, as_set(answer)))
    return sorted(questions, key=lambda one: one.id), num_unknown


def _lines(file: Path) -> Iterable[tuple[str, str, str]]:
    """(frame, question, answer) of each line."""
    table = read_table(file)
    lacking = [name for name in ("image", "question", "answer") if name not in table.column_names]
    if lacking:
        raise DataFault(
            f"{file} has no column {lacking[0]!r}; it has {', '.join(table.column_names)}", code="no-column"
        )
    cells = [table.column(name).to_pylist() for name in ("image", "question", "answer")]
    for number, line in enumerate(zip(*cells, strict=True), start=1):
        if None in line:
            raise DataFault(f"{file}, row {number} has an empty cell; fill it in, or remove the row", code="empty-cell")
        yield line


def as_set(answer: str) -> str:
    """An answer with the things it lists sorted: "lamp, books" and "books, lamp" are one."""
    return ", ".join(sorted({thing.strip() for thing in answer.split(",")}))


def _asks(question: str) -> str:
    """What a question asks for: number, colour or thing."""
    words = question.lower()
    if words.startswith("how many"):
        return "number"
    return "colour" if "color" in words or "colour" in words else "thing"
