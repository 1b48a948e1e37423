"""Parts of pictures that are samples of their own: how their ids name them, and how they are cut out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil, floor
from typing import Self

import numpy as np

#: How a name goes on behind that of its picture, after the media fragments of the W3C.
_PART = re.compile(r"^(?P<picture>.+)#xywh=(?P<sides>-?\d+,-?\d+,\d+,\d+)(?:&id=\d+)?$", re.DOTALL)


@dataclass(frozen=True)
class PicturePart:
    """A rectangle in a picture, in its pixels; it may reach beyond its border.

    Attributes:
        left, top: its first column and row.
        width, height: of it.
    """

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def around(cls, box: tuple[float, float, float, float], *, margin: float, shape: float) -> Self:
        """The part around the middle of a box that holds `margin` times its longer side, in a stated shape.

        Args:
            box: x, y, width, height.
            margin: how many times as wide and high as the box, 1 or more.
            shape: width / height of the part; the side that the box is too short in is made longer.

        Example:
            >>> PicturePart.around((10, 10, 6, 16), margin=1.25, shape=0.75)
            PicturePart(left=5, top=8, width=16, height=20)
        """
        left, top, width, height = box
        wide = max(width, shape * height) * margin
        high = wide / shape
        across, down = left + width / 2 - wide / 2, top + height / 2 - high / 2
        first, above = floor(across), floor(down)
        return cls(first, above, ceil(across + wide) - first, ceil(down + high) - above)

    def name(self, picture: str, number: int | None = None) -> str:
        """The id of the part of a picture, such as "000000000009#xywh=5,8,16,20&id=7".

        Args:
            picture: its own id or file.
            number: tells apart parts that are alike.
        """
        told = "" if number is None else f"&id={number}"
        return f"{picture}#xywh={self.left},{self.top},{self.width},{self.height}{told}"

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """(height, width, C) of a picture (H, W, C); what lies beyond its border is 0."""
        rows, columns = pixels.shape[:2]
        cut = np.zeros((self.height, self.width, *pixels.shape[2:]), pixels.dtype)
        first, last = max(self.top, 0), min(self.top + self.height, rows)
        left, right = max(self.left, 0), min(self.left + self.width, columns)
        if first < last and left < right:
            inside = pixels[first:last, left:right]
            cut[first - self.top : last - self.top, left - self.left : right - self.left] = inside
        return cut


def picture_and_part(name: str) -> tuple[str, PicturePart | None]:
    """(the picture that an id or a cell names, the part of it), None where it names no part.

    Example:
        >>> picture_and_part("9#xywh=-1,8,16,20&id=7")
        ('9', PicturePart(left=-1, top=8, width=16, height=20))
    """
    found = _PART.match(name)
    if found is None:
        return name, None
    return found["picture"], PicturePart(*map(int, found["sides"].split(",")))
