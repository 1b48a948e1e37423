"""What a fusion looked at in one sample: on its picture, its words, its columns, and along its sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image
from torch import Tensor

from weft.engine.evidence import ATTENTION
from weft.modalities.base import Modality
from weft.tasks.colours import paint_values
from weft.types import Features

#: Share of the colours where there is most; the picture shows through elsewhere.
STRENGTH = 0.7


@dataclass(frozen=True)
class Looked:
    """Where a fusion looked in one modality.

    Attributes:
        what: "attention", or the level whose weights these are, as `Fusion.explain` names it.
        share: of all modalities, what this one got.
        words: (word, share of all attention), one for each of its tokens; empty where it is a picture.
        picture: of the modality, with what it got over it; None where it is words, or only the share is known.
    """

    what: str
    share: float
    words: tuple[tuple[str, float], ...] = ()
    picture: Image.Image | None = None


def looked_at(
    explained: Mapping[str, Tensor],
    features: Mapping[str, Features],
    modalities: Mapping[str, Modality],
    values: Mapping[str, np.ndarray],
    pictures: Mapping[str, Image.Image],
    size: tuple[int, int],
) -> dict[str, Looked]:
    """{modality: Looked} of one sample: its attention, or else its weights by place at the finest level that has them.

    Args:
        explained: of `Fusion.explain`, for a batch of this sample alone.
        features: of the batch, as the fusion got them.
        modalities: by name, in the experiment's order.
        values: of the sample, decoded.
        pictures: drawings of those that are not words.
        size: (H, W) of the batch's images with their padding.
    """
    found = {}
    maps = {level: weights[0] for level, weights in explained.items() if weights.dim() == 4}
    for column, name in enumerate(modalities):
        if name not in values:
            continue
        if ATTENTION + name in explained:
            tokens = _Tokens.of(explained[ATTENTION + name], features[name])
            found[name] = _attention(tokens, modalities[name], values[name], pictures.get(name), size)
        elif maps and modalities[name].geometry.kind == "image" and name in pictures:
            level, weights = next(iter(maps.items()))
            places = weights[column].float().cpu().numpy()
            picture = over_picture(pictures[name], places, size, low=0, high=1)
            found[name] = Looked(level, float(places.mean()), picture=picture)
    return found


@dataclass(frozen=True)
class _Tokens:
    """The attention (N,) on the tokens of one modality, which are real (N,), and their grid."""

    weights: np.ndarray
    real: np.ndarray
    grid: tuple[int, int, int] | None

    @classmethod
    def of(cls, attention: Tensor, features: Features) -> _Tokens:
        return cls(attention[0].float().cpu().numpy(), features.mask[0].cpu().numpy(), features.grid)

    def map(self) -> np.ndarray:
        """(h, w) of a picture; frames are averaged."""
        assert self.grid is not None
        return self.weights.reshape(self.grid).mean(0)

    def line(self) -> np.ndarray:
        """(1, n) along the time that is real, summed over anything across it."""
        if self.grid is None:
            return self.weights[None, self.real]
        real = self.real.reshape(self.grid).any((0, 1))
        return self.weights.reshape(self.grid).sum((0, 1))[None, real]


def _attention(
    tokens: _Tokens, modality: Modality, value: np.ndarray, picture: Image.Image | None, size: tuple[int, int]
) -> Looked:
    share, words = float(tokens.weights.sum()), modality.words(value)
    if len(words) == tokens.real.sum():
        weights = map(float, tokens.weights[tokens.real])
        return Looked("attention", share, words=tuple(zip(words, weights, strict=True)))
    if picture is None or len(tokens.weights) == 1:
        return Looked("attention", share)
    if modality.geometry.kind != "image":
        return Looked("attention", share, picture=over_picture(picture, tokens.line()))
    if tokens.grid is None:
        return Looked("attention", share)
    return Looked("attention", share, picture=over_picture(picture, tokens.map(), size))


def over_picture(
    picture: Image.Image,
    places: np.ndarray,
    size: tuple[int, int] | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
) -> Image.Image:
    """A picture in grey with values in colour over it: the brighter, the more; the plain picture where there is least.

    Args:
        picture: (H, W).
        places: (h, w) values, over the picture, or over `size` where that is larger.
        size: (H, W) with padding at the bottom and the right.
        low, high: values without colour and with the brightest; by default the least and the largest in the picture.
    """
    width, height = picture.size
    full = (width, height) if size is None else (max(size[1], width), max(size[0], height))
    heat = cv2.resize(places.astype(np.float32), full, interpolation=cv2.INTER_LINEAR)[:height, :width]
    low, high = float(heat.min()) if low is None else low, float(heat.max()) if high is None else high
    strength = ((heat - low) / (high - low)).clip(0, 1) if high > low else np.zeros_like(heat)
    grey = np.asarray(picture.convert("L").convert("RGB"), np.float32)
    mix = STRENGTH * strength[..., None]
    coloured = paint_values(strength, 0, 1, name="inferno").astype(np.float32)
    return Image.fromarray((grey * (1 - mix) + coloured * mix).round().astype(np.uint8))
