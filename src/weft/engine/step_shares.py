"""Where in time each part of a fusion looked: the share of each step, averaged over the samples that have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weft.engine.distributed import Gathering

#: Keys of `Fusion.explain` that begin so say how much came through one part of a fusion from each step.
TIME = "time/"
#: Key of the steps that each sample has.
STEPS = "time"


@dataclass
class Sums:
    """Over samples, step by step: the shares added up, and how many samples have the step; both (S,)."""

    share: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, shares: np.ndarray) -> Sums:
        """Of some samples, (n, S)."""
        return cls(np.nan_to_num(shares).sum(0), (~np.isnan(shares)).sum(0))

    def __add__(self, other: Sums) -> Sums:
        length = max(len(self.count), len(other.count))
        ours, theirs = self.over(length), other.over(length)
        return Sums(ours.share + theirs.share, ours.count + theirs.count)

    def over(self, length: int) -> Sums:
        """The same over so many steps, of which the last ones no sample has."""
        added = (0, length - len(self.count))
        return Sums(np.pad(self.share, added), np.pad(self.count, added))


class StepShares:
    """The mean share of every step, part by part of a fusion, collected batch by batch."""

    def __init__(self) -> None:
        self._sums: dict[str, Sums] = {}

    def observe(self, explained: Sequence[Mapping[str, Tensor]]) -> None:
        """Take in a batch: `Fusion.explain` of each way it was looked at, whose mean counts."""
        for name, values in of_parts(explained[0]).items():
            looks = [values, *(of_parts(one)[name] for one in explained[1:])]
            self._add(name, Sums.of(torch.stack(looks).double().mean(0).cpu().numpy()))

    def gather(self, gathering: Gathering) -> None:
        """Take in what all processes have seen."""
        found, self._sums = gathering.all(self._sums), {}
        for of_process in found:
            for name, sums in of_process.items():
                self._add(name, sums)

    def summary(self) -> dict[str, dict[str, list[Any]]]:
        """{part: {"mean": of each step, "count": samples that have it}}; empty where nothing comes in steps."""
        return {
            name: {"mean": (sums.share[there] / sums.count[there]).tolist(), "count": sums.count[there].tolist()}
            for name, sums in self._sums.items()
            if (there := sums.count > 0).any()
        }

    def _add(self, name: str, sums: Sums) -> None:
        self._sums[name] = self._sums[name] + sums if name in self._sums else sums


def of_parts(explained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """{part: (B, S)} the shares of the steps among all that a fusion explains; NaN in steps that a sample does not
    have, and where nothing came through the part.
    """
    return {
        name.removeprefix(TIME): torch.where(explained[STEPS] & (values > 0).any(1, keepdim=True), values, torch.nan)
        for name, values in explained.items()
        if name.startswith(TIME)
    }
