"""What the contract of encoders needs to know of each kind of input and of each encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.contracts.contract_cases import cases
from tests.encoders.tiny_transformer import tiny_bert
from tests.encoders.tiny_video_transformer import tiny_video
from weft.encoders.base import Encoder
from weft.modalities.base import Facts
from weft.modalities.table import TableModality
from weft.registry import Part, get
from weft.types import InputSpec

#: Real entries of the rows of sequences, in no order; the longest is not the first.
LENGTHS = torch.tensor([3, 9, 1, 6])


@dataclass(frozen=True)
class Given:
    """Four rows of one kind of input.

    Attributes:
        in_channels: what an encoder of it is built for.
        inputs: (4, ...).
        lengths: (4,) of sequences.
        axis: along which a sequence runs.
        facts: of its modality.
    """

    in_channels: int
    inputs: Tensor
    lengths: Tensor | None = None
    axis: int = 1
    facts: Facts = field(default_factory=dict)

    def row(self, index: int) -> tuple[Tensor, Tensor | None]:
        """One row alone, without padding."""
        if self.lengths is None:
            return self.inputs[index : index + 1], None
        alone = self.inputs[index : index + 1].narrow(self.axis, 0, int(self.lengths[index]))
        return alone, self.lengths[index : index + 1]

    def with_other_padding(self) -> Tensor:
        """The same inputs with other entries after the end of each row."""
        assert self.lengths is not None
        places = torch.arange(self.inputs.shape[self.axis])
        real = places < self.lengths[:, None]
        shape = [len(self.inputs), *[1] * (self.inputs.dim() - 1)]
        shape[self.axis] = len(places)
        return torch.where(real.view(shape), self.inputs, self.inputs.flip(0, self.axis))


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def _text() -> Given:
    return Given(29, torch.randint(5, 29, (4, 9), generator=_generator()), LENGTHS)


def _audio() -> Given:
    return Given(16, torch.randn(4, 1, 16, 360, generator=_generator()), 40 * LENGTHS, axis=3)


def _video() -> Given:
    return Given(3, torch.randn(4, 4, 3, 64, 64, generator=_generator()), torch.tensor([2, 4, 1, 3]))


def _table() -> Given:
    """A number and a date that may be missing, a number that may not, and two categories, one of which may."""
    rows = [
        {"age": 30, "sex": "F", "since": "2020-03-01", "height": 1.7, "zone": "a"},
        {"age": None, "sex": "M", "since": "2021-09-12", "height": 1.8, "zone": None},
        {"age": 50, "sex": "F", "since": None, "height": 1.6, "zone": "b"},
        {"age": 41, "sex": "M", "since": "2022-01-30", "height": 1.9, "zone": "a"},
    ]
    bare = TableModality({}, min_count=1)
    modality = TableModality(bare.fit(bare.read(row, Path) for row in rows))
    values = torch.stack([modality.to_tensor(modality.read(row, Path)) for row in rows])
    return Given(modality.num_channels, modality.preprocessor(InputSpec())(values), facts=modality.facts)


#: {Modality.kind: its inputs}. A new kind of input needs a line here.
GIVEN: dict[str, Callable[[], Given]] = {
    "video": _video,
    "raster": lambda: Given(3, torch.randn(4, 3, 64, 64, generator=_generator())),
    "text": _text,
    "audio": _audio,
    "table": _table,
}

#: {encoder: options that only a test run knows}
LOCAL: dict[str, Callable[[], Mapping[str, Any]]] = {
    "huggingface": lambda: {"weights": str(tiny_bert())},
    "huggingface_video": lambda: {"weights": str(tiny_video("vivit"))},
}


def given_to(part: Part) -> Given:
    """Inputs of the kind that an encoder reads."""
    return GIVEN[get("encoder", part.type).reads]()  # type: ignore[attr-defined]


def with_local(part: Part, **more: Any) -> Part:
    """The part with the options that only a test run knows, and `more`."""
    return Part(part.kind, part.type, {**part.options, **LOCAL.get(part.type, dict)(), **more})


def facts_of(part: Part) -> Facts:
    """What is known of the modality: its own facts, and what the encoder brings."""
    brought: Facts = get("encoder", part.type).brings(part.options)  # type: ignore[attr-defined]
    return {**given_to(part).facts, **brought}


def build(part: Part, *, seed: int = 0, initialise: bool = True, **more: Any) -> Encoder:
    """The encoder for the inputs of its kind."""
    part = with_local(part, **more)
    torch.manual_seed(seed)
    encoder: Encoder = part(given_to(part).in_channels, initialise, facts_of(part))
    return encoder


def encoders_reading(*kinds: str) -> list[Part]:
    """The encoder cases that read one of some kinds of input."""
    return [part for part in cases("encoder") if get("encoder", part.type).reads in kinds]  # type: ignore[attr-defined]
