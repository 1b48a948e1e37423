"""The target of edges: whether each pixel lies on a boundary, given, or found between the classes of a label map."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from weft.data.decode import read_label
from weft.losses.base import TargetFacts
from weft.modalities.base import BadCell, Facts, Field, Geometry, Resolve
from weft.registry import Range
from weft.tasks.label_map import COMMON_IGNORE, LabelMap

#: Codes of pixels in tensors: no edge, an edge, outside the picture (padding), not known.
NO_EDGE, EDGE, OUTSIDE, UNKNOWN = 0, 1, 254, 255

#: The same in arrays, beside class numbers from 0 on.
_UNKNOWN, _OUTSIDE = -1, -2

#: Greys of pictures: edges are dark on white, as in this field's figures.
_GREYS = {NO_EDGE: 255, EDGE: 0, OUTSIDE: 200, UNKNOWN: 200}


class EdgeMap(Field):
    """Maps of edges, or label maps between whose classes the edges lie.

    Of a label map, a pixel is an edge if its right or lower neighbour is of another class. They are looked for after
    the sample's geometry, so that they are one pixel thin at the size that the network sees. Where a pixel or that
    neighbour has no label, nothing is known. Maps of edges move as label maps do, and thin lines suffer when they
    shrink.

    Args:
        source: what the column holds: a label map, edges (0, and 1 or 255 on an edge), or auto: a label map where the
            data declares its classes.
        ignore: stored value of pixels of which nothing is known; by default what the data declares, else 255 in label
            maps and no value in maps of edges.
        width: edges are so many pixels wide in training; scoring is on thin ones.
        bridge: of a label map: pixels without a label, that lie at most so far from one that has, pass its class on to
            find edges: in the middle of unlabelled strips of up to twice that width.

    Attributes:
        num_edges: pixels of the training split on edges, as wide as in training; 0 where nobody asked for them.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        source: Literal["auto", "label", "edges"] = "auto",
        ignore: int | None = None,
        width: Annotated[int, Range(1)] = 1,
        bridge: Annotated[float, Range(0)] = 0.0,
    ) -> None:
        self.facts = dict(facts)
        self.geometry = Geometry("label", fill=_OUTSIDE)
        self.width = width
        self.num_edges = int(facts.get("num_edges", 0))
        self._num_known = int(facts.get("num_known", 0))
        self._of_labels = source == "label" or (source == "auto" and "classes" in facts)
        self._labels = LabelMap(self.reading, ignore=ignore) if self._of_labels and "classes" in facts else None
        declared = facts.get("ignore") if ignore is None else ignore
        self._ignore = COMMON_IGNORE if self._of_labels and declared is None else declared
        if bridge and not self._of_labels:
            raise ValueError(
                "bridge is of label maps, and the column holds edges; leave it out, or say `source: label`"
            )
        self._bridge = bridge

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """(H, W) int16: class numbers, or 0 and 1; below 0 what is not known.

        Raises:
            BadCell: the file cannot be read as a label map, or holds neither edges nor classes.
        """
        if self._labels is not None:
            numbers = self._labels.read(cell, resolve)
            return np.where(numbers == self._labels.ignore, _UNKNOWN, numbers.astype(np.int16))
        source = resolve(cell)
        stored = read_label(source)
        known = np.ones(stored.shape, bool) if self._ignore is None else stored != self._ignore
        if not self._of_labels:
            found = set(np.unique(stored[known]).tolist())
            if not (found <= {0, 1} or found <= {0, COMMON_IGNORE}):
                shown = ", ".join(str(value) for value in sorted(found)[:8])
                raise BadCell(
                    "edges-not-binary",
                    f"{cell} holds {shown} where edges are 1 or 255 and the rest 0; if it is a label map, say `source: "
                    "label`; if one of the values means that nothing is known, `ignore`",
                )
            return np.where(known, (stored > 0).astype(np.int16), _UNKNOWN)
        values, numbers = np.unique(stored, return_inverse=True)  # which class is no matter, and int16 can be warped
        if len(values) > np.iinfo(np.int16).max:
            raise BadCell("label-range", f"{cell} holds {len(values)} different values; a label map has fewer")
        return np.where(known, numbers.reshape(stored.shape).astype(np.int16), _UNKNOWN)

    @property
    def reading(self) -> Facts:
        """See `Field.reading`: how many edges there are does not change what a file holds."""
        return {name: fact for name, fact in self.facts.items() if name not in ("counted", "num_edges", "num_known")}

    @property
    def wants_fit(self) -> bool:
        """Whether a task's options ask for the edges to be counted, and nobody has."""
        return "counted" in self.facts and "num_edges" not in self.facts

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """Pixels on edges, and pixels of which it is known."""
        on, known = 0, 0
        for value in values:
            target = widened(self.to_tensor(value)[None], self.width)
            on += int((target == 1).sum())
            known += int((~target.isnan()).sum())
        return {"num_edges": on, "num_known": known}

    def loss_target(self) -> TargetFacts:
        """What a loss is told of it."""
        counts = (self.num_edges,) if self.num_edges else ()
        return TargetFacts("labels", maps=True, classes=("edge",), counts=counts, num_counted=self._num_known)

    def edges(self, value: np.ndarray) -> np.ndarray:
        """(H, W) uint8 codes: edges of what `read` gives, after geometry; one pixel thin where they are found here."""
        if not self._of_labels:
            codes = np.where(value > 0, EDGE, NO_EDGE)
            return np.where(value < 0, np.where(value == _OUTSIDE, OUTSIDE, UNKNOWN), codes).astype(np.uint8)
        numbers, sure = _bridged(value, self._bridge) if self._bridge else (value, value >= 0)
        edge = _changes(numbers, sure)
        unknown = value < 0
        lost = unknown.copy()  # a pixel beside an unknown one may be an edge
        lost[:, :-1] |= unknown[:, 1:]
        lost[:-1] |= unknown[1:]
        codes = np.where(edge, EDGE, np.where(lost, UNKNOWN, NO_EDGE))
        return np.where(value == _OUTSIDE, OUTSIDE, codes).astype(np.uint8)

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """(H, W) uint8 codes."""
        return torch.from_numpy(self.edges(value))

    def draw(self, value: np.ndarray) -> Image.Image:
        """Edges black on white, grey where nothing is known."""
        greys = np.zeros(256, np.uint8)
        greys[list(_GREYS)] = list(_GREYS.values())
        return Image.fromarray(greys[self.edges(value)])


def widened(codes: Tensor, width: int) -> Tensor:
    """(P, 1, H, W) float32: 1 on edges, 0 beside them, NaN where it is not known.

    Args:
        codes: (P, H, W) uint8.
        width: in pixels; edges grow to the right and down first, where the other class begins.
    """
    truth = (codes == EDGE).float()[:, None]
    if width > 1:
        before, after = width // 2, (width - 1) // 2
        truth = F.max_pool2d(F.pad(truth, (before, after, before, after)), width, stride=1)
    inside = (codes != OUTSIDE)[:, None]
    known = ((codes != UNKNOWN)[:, None] | (truth > 0)) & inside
    return torch.where(known, truth, torch.nan)


def _changes(numbers: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """(H, W) bool: the right or lower neighbour has another number, and both are sure."""
    change = np.zeros(numbers.shape, bool)
    change[:, :-1] |= (numbers[:, 1:] != numbers[:, :-1]) & sure[:, 1:] & sure[:, :-1]
    change[:-1] |= (numbers[1:] != numbers[:-1]) & sure[1:] & sure[:-1]
    return change


def _bridged(numbers: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) numbers of the nearest labelled pixels, and which of them lie within reach and in the picture."""
    known = numbers >= 0
    if not known.any():
        return numbers, known
    distance, nearest = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(int(nearest.max()) + 1, numbers.dtype)
    table[nearest[known]] = numbers[known]
    return table[nearest], (distance <= reach) & (numbers != _OUTSIDE)
