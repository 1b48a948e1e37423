"""Location: where named points or boxes are, and whether they can be seen."""

from __future__ import annotations

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
from weft.metrics.confusion import mean_known
from weft.probabilities import log_odds
from weft.registry import Part, Range, register
from weft.tasks.base import Task
from weft.tasks.colours import palette
from weft.tasks.exchange import Origin, add_row
from weft.tasks.points import Points
from weft.types import Answer, Features, FeatureSpec, Need, Records

_LOSS = Part("loss", "l1")

#: What a head says of a point: x and y in pixels, the logit of visible, and the width and height they are measured in.
_X, _Y, _VISIBLE, _WIDTH, _HEIGHT = range(5)

#: Stride of the finest level that a head reads: finer ones cost much and place a point little better.
_FINEST = 8


@register("task", "location")
class Location(Task):
    """Coordinates of named points or boxes, each with a flag for whether it can be seen.

    The head makes a heat map per point and takes its mean place, which keeps positions where a pooled vector loses
    them; so it needs image-like features. The loss of a point is that of its coordinates in fractions of the image,
    where it is visible, and the binary cross-entropy of its flag; the count is the number of points, visible or not.

    Figures, in pixels of the working size, over all visible coordinates of the data set: MAE, RMSE, MAE/<point>; and
    visibility_accuracy over all points, and for boxes the mean IoU of visible ones, box_IoU.

    Args:
        loss: of the coordinates.
        visibility_weight: factor on the cross-entropy of the flags.
        width: channels of the head.
    """

    Target = Points
    need: ClassVar[Need] = "maps"
    answer: Answer = "values"
    main_figure = "MAE"
    higher_is_better: ClassVar[dict[str, bool]] = {
        "MAE": False,
        "RMSE": False,
        "visibility_accuracy": True,
        "box_IoU": True,
    }
    tables: ClassVar[tuple[str, ...]] = ("points.csv", "boxes.csv")
    field: Points

    def __init__(
        self,
        views: dict[str, FeatureSpec],
        field: Points,
        *,
        loss: Losses = _LOSS,
        visibility_weight: Annotated[float, Range(0)] = 0.1,
        width: Annotated[int, Range(8)] = 128,
    ) -> None:
        self._width = width
        self.visibility_weight = visibility_weight
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
        """Per sample and name: `difference` in pixels, NaN where not visible; the flags; the overlap of boxes.

        Args:
            prediction: (P, n, 3).
            target: (P, n, 3).
            ids: the P sample ids.
        """
        said, truth = (rows.cpu().double().numpy() for rows in (prediction, target))
        places = 2 if self.field.boxes else 1
        per_name = (len(truth), len(self.field.names), places)
        visible = truth[..., 2] > 0
        difference = np.where(visible[..., None], said[..., :2] - truth[..., :2], np.nan)
        rows = {
            "difference": difference.reshape(*per_name, 2),
            "visible": visible.reshape(per_name)[..., 0],
            "said_visible": said[..., 2].reshape(per_name).mean(-1) >= 0.5,
        }
        if self.field.boxes:
            corners = (*per_name[:2], 4)
            overlap = box_overlap(said[..., :2].reshape(corners), truth[..., :2].reshape(corners))
            rows["overlap"] = np.where(rows["visible"], overlap, np.nan)
        return Records(ids=list(ids), rows=rows)

    def figures(self, records: Records) -> dict[str, float]:
        """MAE, RMSE, visibility_accuracy, MAE/<point>, and box_IoU where the targets are boxes."""
        difference = np.abs(records.rows["difference"])
        right = records.rows["visible"] == records.rows["said_visible"]
        figures = {
            "MAE": mean_known(difference),
            "RMSE": float(np.sqrt(mean_known(difference**2))),
            "visibility_accuracy": mean_known(right.astype(np.float64)),
        }
        if "overlap" in records.rows:
            figures["box_IoU"] = mean_known(records.rows["overlap"])
        figures.update(
            {f"MAE/{name}": mean_known(difference[:, number]) for number, name in enumerate(self.field.names)}
        )
        return figures

    def units(self) -> dict[str, str]:
        """Errors are in pixels of the working size."""
        return {"MAE": "px", "RMSE": "px"}

    def badness(self, records: Records) -> np.ndarray:
        """(n,) mean distance of the coordinates of what is visible, in pixels; 0 where nothing is."""
        difference = np.abs(records.rows["difference"]).reshape(len(records), -1)
        known = ~np.isnan(difference)
        return np.where(known, difference, 0).sum(1) / known.sum(1).clip(min=1)

    def write(self, prediction: np.ndarray, origin: Origin, folder: Path) -> None:
        """A row per name in `points.csv` or `boxes.csv`: coordinates in pixels of the sample's own image, and visible.

        Args:
            prediction: (n, 3).
            origin: what it is of.
            folder: where to.
        """
        scale = np.array(origin.scale)
        for name, places, visible in self._named(prediction):
            numbers = [f"{number:.2f}" for number in (places * scale).ravel()]
            kind, axes = ("box", ["x1", "y1", "x2", "y2"]) if self.field.boxes else ("point", ["x", "y"])
            path = folder / ("boxes.csv" if self.field.boxes else "points.csv")
            add_row(path, ["id", kind, *axes, "visible"], [origin.id, name, *numbers, f"{visible:.6f}"])

    def draw(self, prediction: np.ndarray, background: Image.Image) -> Image.Image:
        """Points as discs and boxes as frames with their names, over the sample's image; unseen ones are left out."""
        picture = background.convert("RGB").copy()
        pen = ImageDraw.Draw(picture)
        colours = palette(len(self.field.names))
        for number, (name, places, visible) in enumerate(self._named(prediction)):
            if visible < 0.5:
                continue
            colour = tuple(int(value) for value in colours[number])
            low, high = places.min(0), places.max(0)
            if self.field.boxes:
                pen.rectangle((*low, *high), outline=colour, width=2)
            else:
                pen.ellipse((*(low - 3), *(low + 3)), fill=colour, outline="white")
            pen.text((low[0] + 4, low[1] + 2), name, fill=colour, stroke_width=1, stroke_fill="white")
        return picture

    def draw_truth(self, target: np.ndarray, background: Image.Image) -> Image.Image:
        """The same of a target."""
        return self.draw(self.field.to_tensor(target).numpy(), background)

    def draw_error(self, prediction: np.ndarray, target: np.ndarray, background: Image.Image) -> Image.Image:
        """A red line from where each visible point is to where it was said to be."""
        picture = background.convert("L").convert("RGB")
        pen = ImageDraw.Draw(picture)
        for said, truth in zip(prediction, self.field.to_tensor(target).numpy(), strict=True):
            if truth[2] > 0:
                pen.line((*truth[:2], *said[:2]), fill=(230, 40, 40), width=2)
                pen.ellipse((*(truth[:2] - 2), *(truth[:2] + 2)), fill="white", outline="black")
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


def box_overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(...) intersection over union of boxes (..., 4) x1, y1, x2, y2; 0 where they have no area together."""
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    both = (high - low).clip(min=0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).clip(min=0).prod(-1) for box in (first, second)]
    union = areas[0] + areas[1] - both
    return both / np.where(union > 0, union, 1)
