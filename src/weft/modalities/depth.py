"""Depth maps: metres in which 0 is "not known"; the unknown never enters a mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.data.decode import read_depth
from weft.data.rasterfile import MAX_PIXELS
from weft.modalities import raster
from weft.modalities.base import Facts, Geometry, Modality, Preprocessor, Resolve
from weft.registry import Range, register
from weft.types import InputSpec

Representation = Literal["metres", "inverse", "log"]

#: Depths below a centimetre are taken for one: bound of 1 / depth and of log depth.
NEAREST = 0.01


@register("modality", "depth")
class DepthModality(Modality):
    """A depth map, 8, 16 or 32 bits, in a declared unit.

    Args:
        metres_per_unit: metres of one stored unit (0.001 for millimetres); by default what the data format declares,
            and metres for floating-point files.
        unknown: stored values that mean "not known", besides 0, negative ones, NaN and Inf.
        clip: [nearest, farthest] in metres; what lies outside is set to the bound.
        representation: what the encoder sees of a depth: the metres, 1 / metres, or their logarithm.
        validity: a second channel, 1 where the depth is known and 0 where it is not.
        max_pixels: a file that declares more is refused before decoding.
    """

    kind: ClassVar[str] = "raster"

    def __init__(
        self,
        facts: Facts,
        *,
        metres_per_unit: Annotated[float, Range(0, open_low=True)] | None = None,
        unknown: tuple[float, ...] = (),
        clip: tuple[float, float] | None = None,
        representation: Representation = "metres",
        validity: bool = False,
        max_pixels: Annotated[int, Range(1)] = MAX_PIXELS,
    ) -> None:
        if clip is not None and not 0 <= clip[0] < clip[1]:
            raise ValueError(
                f"clip is [{clip[0]}, {clip[1]}]; give [nearest, farthest] in metres, 0 <= nearest < farthest"
            )
        self.facts = facts
        self.metres_per_unit = facts.get("metres_per_unit") if metres_per_unit is None else metres_per_unit
        self.unknown = unknown
        self.clip = clip
        self.representation: Representation = representation
        self.validity = validity
        self.max_pixels = max_pixels
        self.geometry = Geometry("image", fill=0, unknown=0)

    @property
    def num_channels(self) -> int:
        """One, and another for the validity."""
        return 2 if self.validity else 1

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """(H, W, 1) float32 metres, 0 = unknown.

        Raises:
            BadCell: the file cannot be decoded, or its unit is not declared.
        """
        metres = read_depth(
            resolve(cell), metres_per_unit=self.metres_per_unit, unknown=self.unknown, max_pixels=self.max_pixels
        )
        return metres[:, :, None]

    @property
    def wants_fit(self) -> bool:
        """Until mean and deviation of the chosen representation are known."""
        return self.representation not in self.facts.get("statistics", {})

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """Mean and deviation over known depths, and a note where they look like 8 bits."""
        statistics = raster.Statistics(1)
        levels: set[float] = set()
        for value in values:
            known = value[value > 0]
            statistics.add(represent(torch.from_numpy(known), self.representation, self.clip).numpy()[:, None])
            if len(levels) <= 256:
                levels.update(np.unique(known).tolist())
        facts: dict[str, Any] = {"statistics": {self.representation: statistics.facts}}
        if 0 < len(levels) <= 255:
            facts["notes"] = [
                f"only {len(levels)} different depths occur, {min(levels):.3g} to {max(levels):.3g} m: it looks like "
                "8 bits; if the sensor gave 16, they were lost on the way"
            ]
        return facts

    @property
    def reading(self) -> Facts:
        """The unit."""
        return {name: self.facts[name] for name in ("metres_per_unit",) if name in self.facts}

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """(1, H, W) float32 metres."""
        return raster.to_tensor(value)

    def draw(self, value: np.ndarray) -> Image.Image:
        """Near is bright; the unknown is black."""
        metres = value[..., 0]
        known = metres > 0
        if not known.any():
            return raster.picture(np.zeros((*metres.shape, 1), np.uint8))
        near, far = np.percentile(metres[known], (1, 99))
        bright = 1 - (metres - near) / max(far - near, 1e-6)  # a flat wall is bright everywhere
        grey = np.where(known, 40 + 215 * bright.clip(0, 1), 0).astype(np.uint8)
        return raster.picture(grey[:, :, None])

    def preprocessor(self, input_spec: InputSpec) -> Preprocessor:
        """Normalises with the fitted figures: an encoder trained on colours knows nothing of metres."""
        fitted = self.facts.get("statistics", {}).get(self.representation, {"mean": [0.0], "std": [1.0]})
        return DepthPreprocessor(
            fitted["mean"][0],
            fitted["std"][0],
            representation=self.representation,
            clip=self.clip,
            validity=self.validity,
        )


class DepthPreprocessor(Preprocessor):
    """Metres (P, 1, H, W) to normalised float32; unknown pixels become 0, the mean.

    Args:
        mean, std: of the representation, over known depths.
        representation, clip, validity: as in `DepthModality`.
    """

    def __init__(
        self,
        mean: float,
        std: float,
        *,
        representation: Representation = "metres",
        clip: tuple[float, float] | None = None,
        validity: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))
        self.representation: Representation = representation
        self.clip = clip
        self.validity = validity

    def forward(self, inputs: Tensor) -> Tensor:
        """(P, 1, H, W) metres to (P, 1 or 2, H, W)."""
        metres = inputs.float()
        known = torch.isfinite(metres) & (metres > 0)
        values = represent(torch.where(known, metres, 1), self.representation, self.clip)  # 1: any depth that is legal
        values = (values - self.get_buffer("mean")) / self.get_buffer("std")
        values = torch.where(known, values, 0)
        return torch.cat([values, known.float()], 1) if self.validity else values


def represent(metres: Tensor, representation: Representation, clip: Sequence[float] | None) -> Tensor:
    """Known depths in metres as the encoder sees them."""
    if clip is not None:
        metres = metres.clamp(clip[0], clip[1])
    if representation == "inverse":
        return 1 / metres.clamp(min=NEAREST)
    if representation == "log":
        return metres.clamp(min=NEAREST).log()
    return metres
