"""What each sensor reveals of a split, counted: the material that the ceilings are worked out from.

A thing has a **look**: what the image shows of it (nothing, ball, box, cone or parcel, or a patch in the outline of
one), what depth shows, what thermal shows and what the sentence names (nothing, ball, box or cone each). A look is all
that is said about a cell of the floor, besides where the outline runs; taking a modality away erases its part of the
look. Where no raster's part is left there is no outline, and the place in the picture is all there is to go by, besides
what the sentence names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from weft.data.scenes.geometry import room
from weft.data.scenes.latents import CELLS, CLASSES, SHAPES, Rules, Scene, Thing, cell_bounds, draw
from weft.data.scenes.render import Rendering, outline

IMAGE_LOOKS = ("nothing", *SHAPES, "parcel", *(f"patch of a {shape}" for shape in SHAPES))
OTHER_LOOKS = ("nothing", *SHAPES)
LOOKS = (len(IMAGE_LOOKS), len(OTHER_LOOKS), len(OTHER_LOOKS), len(OTHER_LOOKS))
NUM_LOOKS = int(np.prod(LOOKS))

#: Where a pixel lies: on the thing or beside it, and whether it is marked as an edge.
BESIDE, INSIDE, EDGE_INSIDE, EDGE_BESIDE = range(4)
NUM_PARTS = 4

#: The picture is divided into so many rows and columns of places.
PLACES = 8

#: Added up over pixels: one; the true depth less the empty room's, squared; the step from room to solid, squared; both.
SUMS = ("count", "error", "error_squared", "step_squared", "error_step")


@dataclass(frozen=True)
class Evidence:
    """One split, counted by what can be seen.

    Attributes:
        scenes: its scenes.
        pixels: {sum: (looks, classes, parts, places)}, see `SUMS`.
        looks, classes: (scenes, cells) of the thing in every cell; look 0 and class 0 where the cell is empty.
    """

    scenes: tuple[Scene, ...]
    pixels: dict[str, np.ndarray]
    looks: np.ndarray
    classes: np.ndarray


def look_of(thing: Thing, *, named: bool = False) -> int:
    """The look of a thing or a stain when everything is there; `named` as in `Rules`."""
    shape = 1 + SHAPES.index(thing.shape)
    image = (IMAGE_LOOKS.index("parcel") if thing.ribbon else shape) if thing.in_image else 0
    said = named and thing.mode == "camouflaged"
    if said or thing.mode == "stain":
        image = IMAGE_LOOKS.index(f"patch of a {thing.shape}")
    return int(np.ravel_multi_index((image, shape * thing.in_depth, shape * thing.warm, shape * said), LOOKS))


def left_of_looks(modalities: Iterable[str]) -> np.ndarray:
    """(looks,) what is left of every look when only these modalities are there; the clip shows what the image shows."""
    there = set(modalities)
    image, depth, thermal, said = np.unravel_index(np.arange(NUM_LOOKS), LOOKS)
    image = image * bool(there & {"image", "clip"})
    kept = (image, depth * ("depth" in there), thermal * ("thermal" in there), said * ("text" in there))
    return np.ravel_multi_index(kept, LOOKS)


def outlined_and_said(looks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of looks: whether a raster shows an outline, and what the sentence names (its place in `OTHER_LOOKS`)."""
    image, depth, thermal, said = np.unravel_index(looks, LOOKS)
    return (image > 0) | (depth > 0) | (thermal > 0), said


def gather(rules: Rules, split: str, num_samples: int) -> Evidence:
    """Count a split: the outlines of all its things are rendered, no sensor is."""
    empty = room(rules.height, rules.width)
    rows = np.arange(rules.height) * PLACES // rules.height
    columns = np.arange(rules.width) * PLACES // rules.width
    places = rows[:, None] * PLACES + columns[None]
    shape = (NUM_LOOKS, len(CLASSES), NUM_PARTS, PLACES**2)
    pixels = {name: np.zeros(shape) for name in SUMS}
    scenes = tuple(draw(rules, split, index) for index in range(num_samples))
    looks = np.zeros((num_samples, len(CELLS)), np.int64)
    classes = np.zeros_like(looks)
    for index, scene in enumerate(scenes):
        rendering = Rendering(rules, split, index, scene)
        step = np.zeros(empty.depth.shape)
        part = np.full(empty.depth.shape, BESIDE)
        look_at, class_at = np.zeros_like(part), np.zeros_like(part)
        for thing, at in rendering.hits + rendering.stains:
            cell = CELLS.index(thing.cell)
            looks[index, cell] = look_of(thing, named=rules.named)
            classes[index, cell] = CLASSES.index(thing.class_name)
            top, bottom, left, right = cell_bounds(rules, thing.cell)
            look_at[top:bottom, left:right], class_at[top:bottom, left:right] = looks[index, cell], classes[index, cell]
            step[at.window][at.mask] = at.depth - empty.depth[at.window][at.mask]
            edge = outline(at.mask) > 0
            inside, beside = np.where(edge, EDGE_INSIDE, INSIDE), np.where(edge, EDGE_BESIDE, BESIDE)
            part[at.window] = np.where(at.mask, inside, beside)
        error = rendering.true_depth() - empty.depth
        key = np.ravel_multi_index((look_at, class_at, part, places), shape).ravel()
        values = {
            "count": np.ones_like(error),
            "error": error,
            "error_squared": error**2,
            "step_squared": step**2,
            "error_step": error * step,
        }
        for name, value in values.items():
            np.add.at(pixels[name].reshape(-1), key, value.ravel())
    return Evidence(scenes, pixels, looks, classes)
