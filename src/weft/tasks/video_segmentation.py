"""Segmentation of every frame of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.errors import did_you_mean
from weft.losses.weighted_sum import Losses
from weft.metrics.confusion import mean_known, ratio
from weft.metrics.motion import carried
from weft.metrics.video import OverTime, boundary_f, region
from weft.registry import Part, Range, register
from weft.tasks.clip_label_map import ClipLabelMap
from weft.tasks.colours import over, paint
from weft.tasks.dense import DECODER, at_one_size, to_pixels
from weft.tasks.dense_stages import Attention, Auxiliary, Refine
from weft.tasks.exchange import Origin, answer_path
from weft.tasks.frames import by_clip, frames_in_both, stills_of
from weft.tasks.segmentation import Segmentation
from weft.types import Features, FeatureSpec, Records

#: What is measured of every frame, and what becomes of it over the frames of a clip.
_MEASURES = ("J", "F")
_OVER_TIME = ("mean", "recall", "decay")

_LOSS = Part("loss", "cross_entropy")


@register("task", "video_segmentation")
class VideoSegmentation(Segmentation):
    """A class for every pixel of every frame of a clip, at the size of the input.

    Every frame is decoded as a still is; what a frame knows of the others it knows from encoders and fusion. Frames
    without a label cost nothing and are in no figure but the consistency.

    Figures: those of `segmentation` over all labelled pixels of all frames; and of every object, J, the intersection
    over union of a frame, and F, how well the boundary of a frame is met within 0.008 of the picture's diagonal. Of
    each clip the mean over its labelled frames, the recall (share of the frames above 0.5) and the decay (the first
    quarter of the frames less the last) are taken, and J_mean, F_recall and so on are means over the clips in which the
    object occurs, in truth or answer; then over the objects. J&F_mean is the mean of J_mean and F_mean. Decay means
    what it says where a clip is a whole sequence. With `motion`, consistency is the mean IoU of a frame's answer with
    the answer to the frame before, carried along by the motion, over the pixels whose motion is known.

    Args:
        decoder: turns the pyramid of features into one map.
        loss: of the logits per pixel; a list of losses is added up, each with its `weight`.
        dropout: probability of hiding a channel of the decoder's map in training.
        attention: self-attention over the deepest map before the decoder.
        refine: a second stage that reads a finer map and the coarse answer of the first.
        auxiliary: heads on the maps that the decoder reads, in training only (deep supervision).
        objects: the classes that J, F and consistency are of; by default all.
        consistency: weight of the mean squared difference between the probabilities of a frame and those of the frame
            before, carried along by the motion; needs `motion`.

    References: Perazzi et al., CVPR 2016, section 4; for the consistency, Liu et al., ECCV 2020, arXiv:2002.11433,
    eqs. 2 and 8.
    """

    Target = ClipLabelMap
    main_figure = "J&F_mean"
    higher_is_better: ClassVar[dict[str, bool]] = {
        **Segmentation.higher_is_better,
        "J&F_mean": True,
        **{f"{measure}_{what}": what != "decay" for measure in _MEASURES for what in _OVER_TIME},
        "consistency": True,
    }
    over_time: ClassVar[bool] = True
    field: ClipLabelMap

    def __init__(
        self,
        views: dict[str, FeatureSpec],
        field: ClipLabelMap,
        *,
        decoder: Annotated[Part, "decoder"] = DECODER,
        loss: Losses = _LOSS,
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.1,
        attention: Attention | None = None,
        refine: Refine | None = None,
        auxiliary: Auxiliary | None = None,
        objects: list[str] | None = None,
        consistency: Annotated[float, Range(0)] = 0.0,
    ) -> None:
        super().__init__(
            views,
            field,
            decoder=decoder,
            loss=loss,
            dropout=dropout,
            attention=attention,
            refine=refine,
            auxiliary=auxiliary,
        )
        self.objects = self.classes if objects is None else list(objects)
        unknown = [name for name in self.objects if name not in self.classes]
        if unknown:
            hint = did_you_mean(unknown[0], self.classes)
            raise ValueError(f"objects names {unknown[0]!r}; the classes are {', '.join(self.classes)}{hint}")
        if consistency and field.motion is None:
            raise ValueError("consistency needs the motion between frames: name in `motion` the modality that shows it")
        self._consistency = consistency

    def forward(self, features: Features, *, view: str, size: tuple[int, int]) -> Tensor:
        """Logits (P, K, T, H, W) at `size`; in training those of all S stages, (P, S · K, T, h, w). 0 in frames that
        are not real.
        """
        said = super().forward(stills_of(features), view=view, size=size)
        return by_clip(said, features.frames).movedim(1, 2)

    def loss(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) over labelled pixels of all frames.

        With `consistency`, the sum has for every clip its mean squared difference times the clip's count besides.

        Args:
            logits: (P, K, T, h, w) at any size, or those of all stages.
            target: (P, T, H, W) class numbers, `field.ignore` where there is no label; or with the motion beside them.
        """
        numbers, motion = self.field.parted(target)
        said, known = logits.movedim(1, 2), self._labelled(numbers)
        both = frames_in_both(said, known)
        seen = known[:, :both]
        total, count = super().loss(said[:, :both][seen], numbers[:, :both][seen])
        if self._consistency and motion is not None:
            for clip, own in enumerate(motion[:, :both]):
                answer = to_pixels(self.answer_of(said[clip, :both]), (numbers.shape[-2], numbers.shape[-1]))
                share = self.count(target[clip : clip + 1])
                total = total + self._consistency * share * _change(answer.softmax(1), own)
        return total, count

    def count(self, target: Tensor) -> Tensor:
        """Labelled pixels of all frames, weighed as the loss weighs them."""
        numbers, _ = self.field.parted(target)
        return super().count(numbers[self._labelled(numbers)])

    def alike(self, logits: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `Task.alike`."""
        num_rows = {view: len(one) for view, one in logits.items()}
        alike = at_one_size({view: one.movedim(2, 1).flatten(0, 1) for view, one in logits.items()})
        return {view: one.unflatten(0, (num_rows[view], -1)).movedim(1, 2) for view, one in alike.items()}

    def records(self, prediction: Tensor, target: Tensor, ids: list[str]) -> Records:
        """Those of `segmentation` summed over a clip's frames; per object what J and F are over time, and whether it
        occurs; pixels of the carried and the new mask that agree (`steady`) and that either has (`either`).

        Args:
            prediction: (P, K, T, H, W) probabilities.
            target: (P, T, H, W) class numbers, or with the motion beside them.
            ids: the P sample ids.
        """
        numbers, motion = self.field.parted(target)
        both = frames_in_both(prediction.movedim(1, 2), self._labelled(numbers))
        prediction, numbers = prediction[:, :, :both], numbers[:, :both]
        stills = prediction.movedim(1, 2).flatten(0, 1)
        by_frame = super().records(stills, numbers.flatten(0, 1), [""] * len(stills))
        rows = {
            name: values.reshape(len(ids), both, *values.shape[1:]).sum(1) for name, values in by_frame.rows.items()
        }
        said = prediction.argmax(1)
        rows |= self._measured(said.cpu().numpy(), numbers.cpu().numpy())
        if motion is not None:
            rows |= self._steadiness(said, motion[:, :both])
        return Records(ids=list(ids), rows=rows, totals=by_frame.totals)

    def figures(self, records: Records) -> dict[str, float]:
        """Those of `segmentation`, and J, F and consistency; what they mean is in the class's description."""
        rows = records.rows
        per_object = {
            f"{measure}_{what}": ratio(rows[f"{measure}_{what}"].sum(0), rows["occurs"].sum(0))
            for measure in _MEASURES
            for what in _OVER_TIME
        }
        means = {name: mean_known(values) for name, values in per_object.items()}
        figures = {"J&F_mean": (means["J_mean"] + means["F_mean"]) / 2, **means}
        if "steady" in rows:
            steady = rows["steady"].sum(0)
            figures["consistency"] = mean_known(ratio(steady, rows["either"].sum(0)))
        for measure in _MEASURES:
            values = per_object[f"{measure}_mean"]
            figures.update({f"{measure}_mean/{n}": float(v) for n, v in zip(self.objects, values, strict=True)})
        return {**figures, **super().figures(records)}

    def badness(self, records: Records) -> np.ndarray:
        """(n,) 1 − the mean of J and F over the objects of a clip; 0 where none occurs."""
        rows = records.rows
        together = ratio((rows["J_mean"] + rows["F_mean"]).sum(1) / 2, rows["occurs"].sum(1))
        return np.nan_to_num(1 - together)

    def draw(self, prediction: np.ndarray, background: Image.Image) -> Image.Image:
        """The objects of one frame in their colours, over it; other classes as they are."""
        return self._painted(prediction.argmax(0), background)

    def draw_truth(self, target: np.ndarray, background: Image.Image) -> Image.Image:
        """The same of the labels of one frame."""
        return self._painted(target, background)

    def _painted(self, labels: np.ndarray, background: Image.Image) -> Image.Image:
        shown = np.isin(labels, [self.classes.index(name) for name in self.objects])
        return over(background, paint(labels, len(self.classes)), np.where(shown, 0.65, 0.0))

    def by_frame(self, prediction: np.ndarray) -> Sequence[np.ndarray]:
        """(K, h, w) of every frame."""
        return list(prediction.swapaxes(0, 1))

    def truth_by_frame(self, target: np.ndarray) -> Sequence[np.ndarray]:
        """(h, w) of every frame."""
        return list(target)

    def write(self, prediction: np.ndarray, origin: Origin, folder: Path) -> None:
        """A folder for the clip, with a PNG of class numbers a frame, named by its number: as DAVIS' tools read them.

        Args:
            prediction: (K, T, h, w) probabilities.
            origin: the clip.
            folder: where to.
        """
        own = answer_path(folder, origin.id, "")
        for number, still in zip(origin.numbers or range(prediction.shape[1]), self.by_frame(prediction), strict=True):
            self.write_labels(still, answer_path(own, f"{number:05d}", ".png"), origin.size)
        self.write_legend(folder)

    def _labelled(self, numbers: Tensor) -> Tensor:
        """(P, T) bool: the frames of which any pixel has a label."""
        return (numbers != self.field.ignore).flatten(2).any(2)

    def _measured(self, said: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
        """{J_mean, ..., F_decay: (P, O)} of clips (P, T, H, W), 0 of objects that do not occur, and `occurs` (P, O)."""
        numbers = [self.classes.index(name) for name in self.objects]
        rows = {
            f"{measure}_{what}": np.zeros((len(said), len(numbers))) for measure in _MEASURES for what in _OVER_TIME
        }
        rows["occurs"] = np.zeros((len(said), len(numbers)), np.int64)
        for clip, (answer, labels) in enumerate(zip(said, truth, strict=True)):
            known = labels != self.field.ignore
            places = np.flatnonzero(known.any((1, 2)))
            for column, number in enumerate(numbers):
                pairs = [((answer[t] == number) & known[t], labels[t] == number) for t in places]
                if not any(mask.any() for pair in pairs for mask in pair):
                    continue
                rows["occurs"][clip, column] = 1
                for measure, measured in zip(_MEASURES, (region, boundary_f), strict=True):
                    over_time = OverTime.of(np.array([measured(*pair) for pair in pairs]))
                    for what in _OVER_TIME:
                        rows[f"{measure}_{what}"][clip, column] = getattr(over_time, what)
        return rows

    def _steadiness(self, said: Tensor, motion: Tensor) -> dict[str, np.ndarray]:
        """{steady, either: (P, O)}: pixels whose motion is known and that an object has before and now, or in either.

        Args:
            said: (P, T, H, W) class numbers.
            motion: (P, T, H, W, 2) as `motion_back` gives it.
        """
        back = motion[:, 1:].flatten(0, 1)
        before = carried(said[:, :-1].flatten(0, 1)[:, None].float(), back, nearest=True)[:, 0].unflatten(
            0, (len(said), -1)
        )
        known = ~motion[:, 1:].isnan().any(-1)
        numbers = [self.classes.index(name) for name in self.objects]
        counts: dict[str, list[Tensor]] = {"steady": [], "either": []}
        for number in numbers:
            then, now = before == number, said[:, 1:] == number
            counts["steady"].append((then & now & known).flatten(1).sum(1))
            counts["either"].append(((then | now) & known).flatten(1).sum(1))
        return {name: torch.stack(columns, 1).cpu().numpy() for name, columns in counts.items()}


def _change(probabilities: Tensor, motion: Tensor) -> Tensor:
    """() mean, over the pixels whose motion is known, of Σ_k (p_t − p_{t−1} carried along)²; 0 where there is none.

    Args:
        probabilities: (T, K, H, W).
        motion: (T, H, W, 2).
    """
    back = motion[1:]
    known = ~back.isnan().any(-1)
    gap = (probabilities[1:] - carried(probabilities[:-1], back)).square().sum(1)
    return torch.where(known, gap, 0).sum() / known.sum().clamp(min=1)
