"""What every encoder is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from weft.modalities.base import Facts
from weft.types import Features, FeatureSpec, InputSpec, Memory


class Encoder(nn.Module, ABC):
    """One modality's network: normalised input in, `Features` out.

    A constructor takes `in_channels: int` (`Modality.num_channels`), then `initialise: bool = True`, whether to load
    the pretrained weights that the options name (weft says no where trained ones are loaded next), then
    `facts: Facts = NO_FACTS`, what is known of the modality (vocabulary, columns), then keyword-only options.

    Attributes:
        reads: the `Modality.kind` that it takes.
        lends_to: other kinds that can share its network; see `lent_to`.
        gives_maps: whether it can give maps.
        spec: what `forward` returns, known at construction.
        input_spec: what it wants of its input.
        lr_factor: factor on the learning rate of its parameters.
        notes: what is worth logging of how it was built.
    """

    reads: ClassVar[str]
    lends_to: ClassVar[tuple[str, ...]] = ()
    gives_maps: ClassVar[bool] = False
    spec: FeatureSpec
    input_spec: InputSpec = InputSpec()
    lr_factor: float = 1.0
    notes: tuple[str, ...] = ()

    @classmethod
    def brings(cls, options: Mapping[str, Any]) -> Facts:
        """Facts that it brings to its modality before any data is read (a tokenizer), JSON-able; kept in the run.

        Args:
            options: as in the configuration.
        """
        return {}

    def lent_to(self, kind: str, in_channels: int) -> Encoder:
        """The encoder of a modality that shares this one: itself, or for one of `lends_to` an encoder around it.

        Args:
            kind: the `Modality.kind`.
            in_channels: what this one was built for, too.

        Raises:
            ValueError: it cannot be shared with such a modality.
        """
        if kind != self.reads:
            raise ValueError(f"the shared encoder reads {self.reads}, and this modality is {kind}; give it its own")
        return self

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        """Encode P rows, all present.

        Args:
            inputs: (P, ...) as the modality's preprocessor gives them: rasters (P, C, H, W).
            lengths: (P,) real entries of each row of a sequence; None for what is none.

        Returns:
            Features of P rows; level l of a raster is exactly (ceil(H / s_l), ceil(W / s_l)) large. What lies beyond a
            row's length changes nothing in it.
        """
        return self.finish(self.extract(inputs, lengths))

    @abstractmethod
    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        """The network itself, which may be frozen whole; arguments as of `forward`."""

    def finish(self, features: Features) -> Features:
        """What comes after `extract` and is always trained, such as a new projection; nothing by default."""
        return features

    @property
    def cannot_stream(self) -> str | None:
        """Why `step` is not to be had, and what to do; None where it is."""
        return "this encoder reads its input whole"

    def step(self, inputs: Tensor, memory: Memory | None) -> tuple[Features, Memory]:
        """Encode one frame of P streams: as `forward`, but what went before is in the memory, handed back changed.

        Args:
            inputs: (P, 1, C, H, W), as the modality's preprocessor gives them.
            memory: what the last step gave back; None in the first. The one that was handed in is as it was.

        Returns:
            Features of this frame, which are what `forward` gives for the whole clip at that frame; their vector, where
            there is one, is what it gives for the clip up to there.

        Raises:
            ValueError: it cannot stream.
        """
        raise ValueError(self.cannot_stream)

    @property
    def extract_frozen(self) -> bool:
        """Whether `extract` gives the same for the same input throughout training, so that it need run only once."""
        return False

    @abstractmethod
    def layers(self) -> list[nn.Module]:
        """The stages of `extract` from input to output, for freezing and for learning rates that fall with depth."""
