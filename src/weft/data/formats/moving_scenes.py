"""The built-in clips: rendered, beside a still, with facts of which it is known what must be seen to tell them."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa

from weft.data.manifest import Column, Manifest
from weft.data.scenes.cells import place_of, table_of
from weft.data.scenes.moving import (
    CLIP_FACTS,
    CUE_FRAMES,
    FRAME_FACTS,
    MOVING_CLASSES,
    STILL_FACTS,
    MovingRules,
    draw_moving,
    frame_label,
)
from weft.data.scenes.moving_ceilings import moving_ceilings
from weft.data.scenes.moving_render import TRACKED, MovingRendering
from weft.modalities.base import BadCell
from weft.registry import Range, register

Fraction = Annotated[float, Range(0, 1)]
Size = Annotated[int, Range(48)]
Count = Annotated[int, Range(1)]

#: Columns that are rendered when they are asked for, with what is known about them.
RENDERED = {
    "image": Column("image"),
    "clip": Column("video"),
    "flow": Column("flow"),
    "moves": Column("masks", {"classes": list(MOVING_CLASSES), "ignore": 255}),
}

#: Columns whose cells are the values themselves: a class, or for every frame one or the places of some points.
WRITTEN = {
    "track": (
        Column("frame_points", {"points": list(TRACKED)}),
        pa.list_(pa.list_(pa.list_(pa.float64()))),
    ),
    **{
        fact: (Column("class", {"classes": list(classes)}), pa.string())
        for fact, classes in {**CLIP_FACTS, **STILL_FACTS}.items()
    },
    **{
        fact: (Column("frame_labels", {"classes": list(classes)}), pa.list_(pa.string()))
        for fact, classes in FRAME_FACTS.items()
    },
}

COLUMNS = {**RENDERED, **{name: column for name, (column, _) in WRITTEN.items()}}


@register("format", "moving_scenes")
class MovingScenes:
    """Rendered clips beside a still, with facts that only motion, order, an early frame, or the still can tell.

    Nothing is stored: a sample is a function of the seed, its split and its number, rendered when it is asked for.

    Args:
        resolution: height and width in pixels.
        num_frames: of a clip.
        short: `echo` asks of each frame whether the light was on so many frames before.
        long: `recall` asks of the last frames for the sign that was last seen more than so many frames before.
        num_train: samples of the training split.
        num_val: samples of the validation split; 0: none.
        num_test: samples of the test split.
        seed: of everything random.
        noise: standard deviation of the camera's noise; 1 is the full range.
    """

    def __init__(
        self,
        *,
        resolution: tuple[Size, Size] = (64, 64),
        num_frames: Annotated[int, Range(6, 64)] = 12,
        short: Count = 2,
        long: Count = 8,
        num_train: Count = 400,
        num_val: Annotated[int, Range(0)] = 60,
        num_test: Annotated[int, Range(0)] = 200,
        seed: Annotated[int, Range(0)] = 0,
        noise: Fraction = 0.02,
    ) -> None:
        if not short < long < num_frames - CUE_FRAMES:
            raise ValueError(
                f"short is {short} and long is {long}, of {num_frames} frames; give short < long < "
                f"{num_frames - CUE_FRAMES}, so that some frame asks for the sign, which the first {CUE_FRAMES} show"
            )
        self.num_samples = {"train": num_train, "val": num_val, "test": num_test}
        self.rules = MovingRules(
            height=resolution[0],
            width=resolution[1],
            num_frames=num_frames,
            short=short,
            long=long,
            noise=noise,
            seed=seed,
        )

    def manifest(self) -> Manifest:
        """All samples of all splits: what happens is drawn, nothing is rendered."""
        types = {name: kind for name, (_, kind) in WRITTEN.items()}
        table = table_of(self._row, self.num_samples, COLUMNS, types)
        return Manifest(table=table, root=Path(), columns=COLUMNS, arrays=partial(rendered, self.rules), clip="clip")

    def ceilings(self, split: str = "test") -> dict[str, dict[frozenset[str], float]]:
        """The best that can be reached on a split: `weft.data.scenes.moving_ceilings`.

        Example:
            >>> from weft.data.formats.moving_scenes import MovingScenes
            >>> best = MovingScenes(num_test=40).ceilings("test")["heading/accuracy"]
            >>> best[frozenset({"clip"})]
            1.0
        """
        return moving_ceilings(self.rules, split=split, num_samples=self.num_samples[split])

    def _row(self, split: str, index: int) -> dict[str, Any]:
        """The cells of one sample."""
        moving = draw_moving(self.rules, split, index)
        row: dict[str, Any] = {"id": f"{split}-{index:06d}", "split": split}
        row |= {name: f"moving:{split}/{index}/{name}" for name in RENDERED}
        row |= {fact: CLIP_FACTS[fact][number] for fact, number in moving.facts.items()}
        row |= {fact: STILL_FACTS[fact][number] for fact, number in moving.still.items()}
        for fact, classes in FRAME_FACTS.items():
            numbers = [frame_label(self.rules, moving, fact, frame) for frame in range(self.rules.num_frames)]
            row[fact] = [None if number is None else classes[number] for number in numbers]
        row["track"] = MovingRendering(self.rules, split, index, moving).track().tolist()
        return row


def rendered(rules: MovingRules, cell: str) -> np.ndarray:
    """The array that a cell such as "moving:train/17/clip" stands for.

    Raises:
        BadCell: the cell is none of this data set's.
    """
    place = place_of(cell, "moving:", RENDERED)
    if place is None:
        raise BadCell("not-a-clip", f"{cell!r} is no cell of the built-in clips; they read moving:train/17/clip")
    return _rendered(rules, *place).copy()


@lru_cache(maxsize=8)
def _rendered(rules: MovingRules, split: str, index: int, name: str) -> np.ndarray:
    """A clip is asked for twice: which frames it has, and then what they show."""
    array: np.ndarray = getattr(MovingRendering(rules, split, index), name)()
    return array
