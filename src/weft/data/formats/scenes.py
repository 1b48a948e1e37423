"""The built-in data set: rendered rooms in which it is known what every sensor can tell."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa

from weft.data.manifest import Column, Manifest
from weft.data.scenes.ceilings import DECIDED_BY, ceilings, class_of
from weft.data.scenes.cells import place_of, table_of
from weft.data.scenes.latents import CLASSES, FACTS, MARKS, MODALITIES, Mark, Rules, Scene, draw, random
from weft.data.scenes.render import Rendering
from weft.data.scenes.words import captions, sentence
from weft.errors import did_you_mean
from weft.modalities.base import BadCell
from weft.registry import Range, register

Fraction = Annotated[float, Range(0, 1)]
Size = Annotated[int, Range(48)]
Count = Annotated[int, Range(1)]

#: Columns that are rendered when they are asked for, with what is known about them.
RENDERED = {
    "image": Column("image"),
    "depth": Column("depth"),
    "thermal": Column("image"),
    "audio": Column("audio"),
    "clip": Column("video"),
    "label": Column("label", {"classes": list(CLASSES), "ignore": 255}),
    "instances": Column("instances", {"instances": True}),
    "boxes": Column("boxes", {"classes": list(CLASSES[1:])}),
    "edges": Column("edges"),
    "true_depth": Column("depth"),
}

#: {column: its classes in order}
CLASS_NAMES = {
    "heating": list(FACTS["heating"][0]),
    "room": [f"{floor} and {relief}" for floor in FACTS["floor"][0] for relief in FACTS["relief"][0]],
    "parity": ["even", "odd"],
    "event": [f"{time}, {tone}" for time in FACTS["time"][0] for tone in FACTS["tone"][0]],
    "drift": list(FACTS["drift"][0]),
}

#: Columns whose cells are the values themselves.
WRITTEN = {
    "text": (Column("text"), pa.string()),
    "caption": (Column("captions"), pa.list_(pa.string())),
    "contents": (Column("labels", {"classes": list(CLASSES[1:])}), pa.list_(pa.string())),
    **{name: (Column("class", {"classes": CLASS_NAMES[name]}), pa.string()) for name in DECIDED_BY},
    "marks": (Column("points", {"points": list(MARKS)}), pa.list_(pa.list_(pa.float64()))),
    "meant": (Column("points", {"points": ["meant"]}), pa.list_(pa.list_(pa.float64()))),
    "num_things": (Column("number"), pa.int64()),
}

COLUMNS = (*RENDERED, *WRITTEN)


@register("format", "scenes")
class Scenes:
    """Rendered rooms with image, depth, thermal, text, audio and clip, and targets that are known exactly.

    Nothing is stored: a sample is a function of the seed, its split and its number, rendered when it is asked for.

    Args:
        resolution: height and width of every raster, in pixels.
        num_train: samples of the training split.
        num_val: samples of the validation split; 0: none.
        num_test: samples of the test split.
        seed: of everything random.
        present: probability that a cell of the floor holds a thing.
        camouflage: share of the things that depth shows and the image does not.
        poster: share of the things that the image shows and depth does not: pictures on the floor.
        hidden: share of the things that neither shows; thermal does.
        warm: probability that thermal shows a plain or camouflaged thing.
        visible: probability of each mark on the wall.
        noise: standard deviation of the sensors' noise: 1 is the full range of image, thermal and sound, and a metre.
        holes: share of the depth pixels that are unknown.
        named: the image shows a camouflaged thing as a patch of darker floor in its outline, and the sentence goes on
            to name these things and their places.
        stains: probability that an empty cell has a stain: just such a patch, where nothing is.
        missing: share of the cells that are empty, by column, such as {depth: 0.2, label: 0.5}.
    """

    def __init__(
        self,
        *,
        resolution: tuple[Size, Size] = (64, 64),
        num_train: Count = 1200,
        num_val: Annotated[int, Range(0)] = 150,
        num_test: Annotated[int, Range(0)] = 300,
        seed: Annotated[int, Range(0)] = 0,
        present: Fraction = 0.75,
        camouflage: Fraction = 0.3,
        poster: Fraction = 0.3,
        hidden: Fraction = 0.03,
        warm: Fraction = 0.35,
        visible: Fraction = 0.85,
        noise: Fraction = 0.02,
        holes: Fraction = 0.01,
        named: bool = False,
        stains: Fraction = 0.0,
        missing: dict[str, Fraction] | None = None,
    ) -> None:
        if camouflage + poster + hidden > 1:
            given = f"camouflage {camouflage} + poster {poster} + hidden {hidden}"
            raise ValueError(f"the shares {given} are more than 1; what they leave is the share of plain things")
        for name in missing or {}:
            if name not in COLUMNS:
                hint = did_you_mean(name, COLUMNS)
                raise ValueError(f"missing names no column {name!r}; there are {', '.join(COLUMNS)}{hint}")
        self.num_samples = {"train": num_train, "val": num_val, "test": num_test}
        self.missing = dict(missing or {})
        self.rules = Rules(
            height=resolution[0],
            width=resolution[1],
            seed=seed,
            present=present,
            camouflage=camouflage,
            poster=poster,
            hidden=hidden,
            warm=warm,
            visible=visible,
            noise=noise,
            holes=holes,
            named=named,
            stains=stains,
        )

    def manifest(self) -> Manifest:
        """All samples of all splits: the latents are drawn, nothing is rendered."""
        types = {name: kind for name, (_, kind) in WRITTEN.items()}
        table = table_of(self._row, self.num_samples, COLUMNS, types)
        columns = {**RENDERED, **{name: column for name, (column, _) in WRITTEN.items()}}
        columns["audio"] = Column("audio", {"sample_rate": self.rules.sample_rate})
        columns["clip"] = Column("video", {"num_frames": self.rules.num_frames})
        return Manifest(table=table, root=Path(), columns=columns, arrays=partial(rendered, self.rules))

    def ceilings(
        self, split: str = "test", *, modalities: Iterable[str] = MODALITIES
    ) -> dict[str, dict[frozenset[str], float]]:
        """The best that can be reached on a split where no cell is missing: `weft.data.scenes.ceilings`.

        Example:
            >>> from weft.data.formats.scenes import Scenes
            >>> best = Scenes(num_test=40).ceilings("test", modalities=("image", "depth"))["room/accuracy"]
            >>> best[frozenset({"image", "depth"})]
            1.0
        """
        num_samples = self.num_samples[split]
        return ceilings(self.rules, split=split, num_samples=num_samples, modalities=modalities)

    def _row(self, split: str, index: int) -> dict[str, Any]:
        """The cells of one sample."""
        scene = draw(self.rules, split, index)
        row: dict[str, Any] = {"id": f"{split}-{index:06d}", "split": split}
        row |= {name: f"scenes:{split}/{index}/{name}" for name in RENDERED}
        row |= _written(scene, named=self.rules.named)
        if self.missing:
            chances = random(self.rules, split, index, "missing").random(len(COLUMNS))
            for name, chance in zip(COLUMNS, chances, strict=True):
                if chance < self.missing.get(name, 0.0):
                    row[name] = None
        return row


def rendered(rules: Rules, cell: str) -> np.ndarray:
    """The array that a cell such as "scenes:train/17/image" stands for.

    Raises:
        BadCell: the cell is none of this data set's.
    """
    place = place_of(cell, "scenes:", RENDERED)
    if place is None:
        raise BadCell("not-a-scene", f"{cell!r} is no cell of the built-in scenes; they read scenes:train/17/image")
    split, index, name = place
    array: np.ndarray = getattr(_rendering(rules, split, index), name)()
    return array


@lru_cache(maxsize=8)
def _rendering(rules: Rules, split: str, index: int) -> Rendering:
    """The columns of a sample are asked for one after another: cast its rays once."""
    return Rendering(rules, split, index)


def _written(scene: Scene, *, named: bool) -> dict[str, Any]:
    """The cells that are values."""
    meant = scene.marks[scene.meant] if scene.meant else Mark(0.0, 0.0, False)
    names = {thing.class_name for thing in scene.things}
    return {
        "text": sentence(scene, named=named),
        "caption": captions(scene),
        "contents": [name for name in CLASSES if name in names],
        **{name: CLASS_NAMES[name][class_of(scene, name)] for name in DECIDED_BY},
        "marks": [_entry(mark) for mark in scene.marks.values()],
        "meant": [_entry(meant)],
        "num_things": len(scene.things),
    }


def _entry(mark: Mark) -> list[float]:
    return [mark.x, mark.y, 1.0] if mark.visible else [0.0, 0.0, 0.0]
