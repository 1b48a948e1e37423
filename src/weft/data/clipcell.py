"""Cells that name a part of a clip: some seconds of a file, or some frames of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from weft.data.timeline import TOLERANCE, Timeline
from weft.modalities.base import BadCell

#: What may end a cell: a part of its file.
_PART = re.compile(r"^(?P<file>.+)#(?P<unit>t|frames)=(?P<part>[^#]*)$", re.DOTALL)


@dataclass(frozen=True)
class Part:
    """A part of a clip: what a cell such as `a.mp4#t=2,5` or `frames/a#frames=0:16:2` names.

    Attributes:
        unit: t: from `start` until before `stop`, in seconds; frames: the same in numbers, and every `step`-th.
        start, stop: None: the beginning, the end.
        step: of frames, from `start` on.
    """

    unit: str
    start: float | None
    stop: float | None
    step: int = 1

    def of(self, timeline: Timeline, name: str) -> Timeline:
        """The frames of the part.

        Raises:
            BadCell: there are none.
        """
        values = timeline.times if self.unit == "t" else timeline.numbers
        start = values[0] if self.start is None else self.start
        inside = (values >= start - TOLERANCE) & (self.stop is None or values < self.stop - TOLERANCE)
        if self.unit == "t" and self.start is not None:
            first = int(timeline.shown(np.array([self.start]))[0])
            if first >= 0 and (first + 1 < len(timeline) or self.start < timeline.end):
                inside[first] = self.stop is None or self.stop > self.start  # still shown when the part begins
        if self.unit == "frames":
            inside &= (timeline.numbers - int(start)) % self.step == 0
        if not inside.any():
            unit = "s" if self.unit == "t" else "by number"
            raise BadCell(
                "no-frames",
                f"{name} has no frame there; its frames are {values[0]:g} to {values[-1]:g} {unit}: correct what "
                "stands behind the #",
            )
        return timeline.at(np.flatnonzero(inside))


def split_cell(cell: str) -> tuple[str, Part | None]:
    """(the file or folder that a cell names, the part of it that it asks for).

    Raises:
        BadCell: a part that is not `t=START,STOP` or `frames=START:STOP:STEP`.
    """
    match = _PART.match(cell)
    if match is None:
        return cell, None
    unit = match["unit"]
    words = match["part"].split("," if unit == "t" else ":")
    try:
        start, stop, step = [float(word) if word.strip() else None for word in [*words, *[""] * (3 - len(words))]]
        numbers = [value for value in (start, stop, step) if value is not None]
        whole = unit == "t" or all(value == int(value) for value in numbers)
        if len(words) > (2 if unit == "t" else 3) or not words[0] + words[-1] or not whole or step == 0:
            raise ValueError
        if min(numbers) < 0 or (start is not None and stop is not None and stop <= start):
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise BadCell(
            "bad-part",
            f"{cell!r} asks for no part of {PurePath(match['file']).name}; write #t=START,STOP in seconds, or "
            "#frames=START:STOP:STEP with whole numbers, with STOP behind START",
        ) from error
    return match["file"], Part(unit, start, stop, 1 if step is None else int(step))
