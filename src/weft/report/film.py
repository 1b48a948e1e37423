"""Clips in the report: every row is one thing at some frames, side by side, and can be played."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weft.report.embed import Album, Embedded
from weft.report.steps import StepShares, of_sample

#: Kinds of rows that are of a modality; the others are of a task.
OF_INPUTS = ("input", "attention")


@dataclass(frozen=True)
class FilmRow:
    """One thing at every frame that is shown.

    Attributes:
        of: the modality or task.
        kind: what of it.
        pictures: their paths, one a frame.
        shares: of what the fusion looked at, that of each frame; empty where it says nothing.
    """

    of: str
    kind: str
    pictures: tuple[str, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Film:
    """The frames of a sample that are shown, by their numbers, and what is shown of them; and where the fusion's parts
    looked in time.
    """

    frames: tuple[int, ...] = ()
    rows: tuple[FilmRow, ...] = ()
    parts: StepShares = StepShares()

    @property
    def paths(self) -> Iterator[str]:
        """Of all its pictures."""
        return (path for row in self.rows for path in row.pictures)


@dataclass(frozen=True)
class Frame:
    """One picture of a row.

    Attributes:
        number: of the frame.
        picture: embedded.
        share: of all that the fusion looked at, as text; empty where it says nothing.
        height: of the bar of the share, in percent of the largest in the row.
    """

    number: int
    picture: Embedded
    share: str = ""
    height: float = 0.0


@dataclass(frozen=True)
class Reel:
    """One row, embedded."""

    of: str
    kind: str
    frames: tuple[Frame, ...]


def film(data: Mapping[str, Any] | None) -> Film:
    """From evaluation.json; without rows where the sample has no frames."""
    if not data:
        return Film()
    rows = tuple(
        FilmRow(
            of=str(row["of"]),
            kind=str(row["kind"]),
            pictures=tuple(str(path) for path in row["pictures"]),
            shares=tuple(float(share) for share in row.get("shares") or ()),
        )
        for row in data["rows"]
    )
    return Film(tuple(int(number) for number in data["frames"]), rows, of_sample(data.get("parts")))


def reels(shown: Film, album: Album, tasks: Sequence[str]) -> tuple[Reel, ...]:
    """What went in, where the fusion looked and what is shown of some tasks, with the pictures embedded."""
    return tuple(
        Reel(row.of, row.kind, tuple(_frames(shown, row, album)))
        for row in shown.rows
        if row.kind in OF_INPUTS or row.of in tasks
    )


def _frames(shown: Film, row: FilmRow, album: Album) -> Iterator[Frame]:
    most = max(row.shares, default=0.0)
    for place, (number, path) in enumerate(zip(shown.frames, row.pictures, strict=True)):
        if most > 0:
            share = row.shares[place]
            yield Frame(number, album.embed(path), f"{100 * share:.1f} %", 100 * share / most)
        else:
            yield Frame(number, album.embed(path))
