"""How a column's cells become arrays, move with the sample's geometry, and are stacked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image
from torch import Tensor, nn

from weft.data.timeline import Timeline
from weft.types import Batch, InputSpec

#: Fitted on the training split or declared by the data format, kept in the run, JSON-able: classes, scales, means.
Facts = Mapping[str, Any]

#: Of a field or an encoder that knows nothing beforehand.
NO_FACTS: Facts = MappingProxyType({})

#: What a value says in words, a (name, text) for each of its parts; a text that stands alone has the name "".
Lines = tuple[tuple[str, str], ...]

#: What a person gives for a cell: a file; a clip, which is a file or a folder of frames, or a part of one; the file of
#: a sound, or a part of one; the value itself; or a row.
CellKind = Literal["file", "clip", "sound", "value", "row"]

#: Turns a path cell into a file below the declared roots, refusing others; formats that hold arrays return the array.
Resolve = Callable[[str], Path | np.ndarray]


@dataclass(frozen=True)
class Geometry:
    """How values move when the sample is flipped, cropped, scaled or rotated.

    Attributes:
        kind: image (bilinear), label (nearest: no value that was not there), points (coordinates are moved), boxes
            (moved and cut off at the border; any number of rows, padded to the most of a batch),
            sequence (untouched, (L, ...) with L >= 1, padded at the end to the longest of a batch), none (untouched);
            clip, clip_label, clip_points and frames: (T, ...) with an entry for each frame of the sample that is taken,
            which is like an image, like a label map, like points, or untouched, padded at the end to the most frames
            of a batch.
        fill: value outside the picture, or after the end of the sequence, the last box or the last frame.
        unknown: a value that means "not known" and never enters a mean (depth 0, or NaN), or None.
        aligned: an image moves together with all else that is image-like; False: by itself.
        visible: share of a box that must be left in the picture: of less, the rest of it is ignored.
        vectors: the first two channels are displacements (x, y) in pixels, and turn and grow with the picture.
    """

    kind: Literal[
        "image", "label", "points", "boxes", "sequence", "none", "clip", "clip_label", "clip_points", "frames"
    ]
    fill: float = 0
    unknown: float | None = None
    aligned: bool = True
    visible: float = 0.0
    vectors: bool = False

    @property
    def has_frames(self) -> bool:
        """Whether the first axis of its values is the frames of the sample that are taken."""
        return self.kind in ("clip", "clip_label", "clip_points", "frames")

    @property
    def has_pixels(self) -> bool:
        """Whether its values have a height and a width: the first axes, of clips the second and third."""
        return self.kind in ("image", "label", "clip", "clip_label")

    def known(self, values: np.ndarray) -> np.ndarray:
        """(...) bool: which of some values (...) are known."""
        if self.unknown is None:
            return np.ones(values.shape, bool)
        known: np.ndarray = ~np.isnan(values) if np.isnan(self.unknown) else values != self.unknown
        return known

    def size_of(self, value: np.ndarray) -> tuple[int, int]:
        """(H, W) of one value that has pixels."""
        first = 1 if self.has_frames else 0
        return value.shape[first], value.shape[first + 1]


class BadCell(ValueError):
    """A cell that cannot be used; the message says what was found and what is allowed, `code` names the fault."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Field(ABC):
    """A column, as a modality reads it or as a task's target.

    Constructors take `facts` first, then keyword-only options, which are configuration.

    Attributes:
        geometry: how its values move.
        facts: what was declared and fitted so far.
    """

    geometry: Geometry
    facts: Facts

    @abstractmethod
    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """Decode one cell that is not empty.

        Args:
            cell: the manifest's value: a path, a number, a list.
            resolve: what a path cell stands for.

        Returns:
            images (H, W, C), label maps (H, W), points (n, 3) as x, y in pixels and visible, boxes (n, 7), sequences
            (L, ...), clips (T, H, W, C) of all their frames, others any shape.

        Raises:
            BadCell: the cell's content cannot be used.
        """

    def timeline(self, cell: Any, resolve: Resolve) -> Timeline | None:
        """The frames of a cell, without decoding them; None where it has none.

        The first field of a sample that has some decides which there are; of them some are taken, for all its fields.

        Raises:
            BadCell: the cell's content cannot be used.
        """
        return None

    def read_frames(self, cell: Any, resolve: Resolve, frames: Timeline | None) -> np.ndarray:
        """Decode of one cell what belongs to the frames that are taken of its sample.

        Args:
            cell: as in `read`.
            resolve: as in `read`.
            frames: that are taken, (T,); None where nothing in the sample has any.

        Returns:
            (T, ...) of a field whose geometry has frames; of all others, what `read` gives.

        Raises:
            BadCell: the cell's content cannot be used.
        """
        return self.read(cell, resolve)

    def placed(self, value: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """What `read` gave, beside images of `size` (H, W): what needs their size is done here; by default nothing.

        Raises:
            BadCell: the value cannot be meant for such an image.
        """
        return value

    def beside(self, name: str, batch: Batch, modalities: Mapping[str, Modality]) -> Tensor:
        """The values (P, ...) of a target as a batch has them under its name, with what they need of the inputs, which
        are those of some modalities, beside them; by default as they are.
        """
        return batch.targets[name]

    def remarks(self, cell: Any, resolve: Resolve) -> list[str]:
        """What reading a cell changes by a declared rule, and what is suspect in it: short words that are counted, such
        as "resampled from 8000 to 16000 Hz"; none by default.

        Raises:
            BadCell: the cell's content cannot be used.
        """
        return []

    @property
    def decodes(self) -> bool:
        """Whether reading a cell decodes a file: it is then fitted on some of them only, and worth a cache."""
        return self.geometry.has_pixels

    @property
    def names_file(self) -> bool:
        """Whether a cell that is a text names a file: what it holds may change while the cell stays the same."""
        return self.decodes

    @property
    def reading(self) -> Facts:
        """Those of its facts that decide what reading a cell gives; all, where it does not say otherwise."""
        return self.facts

    def length(self, cell: Any) -> int:
        """How long a cell's sequence will be, roughly and without opening files, so that neighbours in length can
        share a batch; 0: of no matter.
        """
        return 0

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """Facts learned from decoded values of the training split; none by default."""
        return {}

    def class_counts(self, value: np.ndarray) -> np.ndarray:
        """(K,) how much of each of its `classes` a value of `read` holds: 1 of a label, pixels of a map, boxes; empty
        where it has no classes.
        """
        return np.zeros(0, np.int64)

    @property
    def wants_fit(self) -> bool:
        """Whether `fit` has anything to learn that `facts` does not already hold."""
        return False

    @abstractmethod
    def to_tensor(self, value: np.ndarray) -> Tensor:
        """One value after geometry, as the tensor that is padded and stacked: images (C, H, W), label maps (H, W)."""

    @abstractmethod
    def draw(self, value: np.ndarray) -> Image.Image:
        """A picture of one value for a person, (H, W) for image-like ones; of clips a strip of frames."""

    def describe(self, value: np.ndarray) -> Lines:
        """What one value says, where words say it better than `draw`: a text, the columns of a row. By default nothing.

        The whole of it: whoever shows it cuts it, and escapes it.
        """
        return ()


class Preprocessor(nn.Module, ABC):
    """From stacked raw cells to an encoder's input: part of the model, so training and use cannot differ."""

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """(P, ...) raw to (P, ...) float, normalised, on the device of the inputs."""

    def lengths(self, lengths: Tensor) -> Tensor:
        """(P,) how many entries of a sequence are left of so many; as many, where it does not say otherwise."""
        return lengths

    @property
    def random(self) -> bool:
        """Whether it draws random numbers in training mode, so that what it gives differs from epoch to epoch."""
        return False


class Modality(Field):
    """A field that is an input.

    Attributes:
        kind: what its encoder gets: raster (P, C, H, W), video (P, T, C, H, W), text (P, L) token ids, audio
            (P, 1, mels, T), table (P, F).
        cell: what a person gives for it: a file; a clip, which is a file or a folder of frames, or a part of one
            (`a.mp4#t=2,5`); the file of a sound, or a part of one; the value itself; or a row (a mapping of column to
            value).
    """

    kind: ClassVar[str]
    cell: ClassVar[CellKind] = "file"

    def words(self, value: np.ndarray) -> list[str]:
        """What the tokens of its features stand for, one by one: words, columns; by default none: `draw` shows them.

        Where an encoder gives other tokens than these, attention is shown by modality only.
        """
        return []

    def motion_back(self, frames: Tensor, numbers: Sequence[int]) -> np.ndarray:
        """How far right and down each pixel of a frame lay in the frame before, as a clip of this modality tells it.

        Args:
            frames: (T, C, H, W) of one sample of a batch, without padding.
            numbers: of the frames in what they were taken from.

        Returns:
            (T, H, W, 2) float32 pixels, NaN where it is not known, as in the first frame.

        Raises:
            ValueError: it tells no motion; the message says why. By default, none does.
        """
        raise ValueError("no motion is told by it; a clip of pictures or of optical flow tells some")

    @property
    @abstractmethod
    def num_channels(self) -> int:
        """Channels, or the width of a row, after `preprocessor`: what the encoder is built for."""

    def means_as(self, other: Modality) -> bool:
        """Whether equal values mean the same in both, so that they can share an encoder (same words, same columns)."""
        return True

    @abstractmethod
    def preprocessor(self, input_spec: InputSpec) -> Preprocessor:
        """The module that turns stacked raw cells (P, ...) into the encoder's float input, on any device.

        It normalises (with the encoder's mean and std, or else the fitted ones), marks unknown values and, in training
        mode, jitters colours.
        """
