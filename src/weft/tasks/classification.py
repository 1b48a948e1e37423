"""Classification: one class of many, or several labels at once."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from weft.losses.weighted_sum import Losses, build_loss
from weft.metrics.calibration import Reliability
from weft.metrics.confusion import f1, mean_known, precision, ratio, recall
from weft.metrics.ranking import auroc, average_precision, of_known
from weft.metrics.thresholds import best_f1_thresholds
from weft.modalities.base import Lines
from weft.registry import Part, Range, get, options_of, register
from weft.tasks.base import Task
from weft.tasks.captions import caption
from weft.tasks.class_label import SEPARATOR, ClassLabel
from weft.tasks.exchange import Origin, add_row, write_sidecar
from weft.types import Answer, Features, FeatureSpec, Need, Records

#: Between the 0 and the 1 of a target.
_HALF = 0.5

#: So many of the likeliest classes are named to a person.
NUM_NAMED = 3


@register("task", "classification")
class Classification(Task):
    """A class for every sample, or with `multi_label` a yes or no for every label.

    Figures, over all samples; of several labels over those that are known. Macro figures are means over the classes
    that they can be told of: AUROC needs positives and negatives, average precision and recall positives, precision and
    F1 positives or predictions (a class that is there and never predicted has 0). accuracy of several labels is the
    share of single answers that are right, exact_match that of samples whose answers are all right. ECE is the expected
    calibration error over 15 bins, of the class that is answered, or of every single label.

    Args:
        loss: of the logits; by default cross_entropy, or binary_cross_entropy with `multi_label`; a list of losses is
            added up, each with its `weight`.
        balanced: weigh classes by how rare they are in training: each by samples / (classes · its own samples); of
            several labels the positive term of each by its negatives / its positives.
        thresholds: with `multi_label`, a label is answered where its probability is at least this; tuned: at least what
            gives the label the largest F1 on the validation part, saved with the weights.
        hidden: width of a hidden layer before the answer; 0: none.
        dropout: probability of hiding a number of the features in training.
    """

    Target = ClassLabel
    need: ClassVar[Need] = "vector"
    higher_is_better: ClassVar[dict[str, bool]] = {"ECE": False} | dict.fromkeys(
        (
            "accuracy",
            "balanced_accuracy",
            "exact_match",
            "precision_macro",
            "recall_macro",
            "F1_macro",
            "AUROC_macro",
            "average_precision_macro",
            "precision",
            "recall",
            "F1",
            "AUROC",
            "average_precision",
        ),
        True,
    )
    tables: ClassVar[tuple[str, ...]] = ("classes.csv", "thresholds.json")
    field: ClassLabel

    def __init__(
        self,
        views: dict[str, FeatureSpec],
        field: ClassLabel,
        *,
        loss: Losses | None = None,
        balanced: bool = False,
        thresholds: Annotated[float, Range(0, 1)] | Literal["tuned"] = 0.5,
        hidden: Annotated[int, Range(0)] = 0,
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.1,
    ) -> None:
        self.classes = list(field.classes)
        self.multi_label = field.multi_label
        self.answer: Answer = "labels" if field.multi_label else "classes"
        self.main_figure = "average_precision_macro" if self.multi_label else "accuracy"
        self._hidden = hidden
        self._dropout = dropout
        super().__init__(views, field)
        chosen = loss or Part("loss", "binary_cross_entropy" if self.multi_label else "cross_entropy")
        if balanced:
            chosen = self._balanced(chosen)
        self.criterion = build_loss(chosen, field.loss_target())
        self._tuned = thresholds == "tuned"
        if thresholds != _HALF and not self.multi_label:
            raise ValueError("thresholds are of labels that are there or not; give them with `multi_label: true`")
        if self.multi_label:
            start = _HALF if thresholds == "tuned" else thresholds
            self.register_buffer("thresholds", torch.full((len(self.classes),), start))

    def _balanced(self, loss: Part | list[Part]) -> Part:
        """The loss with the option that weighs classes by how rare they are."""
        option = "pos_weight" if self.multi_label else "class_weights"
        if not isinstance(loss, Part):
            raise ValueError(f"`balanced` is of one loss; give those of the list their {option}: inverse instead")
        if option not in options_of(get("loss", loss.type)) or loss.options.get(option) is not None:
            raise ValueError(
                f"`balanced` gives the loss {loss.type!r} its {option}, which it lacks, or was given; choose "
                "another loss, or leave one of the two out"
            )
        return Part("loss", loss.type, {**loss.options, option: "inverse"})

    def build_head(self, spec: FeatureSpec) -> nn.Module:
        """One linear layer, or two, on the pooled features."""
        return VectorHead(spec.dim, len(self.classes), hidden=self._hidden, dropout=self._dropout)

    def loss(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) over samples, or over samples and labels.

        Args:
            logits: (P, K).
            target: (P,) int64, or (P, K) float32.
        """
        return self.criterion(logits, target)

    def count(self, target: Tensor) -> Tensor:
        """Samples, or samples times labels, weighed as the loss weighs them."""
        return self.criterion.count(target)

    def predict(self, logits: Tensor) -> Tensor:
        """(P, K) probabilities; with `multi_label` they are independent and need not sum to one."""
        return logits.float().sigmoid() if self.multi_label else logits.float().softmax(1)

    def records(self, prediction: Tensor, target: Tensor, ids: list[str]) -> Records:
        """`scores` (n, K) and `truth` (n,) or (n, K); the confusion where a sample has one class.

        Args:
            prediction: (P, K) probabilities.
            target: (P,) or (P, K).
            ids: the P sample ids.
        """
        scores = prediction.float().cpu().numpy()
        truth = target.cpu().numpy()
        if self.multi_label:
            return Records(ids=list(ids), rows={"scores": scores, "truth": truth > _HALF, "known": ~np.isnan(truth)})
        num_classes = len(self.classes)
        confusion = np.bincount(truth * num_classes + scores.argmax(1), minlength=num_classes**2)
        return Records(
            ids=list(ids),
            rows={"scores": scores, "truth": truth},
            totals={"confusion": confusion.reshape(num_classes, num_classes)},
        )

    def figures(self, records: Records) -> dict[str, float]:
        """accuracy, macro figures and their parts per class; what they mean is in the class's description."""
        scores = records.rows["scores"]
        truth, known = self._truth(records), self._known(records)
        answers = self._answers(scores) & known
        right, predicted, actual = (truth & answers).sum(0), answers.sum(0), truth.sum(0)
        per_class = {
            "precision": precision(right, predicted, actual),
            "recall": recall(right, actual),
            "F1": f1(right, predicted, actual),
            "AUROC": of_known(auroc, scores, truth, known),
            "average_precision": of_known(average_precision, scores, truth, known),
        }
        figures = self._accuracies(truth, answers, known, per_class["recall"])
        figures["ECE"] = self.reliability(records).error
        figures.update({f"{figure}_macro": mean_known(values) for figure, values in per_class.items()})
        for figure, values in per_class.items():
            figures.update({f"{figure}/{name}": float(v) for name, v in zip(self.classes, values, strict=True)})
        return figures

    def tune(self, records: Records) -> None:
        """With `thresholds: tuned`, the threshold of the largest F1 for each label."""
        if self._tuned and len(records):
            scores, truth = records.rows["scores"], records.rows["truth"]
            cut = partial(best_f1_thresholds, otherwise=_HALF)
            best = of_known(cut, scores, truth, self._known(records)).astype(np.float32)
            self.get_buffer("thresholds").copy_(torch.from_numpy(best))

    def reliability(self, records: Records) -> Reliability:
        """Of the class that is answered, or of every label of every sample."""
        scores, truth = records.rows["scores"], records.rows["truth"]
        if self.multi_label:
            known = self._known(records)
            return Reliability.of(scores[known], truth[known])
        return Reliability.of(scores.max(1, initial=0), scores.argmax(1) == truth)

    def badness(self, records: Records) -> np.ndarray:
        """(n,) how improbable the truth was held to be: 1 − its probability, or the mean distance over the labels."""
        scores = records.rows["scores"]
        if self.multi_label:
            known = self._known(records)
            return np.nan_to_num(ratio(np.where(known, np.abs(scores - self._truth(records)), 0).sum(1), known.sum(1)))
        return 1 - scores[np.arange(len(scores)), records.rows["truth"]]

    def right(self, records: Records) -> np.ndarray:
        """(n,) bool: the class is right, or all labels are."""
        answers = self._answers(records.rows["scores"])
        return ((answers == self._truth(records)) | ~self._known(records)).all(1)

    def classes_of(self, records: Records) -> dict[str, np.ndarray]:
        """{class: (n,) bool}: the samples that have it."""
        return dict(zip(self.classes, self._truth(records).T, strict=True))

    def write(self, prediction: np.ndarray, origin: Origin, folder: Path) -> None:
        """A row of `classes.csv`: id, answer, and the probability of every class. Thresholds that were tuned stand in
        `thresholds.json`.

        Args:
            prediction: (K,) probabilities.
            origin: what it is of.
            folder: where to.
        """
        header = ["id", "labels" if self.multi_label else "class", *(f"p/{name}" for name in self.classes)]
        shares = [f"{share:.6f}" for share in prediction]
        if self._tuned:
            thresholds = [round(number, 6) for number in self.get_buffer("thresholds").tolist()]
            write_sidecar(folder / "thresholds.json", dict(zip(self.classes, thresholds, strict=True)))
        add_row(folder / "classes.csv", header, [origin.id, SEPARATOR.join(self._said(prediction)), *shares])

    def describe(self, prediction: np.ndarray) -> Lines:
        """The likeliest classes, each with its probability."""
        best = np.argsort(-prediction, kind="stable")[:NUM_NAMED]
        return tuple((self.classes[number], f"{100 * prediction[number]:.0f} %") for number in best)

    def draw(self, prediction: np.ndarray, background: Image.Image) -> Image.Image:
        """The same written below the image."""
        return caption(background, [f"{name} {share}" for name, share in self.describe(prediction)])

    def draw_truth(self, target: np.ndarray, background: Image.Image) -> Image.Image:
        """The names written below the image."""
        numbers = np.flatnonzero(target == 1) if self.multi_label else [int(target)]
        return caption(background, [self.classes[number] for number in numbers] or ["none"])

    def _said(self, prediction: np.ndarray) -> list[str]:
        return [self.classes[number] for number in np.flatnonzero(self._answers(prediction[None])[0])]

    def _truth(self, records: Records) -> np.ndarray:
        """(n, K) bool."""
        truth = records.rows["truth"]
        return truth if self.multi_label else truth[:, None] == np.arange(len(self.classes))

    def _known(self, records: Records) -> np.ndarray:
        """(n, K) bool: which labels somebody looked for."""
        known = records.rows.get("known")
        return np.ones((len(records), len(self.classes)), bool) if known is None else known

    def _answers(self, scores: np.ndarray) -> np.ndarray:
        """(n, K) bool."""
        if self.multi_label:
            return scores >= self.get_buffer("thresholds").cpu().numpy()
        return scores.argmax(1)[:, None] == np.arange(len(self.classes))

    def _accuracies(
        self, truth: np.ndarray, answers: np.ndarray, known: np.ndarray, recalls: np.ndarray
    ) -> dict[str, float]:
        if self.multi_label:
            return {
                "accuracy": mean_known((truth == answers)[known].astype(np.float64)),
                "exact_match": mean_known(((truth == answers) | ~known).all(1).astype(np.float64)),
            }
        return {
            "accuracy": mean_known((truth & answers).any(1).astype(np.float64)),
            "balanced_accuracy": mean_known(recalls),
        }


class VectorHead(nn.Module):
    """Pooled features in, K numbers per sample out.

    Args:
        dim: width of the features.
        num_outputs: K.
        hidden: width of a hidden layer; 0: none.
        dropout: probability of hiding a number before the last layer in training.
    """

    def __init__(self, dim: int, num_outputs: int, *, hidden: int, dropout: float) -> None:
        super().__init__()
        widen = [nn.Linear(dim, hidden), nn.ReLU(inplace=True)] if hidden else []
        self.layers = nn.Sequential(*widen, nn.Dropout(dropout), nn.Linear(hidden or dim, num_outputs))

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        """(P, K)."""
        pooled: Tensor = self.layers(features.pooled)
        return pooled.to(torch.float32)
