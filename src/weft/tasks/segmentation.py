"""Segmentation: one class per pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.losses.base import IGNORE
from weft.losses.weighted_sum import Losses, build_loss, wants_counts
from weft.metrics.calibration import Reliability
from weft.metrics.confusion import intersection_over_union, mean_known, ratio, recall
from weft.modalities.base import Facts
from weft.registry import Part, Range, register
from weft.tasks.colours import UNLABELLED, over, paint, palette
from weft.tasks.dense import DECODER, DenseDesign, DenseHead, DenseTask, at_one_size, confusion_records, to_pixels
from weft.tasks.dense_stages import Attention, Auxiliary, Refine
from weft.tasks.exchange import Origin, answer_path, write_sidecar
from weft.tasks.label_map import LabelMap
from weft.types import Answer, Features, FeatureSpec, Records

_LOSS = Part("loss", "cross_entropy")


@register("task", "segmentation")
class Segmentation(DenseTask):
    """A class for every pixel, at the size of the input.

    Figures, over all labelled pixels of the data set: mIoU is the mean IoU of the classes that occur in the truth or in
    the prediction; mean_class_accuracy the mean recall of the classes that occur in the truth; ECE the expected
    calibration error of the class that is answered, over 15 bins.

    Args:
        decoder: turns the pyramid of features into one map.
        loss: of the logits per pixel; a list of losses is added up, each with its `weight`.
        dropout: probability of hiding a channel of the decoder's map in training.
        attention: self-attention over the deepest map before the decoder.
        refine: a second stage that reads a finer map and the coarse answer of the first.
        auxiliary: heads on the maps that the decoder reads, in training only (deep supervision).
    """

    Target = LabelMap
    answer: Answer = "classes"
    main_figure = "mIoU"
    higher_is_better: ClassVar[dict[str, bool]] = {
        "mIoU": True,
        "pixel_accuracy": True,
        "mean_class_accuracy": True,
        "IoU": True,
        "ECE": False,
    }
    field: LabelMap

    def __init__(
        self,
        views: dict[str, FeatureSpec],
        field: LabelMap,
        *,
        decoder: Annotated[Part, "decoder"] = DECODER,
        loss: Losses = _LOSS,
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.1,
        attention: Attention | None = None,
        refine: Refine | None = None,
        auxiliary: Auxiliary | None = None,
    ) -> None:
        self.classes = list(field.classes)
        design = DenseDesign(decoder, dropout, attention, refine, auxiliary)
        super().__init__(views, field, design=design, num_channels=len(field.classes))
        self.criterion = build_loss(loss, field.loss_target())

    @classmethod
    def brings(cls, options: Mapping[str, Any]) -> Facts:
        """See `Task.brings`: whether the loss needs the classes counted."""
        return {"counted": True} if wants_counts(options.get("loss", _LOSS)) else {}

    def forward(self, features: Features, *, view: str, size: tuple[int, int]) -> Tensor:
        """Logits (P, K, H, W) at `size`; in training those of all S stages, (P, S · K, h, w), for `loss` to enlarge."""
        if not self.training:
            return super().forward(features, view=view, size=size)
        head = self.heads[view]
        assert isinstance(head, DenseHead)
        return head.stages(features)

    def loss(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) over labelled pixels; the sum of every stage, by its weight, and the count of the answer.

        Args:
            logits: (P, K, h, w) at any size, or those of all stages.
            target: (P, H, W) class numbers, `field.ignore` where there is no label.
        """
        numbers = self._class_numbers(target)
        height, width = target.shape[-2:]
        total, count = logits[:0].float().sum(), logits.new_zeros((), dtype=torch.float32)
        # a few samples at a time: all pixels of all classes at once leave the caches and cost a tenth of a step
        step = _samples_at_once(logits, target)
        for first in range(0, len(target), step):
            piece = slice(first, first + step)
            for weight, stage in self.stages_of(logits[piece]):
                piece_sum, piece_count = self.criterion(to_pixels(stage, (height, width)), numbers[piece])
                total = total + weight * piece_sum
            count = count + piece_count
        return total, count

    def count(self, target: Tensor) -> Tensor:
        """Labelled pixels, weighed as the loss weighs them."""
        return self.criterion.count(self._class_numbers(target))

    def predict(self, logits: Tensor) -> Tensor:
        """(P, K, H, W) probabilities."""
        # over the last dimension: twice as fast as over the first on a processor
        return self.answer_of(logits).float().movedim(1, -1).softmax(-1).movedim(-1, 1)

    def alike(self, logits: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `Task.alike`: views may have decoders of different strides."""
        return at_one_size(logits)

    def records(self, prediction: Tensor, target: Tensor, ids: list[str]) -> Records:
        """Per sample: pixels of each class, right (`tp`), `predicted` and `actual`, and of each bin; and the confusion.

        Args:
            prediction: (P, K, H, W) probabilities.
            target: (P, H, W) class numbers.
            ids: the P sample ids.
        """
        return confusion_records(prediction, target, ids, ignore=self.field.ignore)

    def figures(self, records: Records) -> dict[str, float]:
        """mIoU, pixel_accuracy, mean_class_accuracy, ECE and IoU/<class>."""
        right, predicted, actual = (records.rows[name].sum(0) for name in ("tp", "predicted", "actual"))
        per_class = intersection_over_union(right, predicted, actual)
        reliability = self.reliability(records)
        return {
            "mIoU": mean_known(per_class),
            "pixel_accuracy": float(ratio(right.sum(), actual.sum())),
            "mean_class_accuracy": mean_known(recall(right, actual)),
            "ECE": math.nan if reliability is None else reliability.error,
            **{f"IoU/{name}": float(value) for name, value in zip(self.classes, per_class, strict=True)},
        }

    def reliability(self, records: Records) -> Reliability | None:
        """Of the class that is answered, over all labelled pixels; None of records that were kept without its bins."""
        if "bin_count" not in records.rows:
            return None
        return Reliability(*(records.rows[f"bin_{part}"].sum(0) for part in ("count", "confidence", "true")))

    def badness(self, records: Records) -> np.ndarray:
        """(n,) share of a sample's labelled pixels that are wrong; 0 where none is labelled."""
        wrong = ratio(records.rows["tp"].sum(1), records.rows["actual"].sum(1))
        return np.nan_to_num(1 - wrong)

    def write(self, prediction: np.ndarray, origin: Origin, folder: Path) -> None:
        """A PNG of class numbers at the sample's own size, with a palette, and `classes.json` once.

        Args:
            prediction: (K, h, w) probabilities.
            origin: what it is of.
            folder: where to.
        """
        self.write_labels(prediction, answer_path(folder, origin.id, ".png"), origin.size)
        self.write_legend(folder)

    def write_labels(self, prediction: np.ndarray, path: Path, size: tuple[int, int]) -> None:
        """The PNG of `write` alone, of (K, h, w) probabilities."""
        labels = _largest(prediction, size)
        if len(self.classes) <= 256:
            colours = palette(len(self.classes))
            picture = Image.fromarray(labels.astype(np.uint8))
            picture.putpalette(colours.tobytes() + bytes(UNLABELLED) * (256 - len(colours)))
        else:
            picture = Image.fromarray(labels.astype(np.uint16))
        picture.save(path)

    def write_legend(self, folder: Path) -> None:
        """`classes.json`: the name and colour of every number."""
        legend = {
            str(number): {"name": name, "colour": "#" + bytes(colour).hex()}
            for number, (name, colour) in enumerate(self.colours().items())
        }
        write_sidecar(folder / "classes.json", legend)

    def colours(self) -> dict[str, tuple[int, int, int]]:
        """The colours of files and pictures."""
        rows = palette(len(self.classes)).tolist()
        return {name: (red, green, blue) for name, (red, green, blue) in zip(self.classes, rows, strict=True)}

    def draw(self, prediction: np.ndarray, background: Image.Image) -> Image.Image:
        """The classes in their colours, over the sample's image."""
        return over(background, paint(prediction.argmax(0), len(self.classes)), 0.65)

    def draw_truth(self, target: np.ndarray, background: Image.Image) -> Image.Image:
        """The classes in their colours, over the sample's image; unlabelled pixels as they are."""
        known = np.where(target != self.field.ignore, 0.65, 0.0)
        return over(background, paint(target, len(self.classes)), known)

    def draw_error(self, prediction: np.ndarray, target: np.ndarray, background: Image.Image) -> Image.Image:
        """Wrong pixels red, right ones darkened, unlabelled ones as they are."""
        known = target != self.field.ignore
        wrong = known & (prediction.argmax(0) != target)
        picture = np.zeros((*target.shape, 3), np.uint8)
        picture[wrong] = (230, 40, 40)
        return over(background.convert("L").convert("RGB"), picture, np.where(wrong, 0.75, np.where(known, 0.45, 0.0)))

    def _class_numbers(self, target: Tensor) -> Tensor:
        """(P, H, W) int64 with the losses' mark for what is not known."""
        numbers = target.long()
        return numbers.masked_fill(target == self.field.ignore, IGNORE)


def _samples_at_once(logits: Tensor, target: Tensor) -> int:
    """How many samples' logits at the size of their pixels are held at a time."""
    numbers_of_one = logits.shape[1] * target.shape[-2] * target.shape[-1]
    limit = 2**22 if logits.device.type == "cpu" else 2**27  # 16 MB of cache and more; 512 MB of a device
    return max(1, limit // max(1, numbers_of_one))


def _largest(probabilities: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) the class of the largest bilinearly resized probability; a class at a time: all may not fit in memory."""
    height, width = size
    if probabilities.shape[1:] == size:
        return probabilities.argmax(0)
    best = np.full(size, -np.inf, np.float32)
    labels = np.zeros(size, np.int64)
    for number, share in enumerate(probabilities):
        share = cv2.resize(share.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        better = share > best
        labels[better] = number
        best[better] = share[better]
    return labels
