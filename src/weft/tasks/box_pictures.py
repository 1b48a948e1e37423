"""Pictures of boxes: frames with names, and what of an answer is right, wrong or missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from weft.boxes import ANSWERED_CLASS, CLASS, COUNTED, IGNORED, NUM_CORNERS, SCORE
from weft.metrics.box_matching import LEFT_OUT, RIGHT, match
from weft.tasks.colours import palette

#: In pictures of errors: an answer that found its object, one that did not, an object that no answer found.
FOUND, FALSE, MISSED = (60, 180, 75), (230, 40, 40), (255, 200, 0)
#: An object that is ignored.
UNCOUNTED = (128, 128, 128)

#: Pixels that the shorter side of a picture has at least, so that names can be read.
SHORTEST = 240

Colour = tuple[int, int, int]


def frames(background: Image.Image, rows: np.ndarray, names: Sequence[str], colours: Sequence[Colour]) -> Image.Image:
    """The background with a frame and a name for each box, a whole number of times as large where it is small.

    Args:
        background: of the size that the boxes are in.
        rows: (n, 4 or more), the corners first.
        names: written beside each, "" for none.
        colours: of each.
    """
    times = max(1, round(SHORTEST / min(background.size)))
    picture = background.convert("RGB").resize((background.width * times, background.height * times))
    pen = ImageDraw.Draw(picture)
    width = max(1, round(min(picture.size) / 160))
    for row, name, colour in zip(rows, names, colours, strict=True):
        left, top, right, bottom = (float(number) * times for number in row[:NUM_CORNERS])
        pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=width)
        if name:
            pen.text((left + width + 1, top + width), name, fill=colour, stroke_width=1, stroke_fill="white")
    return picture


def answered(background: Image.Image, boxes: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """Answers (n, 6) in the colours of their classes, with their scores."""
    numbers = boxes[:, ANSWERED_CLASS].astype(int)
    names = [f"{classes[number]} {score:.2f}" for number, score in zip(numbers, boxes[:, SCORE], strict=True)]
    return frames(background, boxes, names, _colours(numbers, len(classes)))


def objects(background: Image.Image, rows: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """Objects of a target (n, 7) in the colours of their classes; ignored ones in grey."""
    numbers = rows[:, CLASS].astype(int)
    colours = [
        UNCOUNTED if row[IGNORED] > COUNTED else colour
        for row, colour in zip(rows, _colours(numbers, len(classes)), strict=True)
    ]
    return frames(background, rows, [classes[number] for number in numbers], colours)


def errors(background: Image.Image, boxes: np.ndarray, rows: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """Answers (n, 6) green where they found an object of (m, 7) at an overlap of 0.5, red where not; what no answer
    found yellow. What is ignored is left out.
    """
    matched = match(boxes[None], rows[None], len(classes))
    became, took = matched.coco[0, :, 0, 0], matched.object[0]
    missing = np.delete(rows, took[became == RIGHT], 0)
    missing = missing[missing[:, IGNORED] == COUNTED]
    shown = boxes[became != LEFT_OUT]
    return frames(
        background.convert("L"),
        np.concatenate([missing[:, :NUM_CORNERS], shown[:, :NUM_CORNERS]]),
        [classes[int(number)] for number in (*missing[:, CLASS], *shown[:, ANSWERED_CLASS])],
        [MISSED] * len(missing) + [FOUND if one == RIGHT else FALSE for one in became[became != LEFT_OUT]],
    )


def _colours(numbers: np.ndarray, num_classes: int) -> list[Colour]:
    rows = palette(num_classes)[numbers].tolist()
    return [(red, green, blue) for red, green, blue in rows]
