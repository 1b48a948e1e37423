"""What every rule of sampling is: from the classes that the samples hold to how often each comes in an epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated

import numpy as np

from weft.data.class_counts import ClassCounts
from weft.registry import Range


class Sampling(ABC):
    """How often the training samples come in an epoch, by the classes that one task's target holds.

    A rule is a function of the counts and nothing else. A sample without a label for the task comes once, whatever the
    rule; one that holds none of the classes comes as often as one of the class that comes least.

    Args:
        task: whose classes are looked at.
        min_pixels: a mask holds a class where at least so many of its pixels, in the file, are of it.
        keep_length: an epoch has as many samples as without a rule, in the proportions of the rule.
    """

    def __init__(self, *, task: str, min_pixels: Annotated[int, Range(1)] = 1, keep_length: bool = False) -> None:
        self.task, self.min_pixels, self.keep_length = task, min_pixels, keep_length

    @abstractmethod
    def rates(self, held: ClassCounts) -> np.ndarray:
        """(n,) how often each sample comes in an epoch, on average; those without a label are of no matter.

        Args:
            held: what the samples hold, of classes of which some sample has one at least.
        """


def occurring(samples: np.ndarray) -> np.ndarray:
    """(K,) float64 samples of each class; NaN where no sample has it, so that nothing can follow from it."""
    return np.where(samples > 0, samples, np.nan)
