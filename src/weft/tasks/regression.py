"""Regression: a number for every sample, or a few."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from weft.losses.base import TargetFacts
from weft.losses.weighted_sum import Losses, build_loss, needs_positive
from weft.metrics.confusion import mean_known, ratio
from weft.modalities.base import Lines
from weft.registry import Part, Range, register
from weft.tasks.base import Task
from weft.tasks.captions import caption
from weft.tasks.classification import VectorHead
from weft.tasks.exchange import Origin, add_row
from weft.tasks.numbers import Numbers
from weft.types import Answer, FeatureSpec, Need, Records

_LOSS = Part("loss", "mse")


@register("task", "regression")
class Regression(Task):
    """A number for every sample, or several, in the target's own unit.

    The network answers, and the loss is measured, in units of the training split's deviation around its mean, after
    the target's `transform`. Numbers that are not known are in nothing.

    Figures, over all known numbers of the data set: MAE, RMSE, and R2, the share of the variance around the mean of
    the scored samples that is explained. With a transform also those of the transformed numbers (R2_log). Of several
    numbers each has its own, such as MAE/width, and the overall figures are their means.

    Args:
        loss: of the standardised numbers: mse, l1 or huber; a list of losses is added up, each with its `weight`.
        hidden: width of a hidden layer before the answer; 0: none.
        dropout: probability of hiding a number of the features in training.
    """

    Target = Numbers
    need: ClassVar[Need] = "vector"
    answer: Answer = "values"
    higher_is_better: ClassVar[dict[str, bool]] = {
        "MAE": False,
        "RMSE": False,
        "R2": True,
        "MAE_log": False,
        "RMSE_log": False,
        "R2_log": True,
    }
    tables: ClassVar[tuple[str, ...]] = ("values.csv",)
    field: Numbers

    def __init__(
        self,
        views: dict[str, FeatureSpec],
        field: Numbers,
        *,
        loss: Losses = _LOSS,
        hidden: Annotated[int, Range(0)] = 0,
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.1,
    ) -> None:
        self._hidden = hidden
        self._dropout = dropout
        super().__init__(views, field)
        self.criterion = build_loss(loss, TargetFacts("values"))
        if needs_positive(self.criterion):
            raise ValueError("the loss takes logarithms itself; choose `transform: log` and the loss mse instead")
        self._suffix = "" if field.transform == "none" else f"_{field.transform}"
        self.main_figure = f"R2{self._suffix}"
        self.register_buffer("mean", torch.tensor(field.mean), persistent=False)
        self.register_buffer("std", torch.tensor(field.std), persistent=False)

    def build_head(self, spec: FeatureSpec) -> nn.Module:
        """One linear layer, or two, on the pooled features."""
        return VectorHead(spec.dim, len(self.field.names), hidden=self._hidden, dropout=self._dropout)

    def loss(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) over known numbers.

        Args:
            logits: (P, K).
            target: (P, K) in the target's unit, NaN where not known.
        """
        return self.criterion(logits, self._standardised(target))

    def count(self, target: Tensor) -> Tensor:
        """Known numbers."""
        return self.criterion.count(target)

    def predict(self, logits: Tensor) -> Tensor:
        """(P, K) numbers in the target's unit."""
        return self.field.restored(logits.float() * self.get_buffer("std") + self.get_buffer("mean"))

    def logits_of(self, prediction: Tensor, *, size: tuple[int, int]) -> Tensor:
        """See `Task.logits_of`."""
        return self._standardised(prediction)

    def _standardised(self, numbers: Tensor) -> Tensor:
        return (self.field.transformed(numbers.float()) - self.get_buffer("mean")) / self.get_buffer("std")

    def records(self, prediction: Tensor, target: Tensor, ids: list[str]) -> Records:
        """`said` and `truth` (n, K) in float64.

        Args:
            prediction: (P, K).
            target: (P, K).
            ids: the P sample ids.
        """
        rows = {"said": prediction.double().cpu().numpy(), "truth": target.double().cpu().numpy()}
        return Records(ids=list(ids), rows=rows)

    def figures(self, records: Records) -> dict[str, float]:
        """MAE, RMSE and R2, of each number too; with a transform also of the transformed numbers."""
        said, truth = records.rows["said"], records.rows["truth"]
        figures = self._figures_of(said, truth, "")
        if self._suffix:
            figures |= self._figures_of(self._transformed(said), self._transformed(truth), self._suffix)
        return figures

    def _figures_of(self, said: np.ndarray, truth: np.ndarray, suffix: str) -> dict[str, float]:
        known = ~np.isnan(truth)
        error = np.where(known, said - truth, 0)
        count = known.sum(0)
        centre = ratio(np.where(known, truth, 0).sum(0), count)
        spread = np.where(known, truth - centre, 0)
        squared = np.square(error).sum(0)
        per_number = {
            "MAE": ratio(np.abs(error).sum(0), count),
            "RMSE": np.sqrt(ratio(squared, count)),
            "R2": 1 - ratio(squared, np.square(spread).sum(0)),
        }
        figures = {f"{figure}{suffix}": mean_known(values) for figure, values in per_number.items()}
        if len(self.field.names) > 1:
            for figure, values in per_number.items():
                named = zip(self.field.names, values.tolist(), strict=True)
                figures |= {f"{figure}{suffix}/{name}": value for name, value in named}
        return figures

    def _transformed(self, numbers: np.ndarray) -> np.ndarray:
        return self.field.transformed(torch.from_numpy(numbers)).numpy()

    def units(self) -> dict[str, str]:
        """Errors are in the unit of the target."""
        return {"MAE": self.field.unit, "RMSE": self.field.unit}

    def badness(self, records: Records) -> np.ndarray:
        """(n,) mean error over the known numbers, each after the transform and in units of its deviation."""
        said, truth = (self._transformed(records.rows[name]) / np.array(self.field.std) for name in ("said", "truth"))
        known = ~np.isnan(truth)
        return np.where(known, np.abs(said - truth), 0).sum(1) / known.sum(1).clip(min=1)

    def write(self, prediction: np.ndarray, origin: Origin, folder: Path) -> None:
        """A row of `values.csv`: id, and each number; one that has no name is called value.

        Args:
            prediction: (K,).
            origin: what it is of.
            folder: where to.
        """
        header = ["id", *(name or "value" for name in self.field.names)]
        add_row(folder / "values.csv", header, [origin.id, *(f"{number:.7g}" for number in prediction.tolist())])

    def describe(self, prediction: np.ndarray) -> Lines:
        """Each number with its unit."""
        return self.field.describe(prediction)

    def draw(self, prediction: np.ndarray, background: Image.Image) -> Image.Image:
        """The same written below the image."""
        return caption(background, [f"{name} {said}".lstrip() for name, said in self.describe(prediction)])

    def draw_truth(self, target: np.ndarray, background: Image.Image) -> Image.Image:
        """The same of a target."""
        return self.draw(target, background)
