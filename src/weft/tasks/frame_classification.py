"""Classification of every frame of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from PIL import Image
from torch import Tensor, nn

from weft.losses.base import IGNORE
from weft.losses.weighted_sum import Losses, build_loss
from weft.metrics.calibration import Reliability
from weft.metrics.confusion import f1, mean_known, precision, ratio, recall
from weft.modalities.base import Lines
from weft.registry import Part, Range, register
from weft.tasks.base import Task
from weft.tasks.captions import caption
from weft.tasks.classification import VectorHead
from weft.tasks.dense import confusion_records
from weft.tasks.exchange import Origin, add_row
from weft.tasks.frame_label import UNKNOWN_FRAME, FrameLabel
from weft.tasks.frames import by_clip, frames_in_both
from weft.types import Answer, Features, FeatureSpec, Need, Records

_LOSS = Part("loss", "cross_entropy")


@register("task", "frame_classification")
class FrameClassification(Task):
    """A class for every frame of a clip. Frames whose class is not known cost nothing and are in no figure.

    It reads what there is of a frame: its pixels' mean where the view has maps, else the token that the view has for
    each frame. What a frame knows of the others it knows from encoders and fusion.

    Figures, over all frames whose class is known: accuracy; balanced_accuracy, the mean recall of the classes that
    occur; F1_macro over those that occur or are answered; ECE, the expected calibration error over 15 bins.

    Args:
        loss: of the logits of a frame; a list of losses is added up, each with its `weight`.
        hidden: width of a hidden layer before the answer; 0: none.
        dropout: probability of hiding a number of the features in training.
    """

    Target = FrameLabel
    need: ClassVar[Need] = "frames"
    answer: Answer = "classes"
    main_figure = "accuracy"
    higher_is_better: ClassVar[dict[str, bool]] = {
        "ECE": False,
        **dict.fromkeys(("accuracy", "balanced_accuracy", "F1_macro", "precision", "recall", "F1"), True),
    }
    additive: ClassVar[bool] = True
    tables: ClassVar[tuple[str, ...]] = ("frames.csv",)
    field: FrameLabel

    def __init__(
        self,
        views: dict[str, FeatureSpec],
        field: FrameLabel,
        *,
        loss: Losses = _LOSS,
        hidden: Annotated[int, Range(0)] = 0,
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.1,
    ) -> None:
        self.classes = list(field.classes)
        self._hidden, self._dropout = hidden, dropout
        super().__init__(views, field)
        self.criterion = build_loss(loss, field.loss_target())

    def build_head(self, spec: FeatureSpec) -> nn.Module:
        """One linear layer, or two, on what there is of each frame."""
        return FrameHead(spec.dim, len(self.classes), hidden=self._hidden, dropout=self._dropout)

    def loss(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) over frames whose class is known.

        Args:
            logits: (P, K, T).
            target: (P, T) class numbers, -1 where not known.
        """
        said, known = logits.movedim(1, 2), target != UNKNOWN_FRAME
        both = frames_in_both(said, known)
        seen = known[:, :both]
        return self.criterion(said[:, :both][seen], target[:, :both][seen])

    def count(self, target: Tensor) -> Tensor:
        """Frames whose class is known, weighed as the loss weighs them."""
        return self.criterion.count(target.masked_fill(target == UNKNOWN_FRAME, IGNORE))

    def predict(self, logits: Tensor) -> Tensor:
        """(P, K, T) probabilities."""
        return logits.float().softmax(1)

    def records(self, prediction: Tensor, target: Tensor, ids: list[str]) -> Records:
        """Per clip: frames of each class, right (`tp`), `predicted` and `actual`, and of each bin; and the confusion.

        Args:
            prediction: (P, K, T) probabilities.
            target: (P, T) class numbers, -1 where not known.
            ids: the P sample ids.
        """
        both = frames_in_both(prediction.movedim(1, 2), target != UNKNOWN_FRAME)
        still, labels = prediction[:, :, None, :both], target[:, None, :both]  # as pictures of one line, (P, K, 1, T)
        return confusion_records(still, labels, ids, ignore=UNKNOWN_FRAME)

    def figures(self, records: Records) -> dict[str, float]:
        """accuracy, balanced_accuracy, F1_macro, ECE, and precision, recall and F1 of every class."""
        right, predicted, actual = (records.rows[name].sum(0) for name in ("tp", "predicted", "actual"))
        per_class = {
            "precision": precision(right, predicted, actual),
            "recall": recall(right, actual),
            "F1": f1(right, predicted, actual),
        }
        figures = {
            "accuracy": float(ratio(right.sum(), actual.sum())),
            "balanced_accuracy": mean_known(per_class["recall"]),
            "F1_macro": mean_known(per_class["F1"]),
            "ECE": self.reliability(records).error,
        }
        for figure, values in per_class.items():
            figures.update({f"{figure}/{name}": float(v) for name, v in zip(self.classes, values, strict=True)})
        return figures

    def reliability(self, records: Records) -> Reliability:
        """Of the class that is answered, over all frames whose class is known."""
        return Reliability(*(records.rows[f"bin_{part}"].sum(0) for part in ("count", "confidence", "true")))

    def badness(self, records: Records) -> np.ndarray:
        """(n,) share of a clip's frames that are wrong, of those whose class is known; 0 where none is."""
        return np.nan_to_num(1 - ratio(records.rows["tp"].sum(1), records.rows["actual"].sum(1)))

    def write(self, prediction: np.ndarray, origin: Origin, folder: Path) -> None:
        """A row of `frames.csv` for every frame: id, frame by its number, answer, and the probability of every class.

        Args:
            prediction: (K, T) probabilities.
            origin: the clip.
            folder: where to.
        """
        header = ["id", "frame", "class", *(f"p/{name}" for name in self.classes)]
        for number, shares in zip(origin.numbers or range(prediction.shape[1]), prediction.T, strict=True):
            said = self.classes[int(shares.argmax())]
            add_row(folder / "frames.csv", header, [origin.id, number, said, *(f"{share:.6f}" for share in shares)])

    def by_frame(self, prediction: np.ndarray) -> Sequence[np.ndarray]:
        """(K,) of every frame."""
        return list(prediction.T)

    def truth_by_frame(self, target: np.ndarray) -> Sequence[np.ndarray]:
        """() the class number of every frame."""
        return list(target)

    def told(self, prediction: np.ndarray) -> Lines:
        """The classes in the order of the frames, each run once."""
        return self.field.describe(prediction.argmax(0))

    def draw(self, prediction: np.ndarray, background: Image.Image) -> Image.Image:
        """The class of a frame and its probability, written below it."""
        best = int(prediction.argmax())
        return caption(background, [f"{self.classes[best]} {100 * prediction[best]:.0f} %"])

    def draw_truth(self, target: np.ndarray, background: Image.Image) -> Image.Image:
        """The class of a frame, written below it; "?" where it is not known."""
        known = int(target) != UNKNOWN_FRAME
        return caption(background, [self.classes[int(target)] if known else "?"])


class FrameHead(VectorHead):
    """What there is of every frame in, K numbers a frame out; options as of `VectorHead`."""

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        """(P, K, T) float32; 0 in frames that are not real."""
        real = features.mask & features.present[:, None]
        tokens = features.tokens
        if features.grid is not None:
            real = features.frames
            tokens = tokens.unflatten(1, (features.grid[0], -1)).float().mean(2)  # a frame is real as a whole
        said: Tensor = self.layers(tokens[real])
        return by_clip(said.float(), real).movedim(1, 2)
