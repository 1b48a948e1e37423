"""Each registered task with a target, and answers that could not be better: what the contract tests run over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weft.registry import Part
from weft.tasks.base import Task
from weft.tasks.boxes import Boxes
from weft.tasks.class_label import ClassLabel
from weft.tasks.classification import Classification
from weft.tasks.clip_label_map import ClipLabelMap
from weft.tasks.dense_stages import Attention, Auxiliary, Refine
from weft.tasks.detection import Detection
from weft.tasks.edge_map import EdgeMap
from weft.tasks.edges import Edges
from weft.tasks.frame_classification import FrameClassification
from weft.tasks.frame_label import FrameLabel
from weft.tasks.frame_location import FrameLocation
from weft.tasks.frame_points import FramePoints
from weft.tasks.label_map import LabelMap
from weft.tasks.location import Location
from weft.tasks.numbers import Numbers
from weft.tasks.pixel_regression import PixelRegression
from weft.tasks.pixel_values import PixelValues
from weft.tasks.points import Points
from weft.tasks.regression import Regression
from weft.tasks.segmentation import Segmentation
from weft.tasks.video_segmentation import VideoSegmentation
from weft.types import Features, FeatureSpec

SIZE = (32, 48)
ROWS = 4
SPEC = FeatureSpec("grid", 16, (8, 12, 16), (4, 8, 16))
CLIP_SPEC = FeatureSpec("clip", 16, (8, 12, 16), (4, 8, 16))
FRAMES = (3, 2, 3, 1)


class Finest(nn.Module):
    """A decoder that hands on the finest level."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.out_channels, self.output_stride = spec.channels[0], spec.strides[0]
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, pyramid: tuple[Tensor, ...]) -> Tensor:
        return pyramid[0] * self.scale


@dataclass(frozen=True)
class FinestPart(Part):
    """The decoder above, without registering it for everyone."""

    def __call__(self, *context: FeatureSpec, **more: object) -> Finest:
        return Finest(*context)


DECODER = FinestPart("decoder", "finest")


@dataclass(frozen=True)
class Case:
    """A task to try.

    Attributes:
        type: its registered name.
        build: makes it, a new one each time.
        target: makes (ROWS, ...) targets as collated.
        perfect: the prediction for a target that cannot be better.
        best: figures of such a prediction.
        spec: of the features that it reads.
    """

    type: str
    build: Callable[[], Task]
    target: Callable[[], Tensor]
    perfect: Callable[[Tensor], Tensor]
    best: dict[str, float]
    spec: FeatureSpec = SPEC

    def features(self) -> Features:
        """Random ones of ROWS rows: pictures, or clips of `FRAMES` frames."""
        return clips() if self.spec is CLIP_SPEC else features()


def features(num_rows: int = ROWS, seed: int = 0) -> Features:
    """Random features at `SPEC` of images of `SIZE`."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [
        (num_rows, c, -(-SIZE[0] // s), -(-SIZE[1] // s)) for c, s in zip(SPEC.channels, SPEC.strides, strict=True)
    ]
    return Features.of_pyramid([torch.randn(shape, generator=generator) for shape in shapes])


def clips(seed: int = 0) -> Features:
    """Random features at `CLIP_SPEC`, of clips of `FRAMES` frames of `SIZE`."""
    real = torch.arange(max(FRAMES)) < torch.tensor(FRAMES)[:, None]
    return Features.of_frames(features(sum(FRAMES), seed), real)


def _labels() -> Tensor:
    labels = torch.randint(0, 5, (ROWS, *SIZE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    labels[:, :3] = 255
    return labels


def _one_hot(labels: Tensor) -> Tensor:
    known = torch.where(labels == 255, 0, labels.long())
    return nn.functional.one_hot(known, 5).movedim(-1, 1).float()


def _clip_labels() -> Tensor:
    """Some frames without a label, and what fills up shorter clips."""
    labels = torch.stack([_labels()] * max(FRAMES), 1)
    labels[0, 1] = 255
    for row, num_frames in enumerate(FRAMES):
        labels[row, num_frames:] = 255
    return labels


def _moving_labels() -> Tensor:
    """The same, of pictures that stand still."""
    labels = _clip_labels()
    motion = torch.zeros(ROWS, 2, labels.shape[1], *SIZE)
    motion[:, :, 0] = torch.nan
    return torch.cat([labels[:, None].float(), motion], 1).movedim(1, 2)


def _values() -> Tensor:
    values = 1 + torch.rand(ROWS, 1, *SIZE, generator=torch.Generator().manual_seed(2)) * 4
    values[..., :5] = 0
    return values


def _points(num_points: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    points = torch.rand(ROWS, num_points, 3, generator=generator) * torch.tensor([SIZE[1], SIZE[0], 1.0])
    points[..., 2] = 1
    points[1, :2] = 0
    return points


def _boxes() -> Tensor:
    low = _points(2)
    low[..., :2] *= 0.5
    high = low.clone()
    high[..., :2] = (high[..., :2] + 8) * low[..., 2:]
    return torch.stack([low, high], 2).flatten(1, 2)


def _tracks(places: Tensor) -> Tensor:
    """(ROWS, n, 3) places that move to the right; a frame without any, and what fills up shorter clips."""
    moves = torch.tensor([1.0, 0.0, 0.0]) * places[..., 2:]
    tracks = torch.stack([places + frame * moves for frame in range(max(FRAMES))], 1)
    tracks[0, 1] = -1
    for row, num_frames in enumerate(FRAMES):
        tracks[row, num_frames:] = -1
    return tracks


def _objects() -> Tensor:
    """Two, one, no and two objects; one of the last two is ignored."""
    objects = torch.full((ROWS, 2, 7), -1.0)
    objects[0, 0] = torch.tensor([2, 3, 22, 25, 0, 0, 440])
    objects[0, 1] = torch.tensor([24, 1, 47, 30, 1, 0, 667])
    objects[1, 0] = torch.tensor([0, 0, 48, 32, 2, 0, 1536])
    objects[3, 0] = torch.tensor([5, 5, 30, 30, 1, 0, 625])
    objects[3, 1] = torch.tensor([20, 2, 40, 12, 0, 1, 200])
    return objects


def _found(objects: Tensor) -> Tensor:
    score = (objects[..., 4:5] >= 0).float()
    return torch.cat([objects[..., :4] * score, score, objects[..., 4:5] * score], -1)


def _edges() -> Tensor:
    codes = torch.zeros(ROWS, *SIZE, dtype=torch.uint8)
    for row in range(ROWS):
        codes[row, :, 10 + 5 * row] = 1
        codes[row, 12 + row, 30:] = 1
    codes[:, :3, :20] = 255
    return codes


_FACTS = {"mean": 3.0, "std": 1.2, "low": 0.9, "high": 5.5}
_VIEWS = {"fused": SPEC}
_CLIPS = {"fused": CLIP_SPEC}

CASES = {
    "segmentation": Case(
        "segmentation",
        lambda: Segmentation(_VIEWS, LabelMap({}, num_classes=5), decoder=DECODER),
        _labels,
        _one_hot,
        {"mIoU": 1, "pixel_accuracy": 1, "mean_class_accuracy": 1, "IoU/3": 1},
    ),
    "segmentation in stages": Case(
        "segmentation",
        lambda: Segmentation(
            _VIEWS,
            LabelMap({}, num_classes=5),
            decoder=Part("decoder", "fcn", {"channels": 8, "hidden": 8, "dropout": 0.0}),
            attention=Attention(heads=2, dim=8, dropout=0.0),
            refine=Refine(stride=4, channels=8),
            auxiliary=Auxiliary(strides=(8, 16), channels=8),
        ),
        _labels,
        _one_hot,
        {"mIoU": 1, "pixel_accuracy": 1, "mean_class_accuracy": 1, "IoU/3": 1},
    ),
    "video_segmentation": Case(
        "video_segmentation",
        lambda: VideoSegmentation(_CLIPS, ClipLabelMap({}, num_classes=5), decoder=DECODER),
        _clip_labels,
        _one_hot,
        {"mIoU": 1, "J&F_mean": 1, "J_recall": 1, "J_decay": 0, "F_mean": 1, "F_decay": 0, "J_mean/3": 1},
        CLIP_SPEC,
    ),
    "video_segmentation of one class, steadily": Case(
        "video_segmentation",
        lambda: VideoSegmentation(
            _CLIPS,
            ClipLabelMap({}, num_classes=5, motion="clip"),
            decoder=DECODER,
            auxiliary=Auxiliary(strides=(8,), channels=8),
            objects=["3"],
            consistency=0.5,
        ),
        _moving_labels,
        lambda target: _one_hot(target[:, :1, 0].expand(-1, 3, -1, -1)),
        {"J&F_mean": 1, "F_mean/3": 1, "consistency": 1},
        CLIP_SPEC,
    ),
    "frame_classification": Case(
        "frame_classification",
        lambda: FrameClassification(_CLIPS, FrameLabel({"classes": ["a", "b", "c"]}), hidden=8),
        lambda: torch.tensor([[0, 2, -1], [1, 1, -1], [2, 0, 1], [-1, -1, -1]]),
        lambda target: nn.functional.one_hot(target.clamp(min=0), 3).movedim(-1, 1).float(),
        {"accuracy": 1, "balanced_accuracy": 1, "F1_macro": 1, "recall/c": 1, "ECE": 0},
        CLIP_SPEC,
    ),
    "frame_location of points": Case(
        "frame_location",
        lambda: FrameLocation(_CLIPS, FramePoints({"points": ["p", "q", "r"]}), width=8),
        lambda: _tracks(_points(3)),
        lambda target: target.movedim(1, 2),
        {"MAE": 0, "RMSE": 0, "visibility_accuracy": 1, "PCK": 1, "MAE/q": 0},
        CLIP_SPEC,
    ),
    "frame_location of boxes": Case(
        "frame_location",
        lambda: FrameLocation(_CLIPS, FramePoints({}, points=["a", "b"], kind="boxes"), width=8),
        lambda: _tracks(_boxes()),
        lambda target: target.movedim(1, 2),
        {"MAE": 0, "visibility_accuracy": 1, "box_IoU": 1},
        CLIP_SPEC,
    ),
    "classification": Case(
        "classification",
        lambda: Classification(_VIEWS, ClassLabel({"classes": ["a", "b", "c"]})),
        lambda: torch.tensor([0, 2, 1, 2]),
        lambda target: nn.functional.one_hot(target, 3).float(),
        {"accuracy": 1, "balanced_accuracy": 1, "F1_macro": 1, "AUROC_macro": 1, "average_precision/c": 1},
    ),
    "classification of many labels": Case(
        "classification",
        lambda: Classification(_VIEWS, ClassLabel({"classes": ["a", "b", "c"]}, multi_label=True), hidden=8),
        lambda: torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0]]),
        lambda target: target,
        {"accuracy": 1, "exact_match": 1, "F1_macro": 1, "average_precision_macro": 1},
    ),
    "location of points": Case(
        "location",
        lambda: Location(_VIEWS, Points({"points": ["p", "q", "r"]}), width=16),
        lambda: _points(3),
        lambda target: target,
        {"MAE": 0, "RMSE": 0, "MAE/q": 0, "visibility_accuracy": 1},
    ),
    "location of boxes": Case(
        "location",
        lambda: Location(_VIEWS, Points({"points": ["p", "q"]}, kind="boxes"), width=16),
        _boxes,
        lambda target: target,
        {"MAE": 0, "box_IoU": 1, "visibility_accuracy": 1},
    ),
    "detection": Case(
        "detection",
        lambda: Detection(_VIEWS, Boxes({"classes": ["a", "b", "c"]}), width=16, depth=1, max_boxes=5),
        _objects,
        _found,
        {"AP": 1, "AP50": 1, "VOC_AP": 1, "AP_small": 1, "AP_medium": 1, "AP/b": 1, "count_error": 0},
    ),
    "pixel_regression": Case(
        "pixel_regression",
        lambda: PixelRegression(_VIEWS, PixelValues(_FACTS), decoder=DECODER),
        _values,
        lambda target: target,
        {"MAE": 0, "RMSE": 0, "abs_rel": 0, "delta_1.25": 1, "PSNR": float("inf")},
    ),
    "pixel_regression of ratios": Case(
        "pixel_regression",
        lambda: PixelRegression(
            _VIEWS, PixelValues(_FACTS), decoder=DECODER, loss=Part("loss", "scale_invariant"), output="positive"
        ),
        _values,
        lambda target: target,
        {"MAE": 0, "delta_1.25": 1},
    ),
    "edges": Case(
        "edges",
        lambda: Edges(_VIEWS, EdgeMap({}, width=2), decoder=DECODER, tolerance=0.03),
        _edges,
        lambda target: (target == 1).float()[:, None],
        {"ODS": 1, "OIS": 1, "AP": 1, "F": 1},
    ),
    "regression": Case(
        "regression",
        lambda: Regression(_VIEWS, Numbers({"mean": [1.0], "std": [2.0]})),
        lambda: torch.tensor([[1.5], [-2.0], [4.0], [0.0]]),
        lambda target: target,
        {"MAE": 0, "RMSE": 0, "R2": 1},
    ),
    "regression of two numbers by their logarithms": Case(
        "regression",
        lambda: Regression(
            _VIEWS,
            Numbers({"mean": [12.0, 1.0], "std": [0.5, 0.2]}, names=("price", "area"), transform="log", unit="USD"),
            loss=Part("loss", "huber"),
            hidden=8,
        ),
        lambda: torch.tensor([[1e5, 2.0], [3e5, torch.nan], [2e5, 3.0], [2.5e5, 2.5]]),
        lambda target: target,
        {"MAE": 0, "R2": 1, "R2_log": 1, "RMSE_log/price": 0, "R2_log/area": 1},
    ),
}
