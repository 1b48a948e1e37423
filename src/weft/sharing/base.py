"""What every way of sharing is: between the views, which are of all tasks, and the heads of one."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from weft.types import Features


class Sharing(nn.Module, ABC):
    """One task's own features from the shared ones.

    It is built once for every task, so that all its parameters belong to that task, as those of its heads do: where
    tasks are weighed against each other, what they share ends at the views.

    A constructor takes `views: dict[str, FeatureSpec]`, the views that the task reads, and keyword-only options.
    """

    @abstractmethod
    def forward(self, features: dict[str, Features]) -> dict[str, Features]:
        """{view: the task's features}, of the specs of the shared ones, with the same rows and tokens real.

        Args:
            features: {view: Features} of some of `views`; others read them too, so they must be left as they are.
                What is not real (absent rows, padding) must change nothing, to the bit.
        """
