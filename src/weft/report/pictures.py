"""The grid of pictures: what went in, what is true, what came out, and where it is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from weft.report.embed import BUDGET, LONGEST_SIDE, Album, Embedded
from weft.report.run import Evaluation, Picture

#: About so many bytes a picture of the longest side takes; many pictures are shrunk so that all fit.
TYPICAL_BYTES = 45_000
SHORTEST_SIDE = 160


@dataclass(frozen=True)
class Tile:
    """One picture with the words below it; `of` is the modality or task it belongs to."""

    of: str
    kind: str
    picture: Embedded

    @property
    def alt(self) -> str:
        """What it shows, in words."""
        return f"{self.of}: {self.kind}"


@dataclass(frozen=True)
class Strip:
    """The pictures of one sample."""

    id: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Gallery:
    """Samples as they come, and per task the worst ones; `num_left_out` did not fit into the page."""

    samples: tuple[Strip, ...]
    worst: Mapping[str, tuple[Strip, ...]]
    num_left_out: int


def gallery(evaluation: Evaluation, *, budget: int = BUDGET) -> Gallery:
    """All pictures of an evaluation, embedded.

    Args:
        evaluation: its pictures and their folder.
        budget: bytes of all pictures together.
    """
    number = sum(
        len(picture.inputs) + sum(len(kinds) for kinds in picture.tasks.values()) for picture in evaluation.pictures
    )
    shrink = math.sqrt(min(1.0, budget / (TYPICAL_BYTES * max(number, 1))))
    album = Album(evaluation.folder, budget, max(SHORTEST_SIDE, round(LONGEST_SIDE * shrink)))
    samples = tuple(
        Strip(picture.id, tuple(_tiles(picture, album, list(picture.tasks))))
        for picture in evaluation.pictures
        if not picture.worst_of
    )
    worst = {task: tuple(_worst(evaluation, task, album)) for task in evaluation.tasks}
    return Gallery(samples, {task: strips for task, strips in worst.items() if strips}, album.num_left_out)


def _worst(evaluation: Evaluation, task: str, album: Album) -> Iterator[Strip]:
    """In the order of the task's list of worst samples."""
    rank = {sample: place for place, sample in enumerate(evaluation.tasks[task].worst)}
    chosen = [picture for picture in evaluation.pictures if task in picture.worst_of]
    for picture in sorted(chosen, key=lambda picture: rank.get(picture.id, len(rank))):
        yield Strip(picture.id, tuple(_tiles(picture, album, [task])))


def _tiles(picture: Picture, album: Album, tasks: list[str]) -> Iterator[Tile]:
    for modality, path in picture.inputs.items():
        yield Tile(modality, "input", album.embed(path))
    for task in tasks:
        for kind in ("truth", "prediction", "error"):
            if kind in picture.tasks.get(task, {}):
                yield Tile(task, kind, album.embed(picture.tasks[task][kind]))
