"""Location over time: where named points or boxes are in every frame of a clip, and whether they can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor, nn

from weft.registry import register
from weft.tasks.colours import palette
from weft.tasks.exchange import Origin, add_row
from weft.tasks.frame_points import UNKNOWN_PLACE, FramePoints
from weft.tasks.frames import by_clip, frames_in_both, stills_of
from weft.tasks.location import HeatMapHead, Location
from weft.tasks.places import place_rows
from weft.types import Features, FeatureSpec, Records

#: Frames that are shown are made at least so large, in whole multiples: a mark on a smaller one would hide too much.
_SHOWN_SIDE = 160

#: Lines are of so much of the longer side: a dozen frames stand side by side, and each is small.
_STROKES = 40


@register("task", "frame_location")
class FrameLocation(Location):
    """Coordinates of named points or boxes in every frame of a clip, each with a flag for whether it can be seen: their
    tracks.

    Every frame is answered as `location` answers a still; what a frame knows of the others it knows from encoders and
    fusion. Frames of which nothing is known cost nothing and are in no figure.

    Figures are those of `location`, over all frames that are known: in pixels of the working size, over all visible
    coordinates, MAE, RMSE, MAE/<point>; visibility_accuracy over all points; of visible points PCK, the share that is
    found, and of visible boxes the mean IoU, box_IoU.

    Args:
        loss: of the coordinates.
        visibility_weight: factor on the cross-entropy of the flags.
        width: channels of the head.
        within: a point is found that is no farther from its place, in pixels of the working size.
    """

    Target = FramePoints
    over_time: ClassVar[bool] = True

    def build_head(self, spec: FeatureSpec) -> nn.Module:
        """Heat maps of every frame, over the levels of stride 8 and more."""
        return FrameHeatMapHead(spec, self.field.num_points, width=self._width)

    def loss(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) over the points of the frames that are known.

        Args:
            logits: (P, n, T, 5) as the head gives them.
            target: (P, T, n, 3) x, y in pixels, and visible, -1 in frames that are not known.
        """
        said, known = logits.movedim(1, 2), _known(target)
        both = frames_in_both(said, known)
        seen = known[:, :both]
        return super().loss(said[:, :both][seen], target[:, :both][seen])

    def count(self, target: Tensor) -> Tensor:
        """Points in frames that are known, visible or not."""
        return super().count(target[_known(target)])

    def records(self, prediction: Tensor, target: Tensor, ids: list[str]) -> Records:
        """Per clip and name, added up over its frames; see `place_rows`.

        Args:
            prediction: (P, n, T, 3).
            target: (P, T, n, 3).
            ids: the P sample ids.
        """
        by_frame = prediction.movedim(1, 2)
        both = frames_in_both(by_frame, _known(target))
        said, truth = (rows[:, :both].cpu().double().numpy() for rows in (by_frame, target))
        rows = place_rows(said, truth, boxes=self.field.boxes, within=self.within)
        return Records(ids=list(ids), rows=rows)

    def colours(self) -> dict[str, tuple[int, int, int]]:
        """Of the marks, which have no room for names."""
        table = palette(len(self.field.names)).tolist()
        return {name: (red, green, blue) for name, (red, green, blue) in zip(self.field.names, table, strict=True)}

    def write(self, prediction: np.ndarray, origin: Origin, folder: Path) -> None:
        """A row of `points.csv` or `boxes.csv` for every frame and name: id, frame by its number, and as `location`.

        Args:
            prediction: (n, T, 3).
            origin: the clip.
            folder: where to.
        """
        numbers = origin.numbers or range(prediction.shape[1])
        for number, still in zip(numbers, self.by_frame(prediction), strict=True):
            for row in self.table_rows(still, origin):
                add_row(folder / self.table, ["id", "frame", *self.header], [origin.id, number, *row])

    def by_frame(self, prediction: np.ndarray) -> Sequence[np.ndarray]:
        """(n, 3) of every frame."""
        return list(prediction.swapaxes(0, 1))

    def truth_by_frame(self, target: np.ndarray) -> Sequence[np.ndarray]:
        """(n, 3) of every frame, five rows to a box."""
        return list(target)

    def draw(self, prediction: np.ndarray, background: Image.Image) -> Image.Image:
        """The places in one frame, in their colours, over it; unseen ones are left out."""
        picture, scale = _enlarged(background)
        return self.marked(prediction * scale, picture, named=False, stroke=max(picture.size) // _STROKES)

    def draw_truth(self, target: np.ndarray, background: Image.Image) -> Image.Image:
        """The same of a target; "?" in a frame that is not known."""
        places = self.field.to_tensor(target).numpy()
        picture = self.draw(places, background)
        if places[0, 2] == UNKNOWN_PLACE:
            ImageDraw.Draw(picture).text((6, 4), "?", fill="black", stroke_width=2, stroke_fill="white", font_size=24)
        return picture

    def draw_error(self, prediction: np.ndarray, target: np.ndarray, background: Image.Image) -> Image.Image:
        """A red line from where each visible point is to where it was said to be, in one frame."""
        picture, scale = _enlarged(background)
        truth = self.field.to_tensor(target).numpy()
        return self.parted(prediction * scale, truth * scale, picture, stroke=max(picture.size) // _STROKES)


class FrameHeatMapHead(HeatMapHead):
    """Features of clips with maps in, places in every frame out; options as of `HeatMapHead`."""

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        """(P, n, T, 5) float32; 0 in frames that are not real."""
        return by_clip(super().forward(stills_of(features), size), features.frames).movedim(1, 2)


def _known(target: Tensor) -> Tensor:
    """(P, T) bool: the frames of (P, T, n, 3) of which anything is known."""
    return target[:, :, 0, 2] != UNKNOWN_PLACE


def _enlarged(picture: Image.Image) -> tuple[Image.Image, np.ndarray]:
    """A frame at `_SHOWN_SIDE` or more, and what its x, y and visible are multiplied by to be there."""
    factor = -(-_SHOWN_SIDE // max(picture.size))
    larger = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    return larger, np.array([factor, factor, 1.0])
