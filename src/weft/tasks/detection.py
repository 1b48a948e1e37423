"""Detection: boxes around objects, each with a class and a score."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from weft.box_fusion import fused, surest
from weft.boxes import ANSWERED_CLASS, LEFT, NUM_CORNERS, RIGHT, SCORE
from weft.metrics import detection as measures
from weft.metrics.box_matching import AREAS, LEFT_OUT, match
from weft.metrics.box_matching import RIGHT as FOUND
from weft.metrics.confusion import mean_known
from weft.metrics.curves import Curves
from weft.modalities.base import Lines
from weft.registry import Range, register
from weft.tasks.base import Task
from weft.tasks.box_pictures import answered, errors, objects
from weft.tasks.boxes import Boxes
from weft.tasks.coco_results import add_entries, category_ids, detections, image_id
from weft.tasks.colours import palette
from weft.tasks.detection_curves import curves_of, place_of
from weft.tasks.detection_head import PyramidHead, boxes_of
from weft.tasks.detection_loss import count_of, detection_loss
from weft.tasks.exchange import Origin, write_sidecar
from weft.types import Answer, FeatureSpec, Need, Records

#: Strides of the levels that are read where nothing is said.
_STRIDES = (8, 16, 32)
#: Answers of a sample that go into non-maximum suppression, and the score below which none does, as in FCOS.
_CANDIDATES, _LOWEST_SCORE = 1000, 0.05
#: The score from which on a box is shown and counted before the validation part has chosen one.
_START = 0.5


@register("task", "detection")
class Detection(Task):
    """Boxes around objects, any number of them, each with a class and a score: FCOS on the fused pyramid.

    Every place of the pyramid says what is there and how far its box reaches; of boxes of one class that overlap by
    more than 0.6 the surest is kept. An object that lies between the places of the finest stride cannot be learned:
    give finer `strides` where objects are smaller. The loss sums over places; its count is the number of places with an
    object, and at least one for each sample, so that pictures of background count as well.

    Figures, over all boxes of the data set: AP is COCO's average precision, the mean over classes and overlaps from 0.5
    to 0.95, AP50 and AP75 at one overlap, AP_small, AP_medium and AP_large of objects below 32², to 96² and above, in
    pixels of the working size; VOC_AP is Pascal VOC's since 2010. count_error is the mean over samples and classes of
    how far the number of boxes with at least the score `threshold` is from the number of objects.

    Args:
        strides: of the levels that are read, from fine to coarse; one that the features lack is made of the one before.
        width: channels of the pyramid and the head.
        depth: convolutions of the head before its answers.
        radius: how far from the middle of an object its places lie, in strides.
        max_boxes: at most so many boxes of a sample are answered.
        threshold: boxes of at least this score are shown and counted; average precision knows nothing of it. tuned:
            the one with the largest F1 on the validation part, over all classes, saved with the weights.

    References: Tian et al., ICCV 2019, arXiv:1904.01355, and IEEE TPAMI 44, 2022, arXiv:2006.09214.
    """

    Target = Boxes
    need: ClassVar[Need] = "maps"
    answer: Answer = "boxes"
    main_figure = "AP"
    higher_is_better: ClassVar[dict[str, bool]] = {
        **dict.fromkeys(("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "VOC_AP"), True),
        "count_error": False,
    }
    tables: ClassVar[tuple[str, ...]] = ("detections.json", "images.json", "categories.json")
    field: Boxes

    def __init__(
        self,
        views: dict[str, FeatureSpec],
        field: Boxes,
        *,
        strides: tuple[int, ...] = _STRIDES,
        width: Annotated[int, Range(8)] = 128,
        depth: Annotated[int, Range(0)] = 2,
        radius: Annotated[float, Range(0, open_low=True)] = 1.5,
        max_boxes: Annotated[int, Range(1)] = 100,
        threshold: Annotated[float, Range(0, 1)] | Literal["tuned"] = "tuned",
    ) -> None:
        self.classes = list(field.classes)
        self.strides, self.radius, self.max_boxes = tuple(strides), radius, max_boxes
        self._width, self._depth = width, depth
        super().__init__(views, field)
        self._tuned = threshold == "tuned"
        self.register_buffer("threshold", torch.tensor(_START if threshold == "tuned" else threshold))

    @classmethod
    def strides_read(cls, options: Mapping[str, Any]) -> tuple[int, ...] | None:
        """See `Task.strides_read`."""
        return tuple(options.get("strides", _STRIDES))

    def build_head(self, spec: FeatureSpec) -> nn.Module:
        """A feature pyramid and two towers."""
        return PyramidHead(spec, len(self.classes), strides=self.strides, width=self._width, depth=self._depth)

    def loss(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count): see `detection_loss`.

        Args:
            logits: (P, A, K + 8) as the head gives them.
            target: (P, n, 7).
        """
        return detection_loss(logits, target, len(self.classes), radius=self.radius)

    def count(self, target: Tensor) -> Tensor:
        """Places with an object, of each sample at least one."""
        return count_of(target, self.strides, radius=self.radius)

    def predict(self, logits: Tensor) -> Tensor:
        """(P, N, 6) corners in pixels of the batch's images, score and class, from the highest score to the lowest;
        rows of zeros fill up to `max_boxes`.
        """
        scores, centre, reach, places = logits.float().split((len(self.classes), 1, 4, 3), -1)
        sure = (scores.sigmoid() * centre.sigmoid()).sqrt()  # (P, A, K), eq. 2 of the second reference
        corners = boxes_of(reach, places)
        rows = [self._surest(*one) for one in zip(corners, sure, strict=True)]
        return torch.stack(rows) if rows else logits.new_zeros(0, self.max_boxes, NUM_CORNERS + 2)

    def _surest(self, corners: Tensor, sure: Tensor) -> Tensor:
        """(N, 6) of one sample's (A, 4) boxes and (A, K) scores."""
        score, which = sure.flatten().topk(min(_CANDIDATES, sure.numel()))
        score, which = score[score > _LOWEST_SCORE], which[score > _LOWEST_SCORE]
        place, number = which // sure.shape[1], which % sure.shape[1]
        return surest(torch.column_stack([corners[place], score, number]), most=self.max_boxes)

    def undo(self, prediction: Tensor, *, flipped: bool, size: tuple[int, int], original: tuple[int, int]) -> Tensor:
        """(P, N, 6) boxes brought back from a mirrored or resized look."""
        left, top, right, bottom, *rest = prediction.unbind(-1)
        if flipped:
            there = rest[0] > 0
            left, right = torch.where(there, size[1] - right, 0), torch.where(there, size[1] - left, 0)
        down, across = original[0] / size[0], original[1] / size[1]
        return torch.stack([left * across, top * down, right * across, bottom * down, *rest], -1)

    def together(self, predictions: list[Tensor]) -> Tensor:
        """(P, N, 6) boxes of several looks, those that overlap averaged."""
        return torch.stack([fused(list(looks), most=self.max_boxes) for looks in zip(*predictions, strict=True)])

    def records(self, prediction: Tensor, target: Tensor, ids: list[str]) -> Records:
        """Per sample the scores and classes of its answers (n, N), what `became` of them (n, N, 4, 10), by VOC's rule
        `voc` (n, N), and the `actual` objects of each class and range of areas (n, K, 4).

        Args:
            prediction: (P, N, 6).
            target: (P, n, 7).
            ids: the P sample ids.
        """
        answers, truth = (rows.cpu().double().numpy() for rows in (prediction, target))
        matched = match(answers, truth, len(self.classes))
        return Records(
            ids=list(ids),
            rows={
                "score": answers[..., SCORE].astype(np.float32),
                "class": answers[..., ANSWERED_CLASS].astype(np.int16),
                "became": matched.coco,
                "voc": matched.voc,
                "actual": matched.actual,
            },
        )

    def figures(self, records: Records) -> dict[str, float]:
        """AP and its parts, VOC_AP, count_error, and AP and count_error of each class."""
        actual = records.rows["actual"].sum(0)
        precision = measures.coco_average_precision(self._ranked(records, "became"), actual)  # (K, 4, 10)
        voc = measures.voc_average_precision(self._ranked(records, "voc"), actual[:, 0])
        wrong = np.abs(self._said(records) - records.rows["actual"][..., 0])
        figures = {"AP": mean_known(precision[:, 0])}
        for name, overlap in (("AP50", 0.5), ("AP75", 0.75)):
            figures[name] = mean_known(precision[:, 0, place_of(overlap)])
        figures |= {f"AP_{name}": mean_known(precision[:, place]) for place, name in enumerate(AREAS) if place}
        figures["VOC_AP"] = mean_known(voc)
        figures["count_error"] = mean_known(wrong)
        for number, name in enumerate(self.classes):
            figures[f"AP/{name}"] = mean_known(precision[number, 0])
            figures[f"count_error/{name}"] = mean_known(wrong[:, number])
        return figures

    def units(self) -> dict[str, str]:
        """Counts are of objects in a sample."""
        return {"count_error": "objects"}

    def tune(self, records: Records) -> None:
        """See `Task.tune`: the score with the largest F1 at an overlap of 0.5; as before where nothing is right."""
        if self._tuned:
            scores, became = records.rows["score"].ravel(), records.rows["became"][..., 0, 0].ravel()
            best = measures.best_threshold(
                scores[scores > 0], became[scores > 0], int(records.rows["actual"][..., 0].sum())
            )
            if np.isfinite(best):
                self.get_buffer("threshold").fill_(best)

    def curves(self, records: Records) -> tuple[Curves, ...]:
        """Precision against recall of each class at two overlaps, and average precision over all of them."""
        actual = records.rows["actual"].sum(0)
        return curves_of(self.classes, self._ranked(records, "became"), actual, least=self.least)

    def counts(self, records: Records) -> dict[str, tuple[int, int]]:
        """See `Task.counts`: objects, and boxes of at least `threshold` that are counted."""
        actual, said = records.rows["actual"][..., 0].sum(0), self._said(records).sum(0)
        return {name: (int(a), int(s)) for name, a, s in zip(self.classes, actual, said, strict=True)}

    def badness(self, records: Records) -> np.ndarray:
        """(n,) boxes of at least `threshold` that are wrong, and objects that none of them found, at 0.5."""
        became, shown = records.rows["became"][..., 0, 0], self._shown(records)
        right = (shown & (became == FOUND)).sum(1)
        said, actual = (shown & (became != LEFT_OUT)).sum(1), records.rows["actual"][..., 0].sum(1)
        return (said - right + actual - right).astype(np.float64)

    def write(self, prediction: np.ndarray, origin: Origin, folder: Path) -> None:
        """Entries in `detections.json`, COCO's results, in pixels of the sample's own image; in `images.json` which
        number is which sample; `categories.json` once.

        Args:
            prediction: (N, 6).
            origin: what it is of.
            folder: where to.
        """
        rows = prediction[prediction[:, SCORE] > 0].astype(np.float64)
        extent = np.array(origin.size[::-1] * 2)
        rows[:, LEFT : LEFT + NUM_CORNERS] = (rows[:, :NUM_CORNERS] * (origin.scale * 2)).clip(0, extent)
        ids = category_ids(self.field.facts, self.classes)
        add_entries(folder / "detections.json", detections(rows, origin.id, ids))
        add_entries(folder / "images.json", [{"id": image_id(origin.id), "sample": origin.id}])
        categories = [{"id": number, "name": name} for number, name in zip(ids, self.classes, strict=True)]
        write_sidecar(folder / "categories.json", {"categories": categories, "threshold": self.least})

    def told(self, prediction: np.ndarray) -> Lines:
        """A line for each box of at least `threshold`: its class, and its score and corners."""
        return tuple(
            (
                self.classes[int(row[ANSWERED_CLASS])],
                f"{row[SCORE]:.2f} from ({row[0]:.0f}, {row[1]:.0f}) to ({row[RIGHT]:.0f}, {row[3]:.0f})",
            )
            for row in self._sure(prediction)
        )

    def colours(self) -> dict[str, tuple[int, int, int]]:
        """The colours of frames."""
        rows = palette(len(self.classes)).tolist()
        return {name: (red, green, blue) for name, (red, green, blue) in zip(self.classes, rows, strict=True)}

    def draw(self, prediction: np.ndarray, background: Image.Image) -> Image.Image:
        """Frames with names and scores for boxes of at least `threshold`, over the sample's image."""
        return answered(background, self._sure(prediction), self.classes)

    def draw_truth(self, target: np.ndarray, background: Image.Image) -> Image.Image:
        """The same of a target; what is ignored in grey."""
        return objects(background, target, self.classes)

    def draw_error(self, prediction: np.ndarray, target: np.ndarray, background: Image.Image) -> Image.Image:
        """Boxes green where they found an object, red where not; objects that none found yellow."""
        return errors(background, self._sure(prediction), target.astype(np.float64), self.classes)

    @property
    def least(self) -> float:
        """The score from which on a box is shown and counted."""
        return float(self.get_buffer("threshold"))

    def _sure(self, prediction: np.ndarray) -> np.ndarray:
        """(n, 6) the boxes that are shown."""
        score = prediction[:, SCORE]
        return prediction[(score > 0) & (score >= self.least)].astype(np.float64)

    def _shown(self, records: Records) -> np.ndarray:
        """(n, N) bool: answers that are shown and counted."""
        score = records.rows["score"]
        return (score > 0) & (score >= self.least)

    def _said(self, records: Records) -> np.ndarray:
        """(n, K) how many objects of each class are answered; those that found what is ignored are left out."""
        shown = self._shown(records) & (records.rows["became"][..., 0, 0] != LEFT_OUT)
        classes = records.rows["class"]
        return np.stack([(shown & (classes == number)).sum(1) for number in range(len(self.classes))], 1)

    def _ranked(self, records: Records, became: str) -> measures.Ranked:
        rows = records.rows
        return measures.Ranked.of(rows["score"], rows["class"], rows[became], len(self.classes))
