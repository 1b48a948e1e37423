"""Words below a picture."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_LINE = 16


def caption(background: Image.Image, lines: Sequence[str]) -> Image.Image:
    """The picture with lines of text in a white strip below it, as wide as the longest."""
    font = ImageFont.load_default(size=12)
    width = max([background.width, *(int(font.getlength(line)) + 9 for line in lines)])
    picture = Image.new("RGB", (width, background.height + _LINE * len(lines) + 4), "white")
    picture.paste(background.convert("RGB"))
    pen = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        pen.text((4, background.height + 2 + _LINE * number), line, fill="black", font=font)
    return picture
