"""What every fusion is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from weft.types import Features, FeatureSpec, Memory


class Fusion(nn.Module, ABC):
    """Feature-level fusion: features by modality in, features by view out.

    A constructor takes `specs: dict[str, FeatureSpec]` ({modality: spec}, two or more unless the fusion says otherwise)
    and keyword-only options, and sets `specs`.

    Attributes:
        specs: {view: FeatureSpec} of what `forward` returns.
    """

    #: whether `forward` returns the one view `fused`; else a view per modality
    gives_fused: ClassVar[bool] = True

    #: whether every modality must have maps
    needs_maps: ClassVar[bool] = False

    #: the modalities that `step` takes frame by frame; the others are known from the start
    timed: tuple[str, ...] = ()

    specs: dict[str, FeatureSpec]

    @abstractmethod
    def forward(self, features: dict[str, Features]) -> dict[str, Features]:
        """Fuse. A row of a view is present where at least one of its modalities is.

        Absent rows arrive as zeros with `present` False; whatever they hold must change nothing, to the bit.
        """

    @property
    def cannot_stream(self) -> str | None:
        """Why `step` is not to be had, and what to do; None where it is."""
        return "this fusion reads clips whole; `fusion: {type: dtl, causal: true}` reads them frame by frame"

    def step(self, features: dict[str, Features], memory: Memory | None) -> tuple[dict[str, Features], Memory]:
        """Fuse one step of a stream: as `forward`, but what went before is in the memory, which is handed back changed.

        Args:
            features: {modality: Features} of one frame of a clip, or one token of a sequence that comes in steps; what
                is known from the start (a picture, a sentence) is handed in whole with every step.
            memory: what the last step gave back; None in the first.

        Returns:
            The views of this step, which are what `forward` gives for the whole clip at that step, their vectors what
            it gives for the clip up to there; and the memory. It is new: the one that was handed in is as it was.

        Raises:
            ValueError: it cannot stream.
        """
        raise ValueError(self.cannot_stream)

    def compared(self, features: dict[str, Features]) -> dict[str, dict[str, Tensor]]:
        """{stage: {modality: (B, D)}} features of the modalities by themselves, whose likeness a report measures.

        By default there are no stages: what is fused is no modality's any more.
        """
        return {}

    def explain(self, features: dict[str, Features]) -> dict[str, Tensor]:
        """What a report shows of how the fusion decided, worked out on demand; nothing of it is kept by `forward`.

        M axes are in the order of the modalities. Absent modalities and tokens that are not real have 0. Keys:

        - `stride 4` (one per level), or `vector` where there are no maps: (B, M) or (B, M, h, w), the weight of each
          modality at that level; of clips, (B * T, M, ...).
        - `attention/<modality>`: (B, N), of fusions by attention: how much of the view's vector comes from each of the
          modality's tokens, in their order (`Features.grid` says which pixel a token is; text has a token per
          word piece). Over the tokens of all modalities a row sums to 1.
        - `share`: (B, M), with them: the sum of each modality's.
        - `part/<name>`: (B, M), of what a part of the fusion looked at, the share of each modality; a row sums to 1, or
          is 0 where the part saw nothing.
        - `time/<name>`: (B, S), where anything comes in steps of time: of what of the view's vector came through a part
          of the fusion, the share from each step. A row sums to 1 less what was known before the first, or is 0 where
          nothing came through.
        - `time`: (B, S) bool, with them: the steps that a sample has.
        """
        return {}
