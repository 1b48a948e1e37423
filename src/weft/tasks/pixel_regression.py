"""Pixel regression: a value per pixel, such as depth from colour."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from weft.losses.base import TargetFacts
from weft.losses.weighted_sum import Losses, build_loss, needs_positive
from weft.metrics.confusion import ratio
from weft.registry import Part, Range, register
from weft.tasks.colours import paint_values
from weft.tasks.dense import DECODER, DenseDesign, DenseTask
from weft.tasks.dense_stages import Attention, Auxiliary, Refine
from weft.tasks.exchange import Origin, answer_path, write_sidecar
from weft.tasks.pixel_values import PixelValues
from weft.types import Answer, FeatureSpec, Records

_LOSS = Part("loss", "l1")

#: Ratios of prediction and truth that the figures delta_1.25, delta_1.25^2 and delta_1.25^3 allow.
_RATIOS = {"delta_1.25": 1.25, "delta_1.25^2": 1.25**2, "delta_1.25^3": 1.25**3}


@register("task", "pixel_regression")
class PixelRegression(DenseTask):
    """A value for every pixel, at the size of the input, in the target's own unit.

    The network answers in units of the training split's spread around its mean, and so is the loss measured. Unknown
    pixels are in nothing.

    Figures, over all known pixels of the data set (not averaged over images): MAE, RMSE, PSNR in dB; abs_rel, the mean
    of |prediction − truth| / truth, and delta_1.25, the share with max(prediction / truth, truth / prediction) < 1.25
    (and its square and cube), over known pixels whose truth is positive.

    Args:
        decoder: turns the pyramid of features into one map.
        loss: of the values: l1, mse, huber or scale_invariant; a list of losses is added up, each with its `weight`.
        output: linear, or positive: answers are above zero; auto is positive where all values of the training split
            are.
        dropout: probability of hiding a channel of the decoder's map in training.
        attention: self-attention over the deepest map before the decoder.
        refine: a second stage that reads a finer map and the coarse answer of the first.
        auxiliary: heads on the maps that the decoder reads, in training only (deep supervision).
        data_range: the range of values that PSNR is measured against; by default that of the training split.
    """

    Target = PixelValues
    answer: Answer = "values"
    main_figure = "RMSE"
    higher_is_better: ClassVar[dict[str, bool]] = {
        "MAE": False,
        "RMSE": False,
        "PSNR": True,
        "abs_rel": False,
        "delta_1.25": True,
        "delta_1.25^2": True,
        "delta_1.25^3": True,
    }
    field: PixelValues

    def __init__(
        self,
        views: dict[str, FeatureSpec],
        field: PixelValues,
        *,
        decoder: Annotated[Part, "decoder"] = DECODER,
        loss: Losses = _LOSS,
        output: Literal["auto", "linear", "positive"] = "auto",
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.0,
        attention: Attention | None = None,
        refine: Refine | None = None,
        auxiliary: Auxiliary | None = None,
        data_range: Annotated[float, Range(0, open_low=True)] | None = None,
    ) -> None:
        design = DenseDesign(decoder, dropout, attention, refine, auxiliary)
        super().__init__(views, field, design=design, num_channels=1)
        self.criterion = build_loss(loss, TargetFacts("values", maps=True))
        self.positive = field.low > 0 if output == "auto" else output == "positive"
        if needs_positive(self.criterion) and not self.positive:
            raise ValueError(
                "the loss takes logarithms and answers may be negative; say `output: positive`, or choose another loss"
            )
        self.data_range = field.high - field.low if data_range is None else data_range

    def loss(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) over known pixels; the sum of every stage, by its weight, and the count of the answer.

        Args:
            logits: (P, 1, H, W), or those of all stages.
            target: (P, 1, H, W), `field.unknown` where there is no value.
        """
        known = self._known_only(target)
        total, count = logits[:0].float().sum(), self.count(target)
        for weight, stage in self.stages_of(logits):
            stage_sum, _ = self.criterion(self.predict(stage) / self.field.std, known)
            total = total + weight * stage_sum
        return total, count

    def count(self, target: Tensor) -> Tensor:
        """Known pixels."""
        return self.criterion.count(self._known_only(target))

    def predict(self, logits: Tensor) -> Tensor:
        """(P, 1, H, W) values in the target's unit."""
        centred = self.answer_of(logits).float() + self.field.mean / self.field.std
        return self.field.std * (F.softplus(centred) if self.positive else centred)

    def logits_of(self, prediction: Tensor, *, size: tuple[int, int]) -> Tensor:
        """See `Task.logits_of`."""
        centred = prediction / self.field.std
        if self.positive:  # the inverse of softplus, log(eˣ − 1), so that it overflows nowhere
            centred = centred.clamp(min=torch.finfo(centred.dtype).tiny)
            centred = centred + (-torch.expm1(-centred)).log()
        return centred - self.field.mean / self.field.std

    def records(self, prediction: Tensor, target: Tensor, ids: list[str]) -> Records:
        """Sums and counts per sample, in float64.

        Args:
            prediction: (P, 1, H, W).
            target: (P, 1, H, W).
            ids: the P sample ids.
        """
        said, truth = prediction.flatten(1).double(), target.flatten(1).double()
        known = self._is_known(target.flatten(1))
        error = torch.where(known, said - truth, 0).abs()
        above = known & (truth > 0)
        divisor = torch.where(above, truth, 1)
        # a prediction that is not positive has no ratio within any bound
        factor = torch.where(above & (said > 0), torch.maximum(said / divisor, divisor / said), torch.inf)
        rows = {
            "count": known.sum(1),
            "absolute": error.sum(1),
            "squared": error.square().sum(1),
            "count_positive": above.sum(1),
            "relative": torch.where(above, error / divisor, 0).sum(1),
            **{name: (factor < bound).sum(1) for name, bound in _RATIOS.items()},
        }
        return Records(ids=list(ids), rows={name: values.cpu().numpy() for name, values in rows.items()})

    def figures(self, records: Records) -> dict[str, float]:
        """MAE, RMSE, PSNR, abs_rel and the three deltas."""
        sums = {name: values.sum() for name, values in records.rows.items()}
        squared = float(ratio(sums["squared"], sums["count"]))
        return {
            "MAE": float(ratio(sums["absolute"], sums["count"])),
            "RMSE": math.sqrt(squared),
            "PSNR": 10 * math.log10(self.data_range**2 / squared) if squared else math.inf,
            "abs_rel": float(ratio(sums["relative"], sums["count_positive"])),
            **{name: float(ratio(sums[name], sums["count_positive"])) for name in _RATIOS},
        }

    def units(self) -> dict[str, str]:
        """Errors are in the unit of the target."""
        return {"MAE": self.field.unit, "RMSE": self.field.unit, "PSNR": "dB"}

    def badness(self, records: Records) -> np.ndarray:
        """(n,) mean absolute error of a sample; 0 where nothing is known."""
        return records.rows["absolute"] / records.rows["count"].clip(min=1)

    def write(self, prediction: np.ndarray, origin: Origin, folder: Path) -> None:
        """A 16-bit PNG at the sample's own size, and `values.json` once: value = stored · scale + offset.

        Depth in metres is stored in millimetres.

        Args:
            prediction: (1, h, w) values.
            origin: what it is of.
            folder: where to.
        """
        values = cv2.resize(prediction[0].astype(np.float32), origin.size[::-1], interpolation=cv2.INTER_LINEAR)
        scale, offset = self._storage()
        stored = np.round((values - offset) / scale).clip(1, 65535)  # from 1: a stored 0 is read as "not known"
        Image.fromarray(stored.astype(np.uint16)).save(answer_path(folder, origin.id, ".png"))
        meaning = {"value": "stored * scale + offset", "scale": scale, "offset": offset, "unit": self.field.unit}
        write_sidecar(folder / "values.json", meaning)

    def draw(self, prediction: np.ndarray, background: Image.Image) -> Image.Image:
        """The values by a colour map over the training split's range, at the background's size."""
        picture = paint_values(prediction[0], self.field.low, self.field.high)
        return Image.fromarray(picture).resize(background.size, Image.Resampling.NEAREST)

    def draw_truth(self, target: np.ndarray, background: Image.Image) -> Image.Image:
        """The same of a target, unknown pixels grey."""
        return self.field.draw(target).resize(background.size, Image.Resampling.NEAREST)

    def draw_error(self, prediction: np.ndarray, target: np.ndarray, background: Image.Image) -> Image.Image:
        """The absolute error from none (dark) to one spread of the training split (light), unknown pixels grey."""
        truth = target[..., 0]
        error = np.where(self.field.known(truth), np.abs(prediction[0] - truth), np.nan)
        picture = paint_values(error, 0, self.field.std, name="magma")
        return Image.fromarray(picture).resize(background.size, Image.Resampling.NEAREST)

    def _is_known(self, target: Tensor) -> Tensor:
        return torch.isfinite(target) & (target != self.field.unknown)

    def _known_only(self, target: Tensor) -> Tensor:
        """The target in units of the loss, with the losses' mark for what is not known."""
        return torch.where(self._is_known(target), target.float() / self.field.std, torch.nan)

    def _storage(self) -> tuple[float, float]:
        """(scale, offset): a power of ten that leaves room for answers beyond the training split's range."""
        span = max(abs(self.field.high), self.field.high - self.field.low)
        offset = 0.0 if self.positive or self.field.low >= 0 else self.field.low - span
        return 10.0 ** math.ceil(math.log10(max(2 * span, self.field.std) * (2 if offset else 1) / 65535)), offset
