"""Location: where named points or boxes are, and whether they can be seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor, nn

from weft.losses.base import TargetFacts
from weft.losses.binary_cross_entropy import BinaryCrossEntropy
from weft.losses.weighted_sum import Losses, build_loss
from weft.probabilities import log_odds
from weft.registry import Part, Range, register
from weft.tasks.base import Task
from weft.tasks.coco_results import add_entries, keypoints
from weft.tasks.colours import palette
from weft.tasks.exchange import Origin, add_row
from weft.tasks.places import mean_error, place_figures, place_rows
from weft.tasks.points import Points
from weft.types import Answer, Features, FeatureSpec, Need, Records

_LOSS = Part("loss", "l1")

#: What a head says of a point: x and y in pixels, the logit of visible, and the width and height they are measured in.
_X, _Y, _VISIBLE, _WIDTH, _HEIGHT = range(5)

#: Width of what is drawn, in pixels of the picture; discs are of its half as much again.
_STROKE = 2

#: Stride of the finest level that a head reads: finer ones cost much and place a point little better.
_FINEST = 8


@register("task", "location")
class Location(Task):
    """Coordinates of named points or boxes, each with a flag for whether it can be seen.

    The head makes a heat map per point and takes its mean place, which keeps positions where a pooled vector loses
    them; so it needs image-like features. The loss of a point is that of its coordinates in fractions of the image,
    where it is visible, and the binary cross-entropy of its flag; the count is the number of points, visible or not.

    Figures, in pixels of the working size, over all visible coordinates of the data set: MAE, RMSE, MAE/<point>; and
    visibility_accuracy over all points; of visible points PCK, the share that is found, and of visible boxes the mean
    IoU, box_IoU.

    Args:
        loss: of the coordinates.
        visibility_weight: factor on the cross-entropy of the flags.
        width: channels of the head.
        within: a point is found that is no farther from its place, in pixels of the working size.
    """

    Target = Points
    need: ClassVar[Need] = "maps"
    answer: Answer = "values"
    main_figure = "MAE"
    higher_is_better: ClassVar[dict[str, bool]] = {
        "MAE": False,
        "RMSE": False,
        "visibility_accuracy": True,
        "PCK": True,
        "box_IoU": True,
    }
    additive: ClassVar[bool] = True
    tables: ClassVar[tuple[str, ...]] = ("points.csv", "boxes.csv", "keypoints.json")
    field: Points

    def __init__(
        self,
        views: dict[str, FeatureSpec],
        field: Points,
        *,
        loss: Losses = _LOSS,
        visibility_weight: Annotated[float, Range(0)] = 0.1,
        width: Annotated[int, Range(8)] = 128,
        within: Annotated[float, Range(0, open_low=True)] = 5.0,
    ) -> None:
        self._width = width
        self.visibility_weight, self.within = visibility_weight, within
        super().__init__(views, field)
        self.criterion = build_loss(loss, TargetFacts("values"))
        self.flag_criterion = BinaryCrossEntropy(TargetFacts("labels"))

    def build_head(self, spec: FeatureSpec) -> nn.Module:
        """Heat maps over the levels of stride 8 and more."""
        return HeatMapHead(spec, self.field.num_points, width=self._width)

    def loss(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) over points.

        Args:
            logits: (P, n, 5) as the head gives them.
            target: (P, n, 3) x, y in pixels, and visible.
        """
        extent = logits[..., _WIDTH : _HEIGHT + 1].detach()
        visible = target[..., 2:] > 0
        places = torch.where(visible, target[..., :2] / extent, torch.nan)
        place_sum, _ = self.criterion(logits[..., : _Y + 1] / extent, places)
        flag_sum, count = self.flag_criterion(logits[..., _VISIBLE], visible[..., 0].float())
        return place_sum / 2 + self.visibility_weight * flag_sum, count  # / 2: two coordinates to a point

    def count(self, target: Tensor) -> Tensor:
        """Points, visible or not."""
        return self.flag_criterion.count(target[..., 2])

    def predict(self, logits: Tensor) -> Tensor:
        """(P, n, 3) x, y in pixels of the batch's images, and the probability of visible."""
        places = logits[..., : _Y + 1].float()
        return torch.cat([places, logits[..., _VISIBLE : _VISIBLE + 1].float().sigmoid()], dim=-1)

    def logits_of(self, prediction: Tensor, *, size: tuple[int, int]) -> Tensor:
        """See `Task.logits_of`: (P, n, 5)."""
        extent = [torch.full_like(prediction[..., :1], side) for side in (size[1], size[0])]
        return torch.cat([prediction[..., :_VISIBLE], log_odds(prediction[..., _VISIBLE:]), *extent], dim=-1)

    def undo(self, prediction: Tensor, *, flipped: bool, size: tuple[int, int], original: tuple[int, int]) -> Tensor:
        """(P, n, 3) coordinates brought back from a mirrored or resized look; a box's corners change places."""
        if flipped:
            mirrored = torch.cat([size[1] - prediction[..., :1], prediction[..., 1:]], dim=-1)
            prediction = mirrored
            if self.field.boxes:
                pairs = mirrored.unflatten(1, (-1, 2))
                prediction = torch.cat([pairs.flip(2)[..., :1], pairs[..., 1:]], dim=-1).flatten(1, 2)
        scale = prediction.new_tensor([original[1] / size[1], original[0] / size[0], 1])
        return prediction * scale

    def records(self, prediction: Tensor, target: Tensor, ids: list[str]) -> Records:
        """Per sample and name, see `place_rows`.

        Args:
            prediction: (P, n, 3).
            target: (P, n, 3).
            ids: the P sample ids.
        """
        said, truth = (rows[:, None].cpu().double().numpy() for rows in (prediction, target))
        rows = place_rows(said, truth, boxes=self.field.boxes, within=self.within)
        return Records(ids=list(ids), rows=rows)

    def figures(self, records: Records) -> dict[str, float]:
        """MAE, RMSE, visibility_accuracy, MAE/<point>, and PCK of points or box_IoU of boxes."""
        return place_figures(records.rows, self.field.names)

    def units(self) -> dict[str, str]:
        """Errors are in pixels of the working size."""
        return {"MAE": "px", "RMSE": "px"}

    def badness(self, records: Records) -> np.ndarray:
        """(n,) mean error of the coordinates of what is visible, in pixels; 0 where nothing is."""
        return mean_error(records.rows)

    def write(self, prediction: np.ndarray, origin: Origin, folder: Path) -> None:
        """A row per name in `points.csv` or `boxes.csv`: coordinates in pixels of the sample's own image, and visible.

        Of data that names the category of its people, as COCO does, `keypoints.json` too: COCO's results.

        Args:
            prediction: (n, 3).
            origin: what it is of.
            folder: where to.
        """
        for row in self.table_rows(prediction, origin):
            add_row(folder / self.table, ["id", *self.header], [origin.id, *row])
        category = self.field.facts.get("category_id")
        if category is not None:
            points = prediction * np.array([*origin.scale, 1])
            add_entries(folder / "keypoints.json", keypoints(points, origin.id, int(category)))

    @property
    def table(self) -> str:
        """The one of `tables` that it writes."""
        return "boxes.csv" if self.field.boxes else "points.csv"

    @property
    def header(self) -> list[str]:
        """Of `table_rows`."""
        return ["box", "x1", "y1", "x2", "y2", "visible"] if self.field.boxes else ["point", "x", "y", "visible"]

    def table_rows(self, prediction: np.ndarray, origin: Origin) -> Iterator[list[str]]:
        """Name, coordinates in pixels of the sample's own image, and visible, of each point or box of (n, 3)."""
        scale = np.array(origin.scale)
        for name, places, visible in self._named(prediction):
            yield [name, *(f"{number:.2f}" for number in (places * scale).ravel()), f"{visible:.6f}"]

    def draw(self, prediction: np.ndarray, background: Image.Image) -> Image.Image:
        """Points as discs and boxes as frames with their names, over the sample's image; unseen ones are left out."""
        return self.marked(prediction, background, named=True, stroke=_STROKE)

    def marked(self, prediction: np.ndarray, background: Image.Image, *, named: bool, stroke: int) -> Image.Image:
        """A picture with the places (n, 3) of what can be seen on it, each with its name or in its colour alone.

        Without names every next disc is smaller, so that of those in one place all can be seen.
        """
        picture = background.convert("RGB").copy()
        pen = ImageDraw.Draw(picture)
        colours = palette(len(self.field.names))
        for number, (name, places, visible) in enumerate(self._named(prediction)):
            if visible < 0.5:
                continue
            colour = tuple(int(value) for value in colours[number])
            low, high = places.min(0), places.max(0)
            if self.field.boxes:
                pen.rectangle((*low, *high), outline=colour, width=stroke)
            else:
                radius = 1.5 * stroke * (1 if named else 2 - number / len(self.field.names))
                pen.ellipse((*(low - radius), *(low + radius)), fill=colour, outline="white")
            if named:
                pen.text((low[0] + 4, low[1] + 2), name, fill=colour, stroke_width=1, stroke_fill="white")
        return picture

    def draw_truth(self, target: np.ndarray, background: Image.Image) -> Image.Image:
        """The same of a target."""
        return self.draw(self.field.to_tensor(target).numpy(), background)

    def draw_error(self, prediction: np.ndarray, target: np.ndarray, background: Image.Image) -> Image.Image:
        """A red line from where each visible point is to where it was said to be."""
        return self.parted(prediction, self.field.to_tensor(target).numpy(), background, stroke=_STROKE)

    def parted(self, said: np.ndarray, truth: np.ndarray, background: Image.Image, *, stroke: int) -> Image.Image:
        """A grey picture with a red line from each visible place (n, 3) of the truth to that of the answer."""
        picture = background.convert("L").convert("RGB")
        pen = ImageDraw.Draw(picture)
        for there, place in zip(said, truth, strict=True):
            if place[2] > 0:
                pen.line((*place[:2], *there[:2]), fill=(230, 40, 40), width=stroke)
                pen.ellipse((*(place[:2] - stroke), *(place[:2] + stroke)), fill="white", outline="black")
        return picture

    def _named(self, prediction: np.ndarray) -> list[tuple[str, np.ndarray, float]]:
        """(name, (places, 2), probability of visible) of each point or box."""
        rows = prediction.reshape(len(self.field.names), -1, 3)
        return [(n, row[:, :2], float(row[:, 2].mean())) for n, row in zip(self.field.names, rows, strict=True)]


class HeatMapHead(nn.Module):
    """Features with maps in, places out: the levels summed top-down, a heat map per point, its mean place.

    Args:
        spec: of the features.
        num_points: heat maps.
        width: channels the levels are brought to.
    """

    def __init__(self, spec: FeatureSpec, num_points: int, *, width: int) -> None:
        super().__init__()
        self.levels = [level for level, stride in enumerate(spec.strides) if stride >= _FINEST]
        self.levels = self.levels or [len(spec.strides) - 1]
        self.stride = spec.strides[self.levels[0]]
        self.lateral = nn.ModuleList(nn.Conv2d(spec.channels[level], width, kernel_size=1) for level in self.levels)
        self.mix = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
            nn.GroupNorm(1, width),  # of one group: a batch of one is nothing special
            nn.ReLU(inplace=True),
        )
        self.heat = nn.Conv2d(width, num_points, kernel_size=1)
        self.visible = nn.Linear(width, num_points)

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        """(P, n, 5) float32: x, y in pixels, the logit of visible, and the (W, H) of `size`."""
        pyramid = features.pyramid
        summed = self.lateral[-1](pyramid[self.levels[-1]])
        for lateral, level in zip(reversed(self.lateral[:-1]), reversed(self.levels[:-1]), strict=True):
            finer = pyramid[level]
            summed = lateral(finer) + F.interpolate(summed, size=finer.shape[-2:], mode="nearest")
        mixed = self.mix(summed)
        height, width = mixed.shape[-2:]
        share = self.heat(mixed).float().flatten(2).softmax(-1)  # (P, n, h · w)
        grid = share.unflatten(-1, (height, width))
        columns = (torch.arange(width, device=share.device) + 0.5) * self.stride
        rows = (torch.arange(height, device=share.device) + 0.5) * self.stride
        x = (grid.sum(2) * columns).sum(-1)
        y = (grid.sum(3) * rows).sum(-1)
        seen = torch.einsum("pns,pcs->pnc", share, mixed.float().flatten(2))
        visible = (seen * self.visible.weight.float()).sum(-1) + self.visible.bias.float()
        extent = [torch.full_like(x, side) for side in (size[1], size[0])]
        return torch.stack([x, y, visible, *extent], dim=-1)
