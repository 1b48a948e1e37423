"""What a scene is before it is rendered: its things, its facts and its marks, drawn from (seed, split, index)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

Shape = Literal["ball", "box", "cone"]
Mode = Literal["plain", "camouflaged", "picture", "hidden", "stain"]

CLASSES = ("background", "ball", "box", "cone", "parcel", "picture")
SHAPES: tuple[Shape, ...] = ("ball", "box", "cone")
MARKS = ("lamp", "knob", "hot_spot")
MODALITIES = ("image", "depth", "thermal", "text", "audio", "clip")
SPLITS = ("train", "val", "test")

#: {fact: (its two values, the one modality besides the clip that shows it)}
FACTS: dict[str, tuple[tuple[str, str], str]] = {
    "floor": (("tiles", "planks"), "image"),
    "relief": (("niche", "bulge"), "depth"),
    "heating": (("left", "right"), "thermal"),
    "time": (("morning", "night"), "text"),
    "tone": (("rising", "falling"), "audio"),
    "drift": (("leftward", "rightward"), "clip"),
}

#: Rows and columns of the grid that the floor is divided into; a cell holds at most one thing.
CELL_ROWS, CELL_COLUMNS = 2, 2
CELLS = tuple(product(range(CELL_ROWS), range(CELL_COLUMNS)))

#: Share of the height above the line where the wall meets the floor.
WALL = 0.28

#: How far a shape reaches above and below its centre in the picture, in radii: the camera looks down on it.
REACH: dict[Shape, tuple[float, float]] = {"ball": (1.01, 1.07), "box": (0.99, 1.14), "cone": (0.76, 1.18)}

#: How far any shape reaches to the side, in radii.
SIDE_REACH = 1.09

#: Which random stream is which: latents and every sensor have their own, so that none disturbs another.
STREAMS = {name: number for number, name in enumerate(("latents", "missing", *MODALITIES))}


@dataclass(frozen=True)
class Rules:
    """How scenes are drawn; the knobs of the `scenes` format.

    Attributes:
        height, width: of every raster, in pixels.
        seed: of everything random.
        present: probability that a cell of the floor holds a thing.
        camouflage, poster, hidden: shares of the things that are camouflaged, pictures, hidden; the rest is plain.
        warm: probability that a plain or camouflaged thing is warm.
        visible: probability of each mark.
        noise: standard deviation of the sensor noise; 1 is the full range of image and thermal, and one metre.
        holes: share of the depth pixels that are unknown.
        named: the image shows camouflaged things as patches, and the sentence names them and their places.
        stains: probability that an empty cell has a stain, which looks like such a patch.
        num_frames: of a clip.
        sample_rate, seconds: of a sound.
    """

    height: int = 64
    width: int = 64
    seed: int = 0
    present: float = 0.75
    camouflage: float = 0.3
    poster: float = 0.3
    hidden: float = 0.03
    warm: float = 0.35
    visible: float = 0.85
    noise: float = 0.02
    holes: float = 0.01
    named: bool = False
    stains: float = 0.0
    num_frames: int = 8
    sample_rate: int = 8000
    seconds: float = 0.5

    @property
    def modes(self) -> dict[Mode, float]:
        """The share of every mode among the things."""
        plain = 1 - self.camouflage - self.poster - self.hidden
        return {"plain": plain, "camouflaged": self.camouflage, "picture": self.poster, "hidden": self.hidden}


@dataclass(frozen=True)
class Thing:
    """One thing on the floor, or what looks like one.

    Attributes:
        cell: (row, column) of the grid on the floor.
        mode: which sensors it shows in: plain (image and depth), camouflaged (depth), picture (image: painted on the
            floor, flat), hidden (neither). A stain is no thing: a patch of darker floor in the outline of one.
        ribbon: whether the image shows a ribbon around the box.
        warm: whether its outline shows in thermal.
        colour: its place in the palette.
        x, y: its centre in pixels from the top left corner of the picture.
        radius: of the ball in which its outline fits, in pixels.
        yaw: turn about the vertical, radians.
    """

    cell: tuple[int, int]
    shape: Shape
    mode: Mode
    ribbon: bool
    warm: bool
    colour: int
    x: float
    y: float
    radius: float
    yaw: float

    @property
    def in_image(self) -> bool:
        """Whether the image shows it."""
        return self.mode in ("plain", "picture")

    @property
    def in_depth(self) -> bool:
        """Whether it stands out in depth."""
        return self.mode in ("plain", "camouflaged")

    @property
    def class_name(self) -> str:
        """Its class: what is flat is a picture, a box with a ribbon a parcel, and all else what its shape says."""
        if self.mode == "stain":
            return "background"
        if self.mode == "picture":
            return "picture"
        return "parcel" if self.ribbon else self.shape


@dataclass(frozen=True)
class Mark:
    """A named point on the wall: x, y in pixels from the top left corner of the picture, and whether it is there."""

    x: float
    y: float
    visible: bool


@dataclass(frozen=True)
class Scene:
    """Everything that a sample is rendered from.

    Attributes:
        things: at most one a cell, far ones first.
        facts: {fact: 0 or 1}, see `FACTS`.
        marks: {name: Mark}.
        meant: the mark that the sentence names, or None where none is visible.
        looks: twelve numbers in [0, 1) that only please the eye and ear, and tell nothing.
        stains: of cells without a thing.
    """

    things: tuple[Thing, ...]
    facts: dict[str, int]
    marks: dict[str, Mark]
    meant: str | None
    looks: tuple[float, ...]
    stains: tuple[Thing, ...] = ()


def random(rules: Rules, split: str, index: int, stream: str, frame: int = 0) -> np.random.Generator:
    """The generator of one stream of one sample; it depends on nothing else."""
    return np.random.default_rng([rules.seed, SPLITS.index(split), index, STREAMS[stream], frame])


def draw(rules: Rules, split: str, index: int) -> Scene:
    """The scene of one sample."""
    # A fixed number of draws: changing a share moves no other thing.
    numbers = random(rules, split, index, "latents").random((len(CELLS) + 4, 12))
    found = [_thing(rules, cell, row) for cell, row in zip(CELLS, numbers, strict=False)]
    things = [thing for thing in found if thing is not None]
    facts, wall, choice, looks = numbers[len(CELLS) :]
    marks = {
        name: Mark(*mark_position(rules, wall[3 * i], wall[3 * i + 1]), bool(wall[3 * i + 2] < rules.visible))
        for i, name in enumerate(MARKS)
    }
    visible = [name for name, mark in marks.items() if mark.visible]
    return Scene(
        things=tuple(thing for thing in things if thing.mode != "stain"),
        facts={name: int(facts[i] < 0.5) for i, name in enumerate(FACTS)},
        marks=marks,
        meant=visible[int(choice[0] * len(visible))] if visible else None,
        looks=tuple(looks.tolist()),
        stains=tuple(thing for thing in things if thing.mode == "stain"),
    )


def cell_bounds(rules: Rules, cell: tuple[int, int]) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) pixels of a cell of the floor, ends excluded."""
    top = round(WALL * rules.height)
    rows = [top + round(i * (rules.height - top) / CELL_ROWS) for i in (cell[0], cell[0] + 1)]
    columns = [round(i * rules.width / CELL_COLUMNS) for i in (cell[1], cell[1] + 1)]
    return rows[0], rows[1], columns[0], columns[1]


def mark_position(rules: Rules, across: float, down: float) -> tuple[float, float]:
    """(x, y) of a mark in pixels from two numbers in [0, 1]: anywhere on the wall but its borders."""
    return (0.08 + 0.84 * across) * rules.width, (0.05 + 0.15 * down) * rules.height


def _thing(rules: Rules, cell: tuple[int, int], numbers: np.ndarray) -> Thing | None:
    """The thing or the stain of a cell from twelve numbers, or None where the cell stays empty."""
    present, kind, look, ribbon, warm, colour, size, across, down, yaw, stain, _ = numbers.tolist()
    if present >= rules.present and stain >= rules.stains:
        return None
    mode: Mode = "stain" if present >= rules.present else _mode(rules, kind)
    shape = SHAPES[int(look * len(SHAPES))]
    top, bottom, left, right = cell_bounds(rules, cell)
    radius = (0.34 + 0.08 * size) * min(bottom - top, right - left)
    above, below = REACH[shape]
    # One pixel of floor stays on every side, so that an outline lies in its own cell.
    low, high = left + 1 + SIDE_REACH * radius, right - 1 - SIDE_REACH * radius
    upper, lower = top + 1 + above * radius, bottom - 1 - below * radius
    return Thing(
        cell=cell,
        shape=shape,
        mode=mode,
        ribbon=shape == "box" and mode in ("plain", "picture") and ribbon < 0.5,
        warm=mode == "hidden" or (mode in ("plain", "camouflaged") and warm < rules.warm),
        colour=int(colour * 6),
        x=low + (high - low) * across,
        y=upper + (lower - upper) * down,
        radius=radius,
        yaw=yaw * np.pi / 2,
    )


def _mode(rules: Rules, number: float) -> Mode:
    """The mode that a number in [0, 1) stands for."""
    mode: Mode = "plain"
    for name, share in rules.modes.items():
        mode = name
        if number < share:
            break
        number -= share
    return mode
