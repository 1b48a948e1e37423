"""The target of pixel regression: a value per pixel, some of them unknown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.data.rasterfile import open_raster
from weft.modalities.base import BadCell, Facts, Field, Geometry, Resolve
from weft.registry import Range
from weft.tasks.colours import paint_values

#: Stands for "not known" in arrays and tensors where 0 is a value like any other: no measured value comes near.
FAR_BELOW = -1e30


class PixelValues(Field):
    """One value per pixel: depth, height, temperature, brightness.

    Args:
        scale: value of one stored unit, such as 0.001 for depth in metres stored in millimetres; by default what the
            data format declares; files of whole numbers need one of the two.
        unknown: stored value of pixels without a value; NaN and infinity never have one. None: all other pixels have
            one.
        unit: of the values, for reports.

    Attributes:
        unknown: what stands for "not known" in arrays and tensors.
        mean, std, low, high: of the known values of the training split.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        scale: Annotated[float, Range(0, open_low=True)] | None = None,
        unknown: float | None = 0.0,
        unit: str = "m",
    ) -> None:
        self.facts = dict(facts)
        declared = facts.get("metres_per_unit", facts.get("scale"))
        self._scale = declared if scale is None else scale
        self._stored_unknown = unknown
        self.unknown = 0.0 if unknown == 0 else FAR_BELOW
        self.unit = unit
        self.geometry = Geometry("image", fill=self.unknown, unknown=self.unknown)
        self.mean = float(facts.get("mean", 0.0))
        self.std = float(facts.get("std", 1.0))
        self.low = float(facts.get("low", 0.0))
        self.high = float(facts.get("high", 1.0))

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """(H, W, 1) float32 values, `self.unknown` where there is none.

        Raises:
            BadCell: the file cannot be decoded, has more than one channel, or holds whole numbers of no declared scale.
        """
        source = resolve(cell)
        raster = open_raster(source)
        if raster.mode != "grey":
            raise BadCell("values-channels", f"{cell} holds {raster.mode} pixels; a map of values has one channel")
        if raster.lossy:
            raise BadCell("lossy-values", f"{cell} is a map of values stored with loss; store it as 16-bit PNG or TIFF")
        stored = raster.pixels
        if self._scale is None and stored.dtype.kind != "f":
            raise BadCell("values-scale", f"{cell} holds {stored.dtype}; declare `scale`, the value of one stored unit")
        values = stored.astype(np.float32) * np.float32(1.0 if self._scale is None else self._scale)
        known = np.isfinite(values)
        if self._stored_unknown is not None:
            known &= stored != self._stored_unknown
        return np.where(known, values, np.float32(self.unknown))[..., None]

    @property
    def wants_fit(self) -> bool:
        """Whether mean, spread and range are still to be measured."""
        return "mean" not in self.facts

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """mean, std, low and high of all known values."""
        count, total, squares = 0, 0.0, 0.0
        low, high = np.inf, -np.inf
        for value in values:
            known = value[self.known(value)].astype(np.float64)
            if not known.size:
                continue
            count, total, squares = count + known.size, total + known.sum(), squares + np.square(known).sum()
            low, high = min(low, known.min()), max(high, known.max())
        if not count:
            return {"mean": 0.0, "std": 1.0, "low": 0.0, "high": 1.0}
        mean = total / count
        spread = np.sqrt(max(squares / count - mean**2, 0.0))
        # a map of one value everywhere has no spread to divide by
        return {"mean": float(mean), "std": float(spread) or 1.0, "low": float(low), "high": float(high)}

    def known(self, value: np.ndarray) -> np.ndarray:
        """Bool, the shape of the values: which are known."""
        return np.isfinite(value) & (value != np.float32(self.unknown))

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """(1, H, W) float32."""
        return torch.from_numpy(np.ascontiguousarray(value.transpose(2, 0, 1), dtype=np.float32))

    def draw(self, value: np.ndarray) -> Image.Image:
        """The values by a colour map, unknown ones grey."""
        shown = np.where(self.known(value), value, np.nan).squeeze()
        return Image.fromarray(paint_values(shown, self.low, self.high))
