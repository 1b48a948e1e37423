"""Edges: the probability of a boundary at every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.losses.weighted_sum import Losses, build_loss, wants_counts
from weft.metrics.curves import Curves
from weft.metrics.edges import THRESHOLDS, EdgeCounts, Matching, count_edges, distance_to, reach_of, thinned
from weft.modalities.base import Facts
from weft.registry import Part, Range, register
from weft.tasks.colours import over
from weft.tasks.dense import DECODER, DenseDesign, DenseTask
from weft.tasks.dense_stages import Attention, Auxiliary, Refine
from weft.tasks.edge_map import EDGE, OUTSIDE, UNKNOWN, EdgeMap, widened
from weft.tasks.exchange import Origin, answer_path, write_sidecar
from weft.types import Answer, FeatureSpec, Records

_LOSS = Part("loss", "balanced_binary_cross_entropy")

#: Of pictures: answers near a true edge, answers far from any, true edges that were missed.
_RIGHT, _WRONG, _MISSED = (30, 170, 60), (230, 40, 40), (40, 90, 230)


@register("task", "edges")
class Edges(DenseTask):
    """The probability of a boundary at every pixel, at the size of the input.

    Answer and truth are thinned to one pixel before they are matched within a distance. Precision is the share of the
    answered pixels that match, recall that of the true ones, F their harmonic mean. Figures, from pixels summed over
    the data set: ODS is F at the one threshold that is best for all samples, OIS F with each sample at its own best,
    AP the mean precision over recall, F that at the threshold which was best on the validation part. ODS and OIS choose
    by the samples that they are told of, as is usual.

    Args:
        decoder: turns the pyramid of features into one map.
        loss: of the logits per pixel; a list of losses is added up, each with its `weight`.
        dropout: probability of hiding a channel of the decoder's map in training.
        attention: self-attention over the deepest map before the decoder.
        refine: a second stage that reads a finer map and the coarse answer of the first.
        auxiliary: heads on the maps that the decoder reads, in training only (deep supervision).
        tolerance: an answer matches a true edge at most so far away, as a share of the picture's diagonal.
        matching: exact: every pixel matches one other at most, as in the Berkeley benchmark; nearest: any number may
            match the same one: about ten times as fast, and kinder.

    References: Martin, Fowlkes and Malik, TPAMI 2004, doi:10.1109/TPAMI.2004.1273918; Arbeláez et al., TPAMI 2011,
    doi:10.1109/TPAMI.2010.161.
    """

    Target = EdgeMap
    answer: Answer = "labels"
    main_figure = "ODS"
    higher_is_better: ClassVar[dict[str, bool]] = {"ODS": True, "OIS": True, "AP": True, "F": True}
    field: EdgeMap

    def __init__(
        self,
        views: dict[str, FeatureSpec],
        field: EdgeMap,
        *,
        decoder: Annotated[Part, "decoder"] = DECODER,
        loss: Losses = _LOSS,
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.0,
        attention: Attention | None = None,
        refine: Refine | None = None,
        auxiliary: Auxiliary | None = None,
        tolerance: Annotated[float, Range(0, 1)] = 0.0075,
        matching: Matching = "exact",
    ) -> None:
        self._tolerance = tolerance
        self._matching: Matching = matching
        design = DenseDesign(decoder, dropout, attention, refine, auxiliary)
        super().__init__(views, field, design=design, num_channels=1)
        self.criterion = build_loss(loss, field.loss_target())
        self.register_buffer("threshold", torch.tensor(0.5))

    @classmethod
    def brings(cls, options: Mapping[str, Any]) -> Facts:
        """See `Task.brings`: whether the loss needs the edges counted."""
        return {"counted": True} if wants_counts(options.get("loss", _LOSS)) else {}

    def loss(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) over known pixels; the sum of every stage, by its weight, and the count of the answer.

        Args:
            logits: (P, 1, H, W), or those of all stages.
            target: (P, H, W) codes of `EdgeMap`.
        """
        truth = widened(target, self.field.width)
        total = logits[:0].float().sum()
        for weight, stage in self.stages_of(logits):
            total = total + weight * self.criterion(stage, truth)[0]
        return total, self.criterion.count(truth)

    def count(self, target: Tensor) -> Tensor:
        """Known pixels."""
        return self.criterion.count(widened(target, self.field.width))

    def predict(self, logits: Tensor) -> Tensor:
        """(P, 1, H, W) probabilities."""
        return self.answer_of(logits).float().sigmoid()

    def records(self, prediction: Tensor, target: Tensor, ids: list[str]) -> Records:
        """Per sample and threshold: pixels `answered`, `right` and `found`; `actual`; and the three at its best.

        Args:
            prediction: (P, 1, H, W) probabilities.
            target: (P, H, W) codes.
            ids: the P sample ids.
        """
        answers, truths = prediction[:, 0].float().cpu().numpy(), target.cpu().numpy()
        counts = [self._counts(answer, truth) for answer, truth in zip(answers, truths, strict=True)]
        best = [_best(one) for one in counts]
        parts = {name: [getattr(one, name) for one in counts] for name in ("answered", "right", "found")}
        rows = {
            **{name: np.array(values, np.int64).reshape(-1, len(THRESHOLDS)) for name, values in parts.items()},
            "actual": np.array([one.actual for one in counts], np.int64),
            **{
                f"best_{name}": np.array([values[place] for values, place in zip(parts[name], best, strict=True)])
                for name in parts
            },
        }
        return Records(ids=list(ids), rows=rows)

    def figures(self, records: Records) -> dict[str, float]:
        """ODS, OIS, AP and F; what they mean is in the class's description."""
        rows = {name: values.sum(0) for name, values in records.rows.items()}
        if not rows["actual"]:
            return dict.fromkeys(("ODS", "OIS", "AP", "F"), float("nan"))
        whole = EdgeCounts(rows["answered"], rows["right"], rows["found"], rows["actual"])
        own = _at_best(rows)
        return {
            "ODS": float(whole.f.max()),
            "OIS": float(own.f),
            "AP": whole.average_precision,
            "F": float(whole.f[self._place]),
        }

    def tune(self, records: Records) -> None:
        """The threshold of ODS: for F, and for pictures of right and wrong."""
        if len(records):
            sums = {name: records.rows[name].sum(0) for name in ("answered", "right", "found", "actual")}
            self.get_buffer("threshold").fill_(float(THRESHOLDS[_best(EdgeCounts(**sums))]))

    def curves(self, records: Records) -> tuple[Curves, ...]:
        """Precision against recall over the thresholds, with the places of ODS, OIS and F."""
        rows = {name: values.sum(0) for name, values in records.rows.items()}
        whole, own = EdgeCounts(rows["answered"], rows["right"], rows["found"], rows["actual"]), _at_best(rows)
        if not whole.actual:
            return ()
        recall, precision = 100 * whole.recall, 100 * whole.precision
        places = {"ODS": _best(whole), "F": self._place}
        points = {
            name: (float(recall[place]), float(precision[place]))
            for name, place in places.items()
            if whole.answered[place]
        }
        if own.answered:
            points["OIS"] = (100 * float(own.recall), 100 * float(own.precision))
        line = [(float(recall[p]), float(precision[p])) for p in reversed(range(len(THRESHOLDS))) if whole.answered[p]]
        at = {name: f"{THRESHOLDS[place]:.2f}" for name, place in places.items()}
        about = f"all samples at {at['ODS']} (ODS), at {at['F']} as chosen before (F), each at its own threshold (OIS)"
        return (Curves("precision against recall", "recall, %", "precision, %", {"all samples": line}, points, about),)

    def badness(self, records: Records) -> np.ndarray:
        """(n,) 1 − F of each sample at its best threshold."""
        return 1 - _at_best(records.rows).f

    def write(self, prediction: np.ndarray, origin: Origin, folder: Path) -> None:
        """An 8-bit PNG of probabilities at the sample's own size, not thinned, and `edges.json` once.

        Args:
            prediction: (1, h, w) probabilities.
            origin: what it is of.
            folder: where to.
        """
        values = cv2.resize(prediction[0].astype(np.float32), origin.size[::-1], interpolation=cv2.INTER_LINEAR)
        stored = np.round(values.clip(0, 1) * 255).astype(np.uint8)
        Image.fromarray(stored).save(answer_path(folder, origin.id, ".png"))
        meaning = {"value": "probability of an edge = stored / 255", "threshold": float(self.get_buffer("threshold"))}
        write_sidecar(folder / "edges.json", meaning)

    def draw(self, prediction: np.ndarray, background: Image.Image) -> Image.Image:
        """The probabilities, dark on white, at the background's size."""
        greys = np.round(255 * (1 - prediction[0].clip(0, 1))).astype(np.uint8)
        return Image.fromarray(greys).resize(background.size, Image.Resampling.BILINEAR).convert("RGB")

    def draw_truth(self, target: np.ndarray, background: Image.Image) -> Image.Image:
        """The same of a target, grey where nothing is known."""
        return self.field.draw(target).resize(background.size, Image.Resampling.NEAREST).convert("RGB")

    def draw_error(self, prediction: np.ndarray, target: np.ndarray, background: Image.Image) -> Image.Image:
        """Answers at the threshold near a true edge green, the others red, missed edges blue, over a pale image."""
        answer, truth, known = self._thin(prediction[0], self.field.edges(target))
        said = answer >= float(self.get_buffer("threshold"))
        reach = reach_of(truth.shape, self._tolerance)
        near, found = distance_to(truth) <= reach, distance_to(said) <= reach
        picture = np.zeros((*truth.shape, 3), np.uint8)
        picture[truth & ~found] = _MISSED
        picture[said & near] = _RIGHT
        picture[said & ~near & known] = _WRONG
        strength = np.where(picture.any(-1), 1.0, 0.0)
        pale = Image.blend(background.convert("L").convert("RGB"), Image.new("RGB", background.size, "white"), 0.6)
        return over(pale, picture, strength)

    @property
    def _place(self) -> int:
        """The place among `THRESHOLDS` of the one that was chosen."""
        return int(np.abs(THRESHOLDS - float(self.get_buffer("threshold"))).argmin())

    def _counts(self, answer: np.ndarray, codes: np.ndarray) -> EdgeCounts:
        """Of one sample, without its padding."""
        inside = codes != OUTSIDE
        height, width = (1 + int(np.flatnonzero(inside.any(axis)).max(initial=-1)) for axis in (1, 0))
        answer, truth, known = self._thin(answer[:height, :width], codes[:height, :width])
        return count_edges(answer, truth, known, reach=reach_of(truth.shape, self._tolerance), matching=self._matching)

    @staticmethod
    def _thin(answer: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(H, W) each: thin probabilities, thin true edges, and where it is known."""
        return thinned(answer), thinned((codes == EDGE).astype(np.float32)) > 0, (codes != UNKNOWN) & (codes != OUTSIDE)


def _best(counts: EdgeCounts) -> int:
    """The place of the threshold with the largest F, of several the highest threshold: it answers least."""
    return len(THRESHOLDS) - 1 - int(counts.f[::-1].argmax())


def _at_best(rows: Mapping[str, np.ndarray]) -> EdgeCounts:
    """The counts of every sample at its own best threshold, or their sums."""
    return EdgeCounts(rows["best_answered"], rows["best_right"], rows["best_found"], rows["actual"])
