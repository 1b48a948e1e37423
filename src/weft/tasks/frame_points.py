"""The target of location over time: where named points or boxes are in each frame of a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.data.framepoints import points_of
from weft.data.timeline import Timeline
from weft.modalities.base import BadCell, Facts, Geometry, Resolve
from weft.tasks.class_label import written
from weft.tasks.points import Points

#: Stands in the place of visible, and of x and y in tensors, in frames of which nothing is known.
UNKNOWN_PLACE = -1.0

_COLUMNS = {"points": ("x", "y"), "xyxy": ("x1", "y1", "x2", "y2"), "xywh": ("x", "y", "width", "height")}


class FramePoints(Points):
    """Where named points or boxes are in each frame: a table with the columns `frame`, `point`, `x` and `y`; of boxes
    `frame`, `box`, and `x1`, `y1`, `x2` and `y2`, or with `box: xywh` `x`, `y`, `width` and `height`; and `visible`,
    1 or 0, where not all can be seen. Or a list in the cell itself, of what `location` takes, for the frames 0, 1, 2, …

    A frame without a row is not known, and counts nowhere. In one that has any row, a name without one is not visible.

    Args:
        points: the names; by default those the data format declares, else those found in the training split.
        kind: points, or boxes.
        box: what the four numbers of a box are: two corners, or a corner, width and height.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        points: list[str] | None = None,
        kind: Literal["points", "boxes"] = "points",
        box: Literal["xyxy", "xywh"] = "xyxy",
    ) -> None:
        super().__init__(facts, points=points, kind=kind, box=box)
        self.geometry = Geometry("clip_points", fill=UNKNOWN_PLACE)
        self._columns = _COLUMNS[box if self.boxes else "points"]

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """As `read_frames`; a place belongs to a frame, and by itself has none.

        Raises:
            BadCell: nothing in the sample has frames.
        """
        return self.read_frames(cell, resolve, None)

    def read_frames(self, cell: Any, resolve: Resolve, frames: Timeline | None) -> np.ndarray:
        """(T, n, 3) x, y, visible, which is -1 in a frame that is not known; a row per point, five per box (corners
        and centre). The names while they are unknown.

        Raises:
            BadCell: the table cannot be read, an entry is none or has a name that is not known, or nothing in the
                sample has frames.
        """
        if frames is None:
            raise BadCell("no-frames", "places in frames stand beside nothing that has frames; give the sample a clip")
        source = resolve(cell) if isinstance(cell, str) else cell
        named_by = "box" if self.boxes else "point"
        cells = points_of(source, frames, named_by=named_by, numbers=self._columns)
        where = cell if isinstance(cell, str) else "the list"
        read = {
            place: self._frame(one, f"{where}, frame {frames.numbers[place]}")
            for place, one in enumerate(cells)
            if one is not None
        }
        if not self.names:
            return np.array(list(dict.fromkeys(name for one in read.values() for name in one.tolist())), np.str_)
        values = np.zeros((len(cells), self.num_rows, 3), np.float32)
        values[..., 2] = UNKNOWN_PLACE
        for place, one in read.items():
            values[place] = one
        return values

    def _frame(self, cell: Any, where: str) -> np.ndarray:
        none = Path()  # what is in a frame is no path
        try:
            return super().read(cell, lambda _: none)
        except BadCell as error:
            raise BadCell(error.code, f"{where}: {error}") from error

    @property
    def names_file(self) -> bool:
        """Where a cell is a text, it names a table."""
        return True

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """(T, n, 3) float32 x, y, visible, a box as two rows, all of them -1 in a frame that is not known; of a single
        frame (n, 3).
        """
        known = torch.from_numpy(np.asarray(value[..., :1, 2:] >= 0))
        return torch.where(known, super().to_tensor(value), UNKNOWN_PLACE)

    def draw(self, value: np.ndarray) -> Image.Image:
        """From where to where each point, or box by its corner, goes among the frames that are known."""
        tracks = self.to_tensor(value).numpy()
        lines = []
        for number, name in enumerate(self.names):
            track = tracks[:, number * (2 if self.boxes else 1)]
            seen = track[track[:, 2] > 0]
            ends = [f"({x:.0f}, {y:.0f})" for x, y, _ in seen[[0, -1]]] if len(seen) else ["not visible"]
            lines.append(f"{name} {' → '.join(ends)}")
        return written("; ".join(lines))
