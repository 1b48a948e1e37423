"""Words as a picture, for those who look at samples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

#: Width and height in pixels; what does not fit is left out, and said.
SIZE = (320, 240)
_FONT_SIZE = 15
_MARGIN = 8

#: Fonts with Chinese, Japanese and Korean letters under the names that systems have them by; DejaVu lacks those.
_EASTERN = ("NotoSansCJK-Regular.ttc", "DroidSansFallbackFull.ttf", "wqy-zenhei.ttc", "PingFang.ttc", "msyh.ttc")


def page(words: Sequence[str]) -> Image.Image:
    """The words in lines, black on white; letters that no font here has are boxes."""
    picture = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(picture)
    font = _font(any(ord(letter) >= 0x2E80 for word in words for letter in word))
    space, height = draw.textlength(" ", font), round(1.3 * _FONT_SIZE)
    right, bottom = SIZE[0] - _MARGIN, SIZE[1] - _MARGIN
    x, y = float(_MARGIN), float(_MARGIN)
    for place, word in enumerate(words):
        shown = word if len(word) <= 40 else f"{word[:39]}…"
        width = draw.textlength(shown, font)
        if x > _MARGIN and x + width > right:
            x, y = float(_MARGIN), y + height
        if y + 2 * height > bottom and x + width + 80 > right and place + 1 < len(words):  # room for the remark below
            draw.text((x, y), f"… {len(words) - place} more", fill="grey", font=font)
            break
        draw.text((x, y), shown, fill="black", font=font)
        x += width + space
    return picture


@cache
def _font(eastern: bool) -> ImageFont.FreeTypeFont:
    own = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    for name in (*(_EASTERN if eastern else ()), str(own)):
        try:
            return ImageFont.truetype(name, _FONT_SIZE)
        except OSError:  # not on this system
            continue
    raise AssertionError(f"matplotlib comes with {own}")
