"""Copy-paste: objects of one training sample put over another, in everything that shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from weft.data import geometry
from weft.data.collate import Sample


@dataclass(frozen=True)
class Paster:
    """What is pasted into which sample: a function of (seed, epoch, sample).

    A class is drawn first, then one of the donors that hold it, so that the rarest class is pasted as often as the
    others; of the donor all pixels of all the chosen classes are pasted. A donor must have whatever picture and map the
    receiver has, or the one would show an object that the other does not; modalities that the receiver lacks stay
    absent. A receiver without a mask stays as it is.

    Attributes:
        task: whose masks say where objects are.
        classes: (C,) numbers of the classes that are pasted.
        probability: of pasting into a sample.
        rows: (d,) rows of the manifest that hold any of the classes: the donors.
        holds: (d, C) bool: which of the classes.
        inputs: {modality: (d,) bool: which donors have it} of the pictures that move with the mask.
        targets: {task: (d,) bool: which donors have it} of the maps.
        seed: of everything random.

    Reference: Ghiasi et al., CVPR 2021, arXiv:2012.07177, section 3.
    """

    task: str
    classes: np.ndarray
    probability: float
    rows: np.ndarray
    holds: np.ndarray
    inputs: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray]
    seed: int

    def donor(self, sample: Sample, row: int, version: str) -> int | None:
        """The row of the manifest whose objects are pasted into a sample; None: nothing is.

        Args:
            sample: the receiver.
            row: of the manifest, its own.
            version: which drawing of what is random in it.
        """
        random = geometry.generator(self.seed, version, sample.id, "paste")
        if self.task not in sample.targets or random.random() >= self.probability:
            return None
        able = self.rows != row
        for has in (self.inputs[name] for name in sample.inputs if name in self.inputs):
            able &= has
        for has in (self.targets[name] for name in sample.targets if name in self.targets):
            able &= has
        given = np.flatnonzero(self.holds[able].any(0))
        if not len(given):
            return None
        chosen = given[random.integers(len(given))]
        donors = np.flatnonzero(able & self.holds[:, chosen])
        return int(self.rows[donors[random.integers(len(donors))]])

    def paste(self, sample: Sample, donor: Sample) -> Sample:
        """The sample with the donor's objects over it.

        Args:
            sample: the receiver, moved.
            donor: moved to the same size, with all pictures and maps that the receiver has.
        """
        shown = np.isin(donor.targets[self.task], self.classes)
        inputs = {name: _over(sample.inputs[name], donor.inputs[name], shown) for name in donor.inputs}
        targets = {name: _over(sample.targets[name], donor.targets[name], shown) for name in donor.targets}
        return replace(sample, inputs={**sample.inputs, **inputs}, targets={**sample.targets, **targets})


def _over(below: np.ndarray, above: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """(H, W, ...) `above` where it is shown, else `below`."""
    return np.where(shown.reshape(*shown.shape, *(1,) * (below.ndim - 2)), above, below)
