"""How a column's cells become arrays, move with the sample's geometry, and are stacked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image
from torch import Tensor, nn

from weft.types import InputSpec

#: Fitted on the training split or declared by the data format, kept in the run, JSON-able: classes, scales, means.
Facts = Mapping[str, Any]

#: Turns a path cell into a file below the declared roots, refusing others; formats that hold arrays return the array.
Resolve = Callable[[str], Path | np.ndarray]


@dataclass(frozen=True)
class Geometry:
    """How values move when the sample is flipped, cropped, scaled or rotated.

    Attributes:
        kind: image (bilinear), label (nearest: no value that was not there), points (coordinates are moved),
            none (untouched).
        fill: value outside the picture.
        unknown: a value that means "not known" and never enters a mean (depth 0), or None.
    """

    kind: Literal["image", "label", "points", "none"]
    fill: float = 0
    unknown: float | None = None


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
            images (H, W, C), label maps (H, W), points (n, 3) as x, y in pixels and visible, others any shape.

        Raises:
            BadCell: the cell's content cannot be used.
        """

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """Facts learned from decoded values of the training split; none by default."""
        return {}

    @property
    def wants_fit(self) -> bool:
        """Whether `fit` has anything to learn that `facts` does not already hold."""
        return False

    @abstractmethod
    def to_tensor(self, value: np.ndarray) -> Tensor:
        """One value after geometry, as the tensor that is padded and stacked: images (C, H, W), label maps (H, W)."""

    @abstractmethod
    def draw(self, value: np.ndarray) -> Image.Image:
        """A picture of one value for a person, (H, W) for image-like ones."""


class Modality(Field):
    """A field that is an input."""

    #: whether its features can be maps
    raster: ClassVar[bool]

    @property
    @abstractmethod
    def num_channels(self) -> int:
        """Channels after `preprocessor`: what the encoder is built for."""

    @abstractmethod
    def preprocessor(self, input_spec: InputSpec) -> nn.Module:
        """The module that turns stacked raw cells (P, ...) into the encoder's float input, on any device.

        It normalises (with the encoder's mean and std, or else the fitted ones), marks unknown values and, in training
        mode, jitters colours. It is part of the model, so training, serving and export cannot differ.
        """
