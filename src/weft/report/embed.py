"""Pictures put into the page itself, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

#: Longest side in pixels of an embedded picture; shrunk further when many are to fit.
LONGEST_SIDE = 480
#: Bytes of all pictures before base64, which adds a third: the page stays below 15 MB.
BUDGET = 9_000_000
#: Lossless is kept up to this factor of the lossy size: masks and drawings stay crisp, photographs stay small.
LOSSLESS_FACTOR = 1.6


@dataclass(frozen=True)
class Embedded:
    """A picture as a data URI with its (width, height); `uri` is "" where it could not be had, `problem` says why."""

    uri: str
    width: int = 0
    height: int = 0
    problem: str = ""


@dataclass
class Album:
    """Embeds pictures of one folder until the budget is spent.

    Attributes:
        folder: pictures outside it are not read.
        budget: bytes left.
        longest_side: larger pictures are shrunk.
        num_left_out: pictures for which the budget did not suffice.
    """

    folder: Path
    budget: int = BUDGET
    longest_side: int = LONGEST_SIDE
    num_left_out: int = 0
    _done: dict[str, Embedded] = field(default_factory=dict)

    def embed(self, path: str) -> Embedded:
        """One picture, by its path below the folder; the same one is read once."""
        if path not in self._done:
            self._done[path] = self._read(path)
        return self._done[path]

    def _read(self, path: str) -> Embedded:
        file = (self.folder / path).resolve()
        if not file.is_relative_to(self.folder.resolve()):
            return Embedded("", problem="outside the run folder")
        if not file.is_file():
            return Embedded("", problem="picture missing")
        try:
            with Image.open(file) as picture:
                picture.thumbnail((self.longest_side, self.longest_side), Image.Resampling.LANCZOS)
                small = picture.convert("RGBA" if "A" in picture.getbands() else "RGB")
        except (OSError, ValueError, Image.DecompressionBombError):
            return Embedded("", problem="picture broken")
        encoded = _encode(small)
        if len(encoded) > self.budget:
            self.num_left_out += 1
            return Embedded("", problem="left out to keep the page small")
        self.budget -= len(encoded)
        uri = "data:image/webp;base64," + base64.b64encode(encoded).decode("ascii")
        return Embedded(uri, small.width, small.height)


def _encode(picture: Image.Image) -> bytes:
    lossy, lossless = io.BytesIO(), io.BytesIO()
    picture.save(lossy, "WEBP", quality=86, method=4)
    picture.save(lossless, "WEBP", lossless=True, method=2)
    keep_exact = lossless.tell() <= LOSSLESS_FACTOR * lossy.tell()
    return lossless.getvalue() if keep_exact else lossy.getvalue()
