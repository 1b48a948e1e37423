"""Pictures, and any raster that is one with other statistics: thermal, infrared, surface height, a label map."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.data.decode import read_image
from weft.data.rasterfile import MAX_PIXELS
from weft.modalities import raster
from weft.modalities.base import BadCell, Facts, Geometry, Modality, Preprocessor, Resolve
from weft.registry import Range, register
from weft.types import InputSpec

#: Red, green, blue to brightness (ITU-R 601) and two colour axes, the NTSC colour space YIQ: hue turns these axes.
_TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


@register("modality", "image")
class ImageModality(Modality):
    """A picture, or any other raster.

    8 and 16 bits count as [0, 1], floating-point values as they are. Normalised with `mean` and `std`, or else with
    what the encoder was trained with (8-bit colours only), or else with what was fitted on the training split.

    Args:
        channels: of the raster. Grey and colour become one another by rule; other counts must be in the files.
        mean: per channel, in [0, 1] for whole numbers.
        std: per channel, likewise.
        brightness: in training, brightness is multiplied by a factor in 1 ± this.
        contrast: in training, the distance from the mean brightness is multiplied by a factor in 1 ± this.
        saturation: in training, the distance from grey is multiplied by a factor in 1 ± this.
        hue: in training, hues are turned by up to this share of the colour circle.
        aligned: it shows the same scene from the same place as the other rasters of the sample, and moves with them. A
            picture of something else may have another size; it is brought to `data.size`, mirrored and cropped by
            itself.
        max_pixels: a file that declares more is refused before decoding.
    """

    kind: ClassVar[str] = "raster"

    def __init__(
        self,
        facts: Facts,
        *,
        channels: Annotated[int, Range(1)] = 3,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        brightness: Annotated[float, Range(0, 1)] = 0.0,
        contrast: Annotated[float, Range(0, 1)] = 0.0,
        saturation: Annotated[float, Range(0, 1)] = 0.0,
        hue: Annotated[float, Range(0, 0.5)] = 0.0,
        aligned: bool = True,
        max_pixels: Annotated[int, Range(1)] = MAX_PIXELS,
    ) -> None:
        for name, values in (("mean", mean), ("std", std)):
            if values is not None and len(values) != channels:
                raise ValueError(
                    f"{name} has {len(values)} values and the image {channels} channels; give one for each"
                )
        if channels != 3 and (saturation or hue):
            raise ValueError(f"saturation and hue need 3 channels and the image has {channels}; leave them out")
        self.facts = facts
        self.channels = channels
        self.mean, self.std = mean, std
        self.jitter = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
        self.max_pixels = max_pixels
        self.geometry = Geometry("image", fill=self._fill(), aligned=aligned)

    def _fill(self) -> float:
        """The mean grey as it is stored, so that what lies outside the picture is near 0 after normalisation."""
        if "mean" not in self.facts:
            return 0.0
        dtype = np.dtype(self.facts["dtype"])
        grey = float(np.mean(self.facts["mean"])) * raster.full_scale(dtype)
        return float(round(grey)) if dtype.kind == "u" else grey

    @property
    def num_channels(self) -> int:
        """As configured."""
        return self.channels

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """(H, W, channels) uint8, uint16 or float32.

        Raises:
            BadCell: the file cannot be decoded, has other channels, or other bits than the training data.
        """
        value = read_image(resolve(cell), channels=self.channels, max_pixels=self.max_pixels)
        expected = self.facts.get("dtype")
        if expected is not None and value.dtype.name != expected:
            name = cell if isinstance(cell, str) else "the array"
            raise BadCell(
                "bit-depth",
                f"{name} holds {value.dtype.name} and the training data {expected}: the same number would mean "
                f"different things; convert it to {expected}",
            )
        return value

    @property
    def wants_fit(self) -> bool:
        """Until mean, deviation and number type are known."""
        return not {"mean", "std", "dtype"} <= self.facts.keys()

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """Mean and deviation per channel, and the number type that most values have."""
        values = list(values)
        if not values:
            return {"mean": [0.0] * self.channels, "std": [1.0] * self.channels, "dtype": "uint8"}
        dtype = raster.most_common_dtype(values)
        statistics = raster.Statistics(self.channels)
        for value in values:
            if value.dtype.name == dtype:
                pixels = value.reshape(-1, self.channels) / raster.full_scale(value.dtype)
                statistics.add(pixels[np.isfinite(pixels).all(1)])
        return {**statistics.facts, "dtype": dtype}

    @property
    def reading(self) -> Facts:
        """The number type: others are refused."""
        return {name: self.facts[name] for name in ("dtype",) if name in self.facts}

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """(C, H, W) uint8, or float32."""
        return raster.to_tensor(value)

    def draw(self, value: np.ndarray) -> Image.Image:
        """The picture itself, or its first channels stretched."""
        return raster.picture(value)

    def preprocessor(self, input_spec: InputSpec) -> Preprocessor:
        """Normalises, and jitters colours in training mode."""
        mean, std = self._normalisation(input_spec)
        bounded = self.facts.get("dtype", "uint8") != "float32"
        return ImagePreprocessor(mean, std, bounded=bounded, **self.jitter)

    def _normalisation(self, input_spec: InputSpec) -> tuple[Sequence[float], Sequence[float]]:
        mean, std = self.facts.get("mean", [0.0] * self.channels), self.facts.get("std", [1.0] * self.channels)
        # what a network was trained with holds for ordinary pictures; 12 bits stored in 16 would all be black by it
        ordinary = self.facts.get("dtype", "uint8") == "uint8" and len(input_spec.mean or ()) == self.channels
        if ordinary and input_spec.mean is not None and input_spec.std is not None:
            mean, std = input_spec.mean, input_spec.std
        return self.mean or mean, self.std or std


class ImagePreprocessor(Preprocessor):
    """Raw (P, C, H, W) to normalised float32; in training mode each row's colours are changed by one random linear map.

    Args:
        mean, std: per channel, for values in [0, 1].
        bounded: values are in [0, 1] and stay there.
        brightness, contrast, saturation, hue: strengths as in `ImageModality`.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        bounded: bool = True,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
    ) -> None:
        super().__init__()
        scale = 1 / torch.tensor(std, dtype=torch.float32)
        self.register_buffer("scale", scale.view(1, -1, 1, 1))
        self.register_buffer("offset", (-torch.tensor(mean, dtype=torch.float32) * scale).view(1, -1, 1, 1))
        # constants, kept on the device: making them anew each step would make it wait
        to_yiq = torch.tensor(_TO_YIQ)
        self.register_buffer("to_yiq", to_yiq, persistent=False)
        self.register_buffer("from_yiq", torch.linalg.inv(to_yiq), persistent=False)
        self.bounded = bounded
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def forward(self, inputs: Tensor) -> Tensor:
        """(P, C, H, W) uint8 or float32 to float32; the memory format is kept."""
        scale: Tensor = self.get_buffer("scale")
        offset: Tensor = self.get_buffer("offset")
        unit = 1.0 if inputs.is_floating_point() else 1 / 255
        if self.training and self.random:
            with torch.autocast(inputs.device.type, enabled=False):  # colours need more than bfloat16's 8 bits
                inputs, unit = self._jitter(inputs.float() * unit), 1.0
        return torch.addcmul(offset, inputs.float(), scale * unit)

    @property
    def random(self) -> bool:
        """Whether colours are jittered."""
        return bool(self.brightness or self.contrast or self.saturation or self.hue)

    def _jitter(self, values: Tensor) -> Tensor:
        """(P, C, H, W) in [0, 1], each row with its own brightness, contrast, saturation and hue."""
        num_rows, num_channels = values.shape[:2]

        def around(centre: float, strength: float) -> Tensor:
            return centre + strength * (2 * torch.rand(num_rows, 1, 1, device=values.device) - 1)

        factor = around(1, self.brightness)
        contrast = around(1, self.contrast)
        mixing = torch.eye(num_channels, device=values.device) * factor  # (P, C, C)
        if num_channels == 3:
            luminance = self.get_buffer("to_yiq")[0]
            mixing = self._hue_rotation(around(0, self.hue) * (2 * torch.pi)) @ mixing
            saturation = around(1, self.saturation)
            mixing = saturation * mixing + (1 - saturation) * (luminance @ mixing).unsqueeze(1)
            grey = luminance @ mixing
        else:
            grey = mixing.mean(1)  # (P, C)
        mean = values.mean((2, 3))  # (P, C)
        centre = (1 - contrast) * (grey * mean).sum(1).view(-1, 1, 1)  # the mean brightness stays where it is
        pixels = values.permute(0, 2, 3, 1).flatten(1, 2)  # (P, H * W, C), a view where channels come last in memory
        jittered = torch.baddbmm(centre.expand(-1, 1, num_channels), pixels, (contrast * mixing).transpose(1, 2))
        if self.bounded:
            jittered = jittered.clamp_(0, 1)
        return jittered.unflatten(1, values.shape[2:]).permute(0, 3, 1, 2)

    def _hue_rotation(self, angle: Tensor) -> Tensor:
        """(P, 3, 3) maps of red, green, blue that turn the two colour axes by `angle` (P, 1, 1), not the brightness."""
        cosine, sine = angle.cos().flatten(), angle.sin().flatten()
        zero, one = torch.zeros_like(cosine), torch.ones_like(cosine)
        turn = torch.stack([one, zero, zero, zero, cosine, -sine, zero, sine, cosine], 1).unflatten(1, (3, 3))
        return self.get_buffer("from_yiq") @ turn @ self.get_buffer("to_yiq")
