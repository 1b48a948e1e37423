"""A clip for the report, frame by frame: what went in, where the fusion looked, the truth, the answers, the errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from weft.data.collate import Sample
from weft.engine.attention import over_picture
from weft.engine.evidence import ATTENTION
from weft.modalities.base import Modality
from weft.modalities.raster import evenly
from weft.tasks.base import Task
from weft.types import Features

#: So many frames of a clip are shown, evenly spaced over it.
MOST_FRAMES = 12


@dataclass(frozen=True)
class Row:
    """One thing at every frame that is shown.

    Attributes:
        of: the modality or task.
        kind: what of it.
        pictures: one a frame.
        shares: of what the fusion looked at in the clip, that of each frame that is shown; empty where it says nothing.
    """

    of: str
    kind: str
    pictures: Sequence[Image.Image]
    shares: tuple[float, ...] = ()


@dataclass(frozen=True)
class Film:
    """The frames of one sample that are shown, and where they are drawn to.

    Attributes:
        sample: decoded and moved.
        modalities: by name.
        tasks: by name.
        still: what is drawn on where no clip shows the sample's scene.
        looked: {modality: (attention on its tokens (1, N), its features)} of the sample alone.
        size: (H, W) of the batch's images with their padding.
        parts: {part of the fusion: (1, S) what came through it from each step}.
    """

    sample: Sample
    modalities: Mapping[str, Modality]
    tasks: Mapping[str, Task]
    still: Image.Image
    looked: Mapping[str, tuple[Tensor, Features]]
    size: tuple[int, int]
    parts: Mapping[str, Tensor] = field(default_factory=dict)

    def drawn(
        self, answers: Mapping[str, np.ndarray], save: Callable[[Image.Image, str], str]
    ) -> dict[str, Any] | None:
        """What `evaluation.json` holds of it, None where nothing in the sample has frames.

        Args:
            answers: {task: one row of its `predict`} of the tasks that answered.
            save: stores a picture by a name, and says where.
        """
        rows = [*self._inputs(), *(row for name in self.tasks for row in self._answers(name, answers.get(name)))]
        if not rows:
            return None
        return {
            "frames": self._numbers(),
            "parts": self._by_part(),
            "rows": [
                {
                    "of": row.of,
                    "kind": row.kind,
                    "pictures": [
                        save(picture, f"film-{row.of}-{row.kind}-{place:03d}")
                        for place, picture in zip(self._places, row.pictures, strict=True)
                    ],
                    "shares": list(row.shares),
                }
                for row in rows
            ],
        }

    @property
    def _places(self) -> list[int]:
        """Of the frames that are shown, among those taken."""
        places: list[int] = evenly(max(1, self.sample.num_frames), MOST_FRAMES).tolist()
        return places

    def _numbers(self) -> list[int]:
        """Of the frames that are shown, in what they were taken from."""
        frames = self.sample.frames
        return [0] if frames is None else [int(frames.numbers[place]) for place in self._places]

    def _by_part(self) -> dict[str, Any] | None:
        """The shares of the steps, part by part; the steps are the frames, where there are as many."""
        shares = {name: one[0].double().cpu().numpy() for name, one in self.parts.items()}
        known = {name: one for name, one in shares.items() if not np.isnan(one).all()}
        if not known:
            return None
        num_steps, frames = len(next(iter(known.values()))), self.sample.frames
        by_frame = frames is not None and len(frames) == num_steps
        return {
            "unit": "frame" if by_frame else "step",
            "numbers": frames.numbers.tolist() if frames is not None and by_frame else list(range(1, num_steps + 1)),
            "shares": {name: np.nan_to_num(one).tolist() for name, one in known.items()},
        }

    def _inputs(self) -> list[Row]:
        rows = []
        for name, modality in self.modalities.items():
            if name in self.sample.inputs and modality.geometry.kind == "clip":
                frames, shares = self._frames(name), self._shares(name)
                rows.append(Row(name, "input", frames, tuple(float(shares[t]) for t in self._places if len(shares))))
                rows += self._attention(name, frames)
        return rows

    def _frames(self, name: str) -> list[Image.Image]:
        """The frames of a clip that are shown, as it draws them."""
        value, modality = self.sample.inputs[name], self.modalities[name]
        return [modality.draw(value[place : place + 1]).convert("RGB") for place in self._places]

    def _by_frame(self, name: str) -> np.ndarray | None:
        """(T, h, w) or (T, 1, 1) what the fusion looked at in each frame of a clip, of all that it looked at; None
        where its tokens belong to no frames.
        """
        if name not in self.looked:
            return None
        attention, features = self.looked[name]
        weights, num_frames = attention[0].float().cpu().numpy(), self.sample.num_frames
        if features.grid is not None:
            return weights.reshape(features.grid)[:num_frames]
        real = weights[features.mask[0].cpu().numpy()]
        return real[:, None, None] if len(real) == num_frames > 1 else None

    def _shares(self, name: str) -> np.ndarray:
        """(T,) of all that the fusion looked at in the sample, what it looked at in each frame; empty if not known."""
        found = self._by_frame(name)
        return np.zeros(0) if found is None else found.sum((1, 2))

    def _attention(self, name: str, frames: Sequence[Image.Image]) -> list[Row]:
        """Where in each frame, as bright as it is beside the brightest place of all frames."""
        found = self._by_frame(name)
        if found is None or found[0].size == 1 or not found.max() > 0:
            return []
        high = float(found[self._places].max())
        drawn = [
            over_picture(frame, found[place], self.size, low=0, high=high)
            for place, frame in zip(self._places, frames, strict=True)
        ]
        return [Row(name, "attention", drawn)]

    def _answers(self, name: str, answer: np.ndarray | None) -> list[Row]:
        """Truth, prediction and error of a task that answers frame by frame."""
        task, target = self.tasks[name], self.sample.targets.get(name)
        if not task.field.geometry.has_frames:
            return []
        truths = () if target is None else task.truth_by_frame(target)
        said = () if answer is None else task.by_frame(answer)
        shown = list(zip(self._places, self._backgrounds(), strict=True))
        rows = []
        if len(truths):
            rows.append(Row(name, "truth", [task.draw_truth(truths[place], frame) for place, frame in shown]))
        if len(said):
            rows.append(Row(name, "prediction", [task.draw(said[place], frame) for place, frame in shown]))
        if len(said) and len(truths):
            wrong = [task.draw_error(said[place], truths[place], frame) for place, frame in shown]
            errors = [picture for picture in wrong if picture is not None]
            rows += [Row(name, "error", errors)] if errors else []
        return rows

    def _backgrounds(self) -> list[Image.Image]:
        """The frames of the first clip that shows the sample's scene; the still where there is none."""
        for name, modality in self.modalities.items():
            geometry = modality.geometry
            if name in self.sample.inputs and geometry.kind == "clip" and geometry.aligned and not geometry.vectors:
                return self._frames(name)
        return [self.still] * len(self._places)


def attention_of(
    explained: Mapping[str, Tensor], features: Mapping[str, Features]
) -> dict[str, tuple[Tensor, Features]]:
    """{modality: (attention on its tokens, its features)} of what a fusion explains of one sample."""
    return {name: (explained[ATTENTION + name], one) for name, one in features.items() if ATTENTION + name in explained}
