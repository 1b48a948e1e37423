"""What every task is: how an answer gets out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from weft.metrics.calibration import Reliability
from weft.metrics.curves import Curves
from weft.modalities.base import NO_FACTS, Facts, Field, Lines
from weft.probabilities import log_odds, log_probabilities
from weft.tasks.exchange import Origin
from weft.types import Answer, Features, FeatureSpec, Need, Records


class Task(nn.Module, ABC):
    """Heads, a loss, a metric, and the way answers are written and drawn.

    A constructor takes `views: dict[str, FeatureSpec]` (the views it reads, a head for each), `field` (the target's
    `Field`, fitted) and keyword-only options. `Target`'s options and the task's are one set of options in a
    configuration.

    Attributes:
        Target: the class of the target's field.
        need: what it needs of every view it reads.
        over_time: of a task that needs maps, whether it answers for every frame of a clip; others answer for a picture.
        answer: what `predict` returns: exclusive classes (probabilities over axis 1), independent labels
            (probabilities), values, or boxes (see `weft.types.Answer`).
        field: the target's field, fitted.
        heads: {view: head}.
        main_figure: the figure that a checkpoint is chosen by, one of those `figures` returns.
        higher_is_better: {figure name: whether larger is better}, by the part of the name before "/".
        additive: whether `figures` follow from the sums of the rows over the samples, none of which is NaN: then
            resampling adds rows instead of copying them.
        tables: files that `write` appends a row to for every sample; each run of answers begins them anew.
    """

    Target: ClassVar[type[Field]]
    need: ClassVar[Need]
    over_time: ClassVar[bool] = False
    answer: Answer
    main_figure: str
    higher_is_better: ClassVar[Mapping[str, bool]]
    additive: ClassVar[bool] = False
    tables: ClassVar[tuple[str, ...]] = ()
    field: Field
    heads: nn.ModuleDict

    def __init__(self, views: Mapping[str, FeatureSpec], field: Field) -> None:
        super().__init__()
        self.field = field
        for view, spec in views.items():
            if self.need not in spec.provides:
                raise ValueError(
                    f"{type(self).__name__} needs {self.need} and view {view!r} is a {spec.layout}, which has none; "
                    f"give it a view of {'clips' if self.need == 'frames' else 'image-like modalities'}"
                )
            if self.need == "maps" and spec.layout == "clip" and not self.over_time:
                raise ValueError(
                    f"{type(self).__name__} answers for one picture, and view {view!r} is a clip; let it read, by "
                    "`over`, a view of pictures, or choose a task that answers for every frame"
                )
        self.heads = nn.ModuleDict({view: self.build_head(spec) for view, spec in views.items()})

    @abstractmethod
    def build_head(self, spec: FeatureSpec) -> nn.Module:
        """A head for one view: called as `head(features, size)`."""

    @classmethod
    def strides_read(cls, options: Mapping[str, Any]) -> tuple[int, ...] | None:
        """Strides of the maps that its heads read besides the deepest, with these options; None: all that there are.

        Of every pyramid the levels nearest to them are kept; the others are neither fused nor decoded.
        """
        return None if cls.need == "maps" else ()

    @classmethod
    def brings(cls, options: Mapping[str, Any]) -> Facts:
        """Facts that these options bring to its target before any data is read, JSON-able; kept in the run."""
        return NO_FACTS

    def forward(self, features: Features, *, view: str, size: tuple[int, int]) -> Tensor:
        """Logits (P, ...) of one view; dense ones are (P, K, H, W) at `size`, the size of the batch's images.

        In training a dense task may leave them coarser, for its `loss` to bring them to pixels piece by piece.
        """
        return self.heads[view](features, size)

    @abstractmethod
    def loss(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) in float32 over P labelled rows: both are scalars, and the mean is their quotient."""

    @abstractmethod
    def count(self, target: Tensor) -> Tensor:
        """The count that `loss` returns, from the target alone."""

    @abstractmethod
    def predict(self, logits: Tensor) -> Tensor:
        """Probabilities or values (P, ...): what the decision rule combines and what is written."""

    def alike(self, logits: dict[str, Tensor]) -> dict[str, Tensor]:
        """{view: logits (P, ...)} at one size, so that they can be combined: as they are, where maps cannot differ."""
        return logits

    def logits_of(self, prediction: Tensor, *, size: tuple[int, int]) -> Tensor:
        """Logits (P, ...) of which `predict` gives `prediction`: for the loss of an answer that views gave together.

        By default log p of classes, the log odds of labels, and values as they are. Boxes have none: no rule that
        combines them learns.

        Args:
            prediction: (P, ...) as `predict` returns them.
            size: (H, W) of the batch's images.
        """
        if self.answer == "values":
            return prediction
        return log_probabilities(prediction) if self.answer == "classes" else log_odds(prediction)

    def undo(self, prediction: Tensor, *, flipped: bool, size: tuple[int, int], original: tuple[int, int]) -> Tensor:
        """`predict`'s answer (P, ...) for samples looked at mirrored or at another size, as for the samples themselves.

        Args:
            prediction: (P, ...) as `predict` returns them.
            flipped: whether they were mirrored.
            size: (H, W) they were looked at.
            original: (H, W) of the samples themselves. Maps keep the size that they have.
        """
        return prediction.flip(-1) if flipped and self.field.geometry.has_pixels else prediction

    def together(self, predictions: list[Tensor]) -> Tensor:
        """(P, ...) one answer of several looks at the same samples, after `undo`: by default their mean.

        Args:
            predictions: (P, ...) as `predict` returns them, one for each look.
        """
        return torch.stack(predictions).mean(0)

    @abstractmethod
    def records(self, prediction: Tensor, target: Tensor, ids: list[str]) -> Records:
        """What the metric keeps of P labelled and answered rows.

        Args:
            prediction: (P, ...) as `predict` returns them.
            target: (P, ...) as collated.
            ids: the P sample ids.
        """

    @abstractmethod
    def figures(self, records: Records) -> dict[str, float]:
        """The task's figures over all samples of the records: `{"mIoU": …, "IoU/chair": …}`.

        A figure that the samples cannot tell (a class absent from truth and prediction) is NaN and in no mean.
        Confusions and curves stay with `records`; `Records.totals` may be empty (after resampling): it is not needed.
        """

    def tune(self, records: Records) -> None:
        """Choose by the validation part what is not learned, such as thresholds; nothing by default.

        Called after each scoring of that part, before its figures are told and the weights are saved: what is chosen is
        a buffer, and goes with them.
        """
        return

    def units(self) -> dict[str, str]:
        """{figure: its unit}, by the part of the name before "/", for those that are no fractions."""
        return {}

    def colours(self) -> dict[str, tuple[int, int, int]]:
        """{class: (red, green, blue)} of the task's pictures, empty where they have no legend."""
        return {}

    def curves(self, records: Records) -> tuple[Curves, ...]:
        """Lines that say more than a figure does, such as precision against recall; none by default."""
        return ()

    def counts(self, records: Records) -> dict[str, tuple[int, int]]:
        """{class: (how many there are, how many were answered)} over all samples; empty where nothing is counted."""
        return {}

    def reliability(self, records: Records) -> Reliability | None:
        """How often answers came true by the probability they were given with, or None where none is given."""
        return None

    @abstractmethod
    def badness(self, records: Records) -> np.ndarray:
        """(n,) per sample, larger is worse: for the report's worst samples."""

    def right(self, records: Records) -> np.ndarray | None:
        """(n,) bool: which answers are right; None where an answer is not simply right or wrong."""
        return None

    def classes_of(self, records: Records) -> dict[str, np.ndarray]:
        """{class: (n,) bool}: which samples truly are of each class; empty where whole samples have no class."""
        return {}

    @abstractmethod
    def write(self, prediction: np.ndarray, origin: Origin, folder: Path) -> None:
        """Write one sample's answer in the task's exchange format below `folder`.

        Args:
            prediction: one row of `predict`, padding already cut off; dense ones at the model's working size.
            origin: the sample that it is of.
            folder: where to; it is made.
        """

    def by_frame(self, prediction: np.ndarray) -> Sequence[np.ndarray]:
        """One row of `predict` frame by frame, where a clip is answered frame by frame: then these are what `draw` and
        `draw_error` take. By default nothing.
        """
        return ()

    def truth_by_frame(self, target: np.ndarray) -> Sequence[np.ndarray]:
        """The same of a target: what `draw_truth` and `draw_error` take."""
        return ()

    def describe(self, prediction: np.ndarray) -> Lines:
        """One row of `predict` in words, where words say it better than `draw`; by default nothing."""
        return ()

    def told(self, prediction: np.ndarray) -> Lines:
        """One row of `predict` for a terminal: what `describe` says, unless pictures say it better elsewhere."""
        return self.describe(prediction)

    @abstractmethod
    def draw(self, prediction: np.ndarray, background: Image.Image) -> Image.Image:
        """A picture of one row of `predict` for a person, over or beside the sample's image."""

    @abstractmethod
    def draw_truth(self, target: np.ndarray, background: Image.Image) -> Image.Image:
        """The same picture of a target as `field.read` gives it, after geometry."""

    def draw_error(self, prediction: np.ndarray, target: np.ndarray, background: Image.Image) -> Image.Image | None:
        """Where the answer is wrong, or None where the task has no such picture."""
        return None
