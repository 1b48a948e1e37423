"""The table of fusion × need: each cell trains, predicts and survives a drop, or is refused with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.contracts.contract_cases import cases, for_modalities, label
from weft.compatibility import MIXTURES, refusal
from weft.encoders.base import Encoder
from weft.modalities.base import Field, Preprocessor
from weft.model import Model
from weft.registry import Part
from weft.tasks.base import Task
from weft.tasks.exchange import Origin
from weft.types import Batch, Features, FeatureSpec, InputSpec, Need, Records

FUSIONS = pytest.mark.parametrize("part", cases("fusion"), ids=label)
NEEDS: tuple[Need, ...] = ("vector", "tokens", "maps")

#: What meets and what is needed of it. Clips differ from pictures in their maps alone, so each is asked for these.
CELLS = [
    (need, kinds)
    for need in NEEDS
    for kinds in MIXTURES
    if len(kinds) == 2 and ("clip" not in kinds or need == "maps" or (need == "tokens" and "picture" in kinds))
]

NAMES = ["a", "b"]


class Head(nn.Module):
    """One number per sample, from what the task needs of the view."""

    def __init__(self, spec: FeatureSpec, need: Need) -> None:
        super().__init__()
        self.need = need
        self.linears = nn.ModuleList(nn.Linear(c, 1) for c in (spec.channels if need == "maps" else (spec.dim,)))

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        read = {
            "vector": lambda: [features.pooled],
            "tokens": lambda: [replace(features, vector=None).pooled],
            "maps": lambda: [of_real_frames(level.mean((2, 3)), features) for level in features.pyramid],
        }[self.need]()
        return torch.stack([linear(x) for linear, x in zip(self.linears, read, strict=True)]).sum(0)


def of_real_frames(values: Tensor, features: Features) -> Tensor:
    """(B, C) means over the real frames of (B * T, C)."""
    real = features.frames[:, :, None]
    return torch.where(real, values.unflatten(0, real.shape[:2]), 0).sum(1) / real.sum(1)


class NumberTask(Task):
    """A number per sample, by squared error."""

    Target: ClassVar[type[Field]] = Field
    higher_is_better: ClassVar[Mapping[str, bool]] = {"MSE": False}
    main_figure = "MSE"
    over_time: ClassVar[bool] = True

    def __init__(self, views: Mapping[str, FeatureSpec], need: Need) -> None:
        self.__class__.need = need
        super().__init__(views, cast(Any, None))

    def build_head(self, spec: FeatureSpec) -> nn.Module:
        return Head(spec, self.need)

    def loss(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return ((logits - target) ** 2).sum(), self.count(target)

    def count(self, target: Tensor) -> Tensor:
        return torch.tensor(float(len(target)))

    def predict(self, logits: Tensor) -> Tensor:
        return logits

    def records(self, prediction: Tensor, target: Tensor, ids: list[str]) -> Records:
        return Records()

    def figures(self, records: Records) -> dict[str, float]:
        return {}

    def badness(self, records: Records) -> np.ndarray:
        return np.zeros(0)

    def write(self, prediction: np.ndarray, origin: Origin, folder: Path) -> None: ...

    def draw(self, prediction: np.ndarray, background: Image.Image) -> Image.Image:
        return background

    def draw_truth(self, target: np.ndarray, background: Image.Image) -> Image.Image:
        return background


class VectorEncoder(Encoder):
    """A row of a table, as one token."""

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, dim)
        self.spec = FeatureSpec("vector", dim)
        self.input_spec = InputSpec()

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        whole = torch.ones(len(inputs), dtype=torch.bool)
        return Features(self.linear(inputs)[:, None], whole[:, None], whole)

    def layers(self) -> list[nn.Module]:
        return [self.linear]


class PyramidEncoder(VectorEncoder):
    """Two levels, at strides 4 and 16."""

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__(in_channels, dim)
        self.spec = FeatureSpec("grid", dim, (8, dim), (4, 16))
        self.fine = nn.Conv2d(in_channels, 8, 4, stride=4)
        self.linear = cast(Any, nn.Conv2d(8, dim, 4, stride=4))

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        fine = self.fine(inputs)
        return Features.of_pyramid([fine, self.linear(fine)])


class ClipEncoder(PyramidEncoder):
    """The same of every frame."""

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__(in_channels, dim)
        self.spec = replace(self.spec, layout="clip")

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        assert lengths is not None
        real = torch.arange(inputs.shape[1]) < lengths[:, None]
        return Features.of_frames(super().extract(inputs[real]), real)


class SequenceEncoder(VectorEncoder):
    """A token per step of a sequence."""

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__(in_channels, dim)
        self.spec = FeatureSpec("sequence", dim)

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        assert lengths is not None
        return Features.of_sequence(self.linear(inputs), lengths)


class Plain(Preprocessor):
    """Inputs as they are."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs


#: {kind: its encoder, and the shape of a row after or before its channels}.
KINDS = {
    "picture": (PyramidEncoder, lambda channels: (channels, 32, 32)),
    "clip": (ClipEncoder, lambda channels: (5, channels, 32, 32)),
    "sequence": (SequenceEncoder, lambda channels: (5, channels)),
    "vector": (VectorEncoder, lambda channels: (channels,)),
}


def build(part: Part, need: Need, kinds: tuple[str, ...]) -> Model:
    torch.manual_seed(0)
    encoders = {m: KINDS[kind][0](*size) for m, kind, size in zip(NAMES, kinds, ((3, 12), (2, 16)), strict=True)}
    specs = {m: encoder.spec for m, encoder in encoders.items()}
    fusion = for_modalities(part, NAMES)(specs)
    return Model(
        {m: Plain() for m in NAMES},
        encoders,
        fusion,
        {"number": NumberTask(fusion.specs, need)},
        decisions={"number": Part("decision", "mean")(tuple(fusion.specs), "values")},
    )


def batch(kinds: tuple[str, ...]) -> Batch:
    torch.manual_seed(1)
    present = {"a": torch.tensor([True, True, False, True]), "b": torch.tensor([True, False, True, True])}
    shapes = {m: KINDS[kind][1](channels) for m, kind, channels in zip(NAMES, kinds, (3, 2), strict=True)}
    return Batch(
        inputs={m: torch.randn(3, *shape) for m, shape in shapes.items()},
        targets={"number": torch.randn(3, 1) + 5},  # far from where it starts
        present=present,
        labelled={"number": torch.tensor([True, True, True, False])},
        ids=tuple("0123"),
        lengths={
            m: torch.tensor([5, 2, 4]) for m, kind in zip(NAMES, kinds, strict=True) if kind in ("sequence", "clip")
        },
        size=(32, 32) if {"picture", "clip"} & set(kinds) else (0, 0),
    )


@torch.no_grad()
def loss_of(model: Model, data: Batch) -> float:
    """The loss without dropout."""
    training = model.training
    total, _ = model.eval().losses(model(data), data)["number"]
    model.train(training)
    return float(total)


@FUSIONS
@pytest.mark.parametrize(("need", "kinds"), CELLS, ids=[f"{need}-{'+'.join(kinds)}" for need, kinds in CELLS])
def test_a_cell_trains_predicts_and_survives_a_drop_or_says_why_not(
    part: Part, need: Need, kinds: tuple[str, ...]
) -> None:
    if refusal(part.type, kinds, need, over_time=True) is not None:
        with pytest.raises(ValueError, match=r"needs maps and view|have no places"):
            build(part, need, kinds)
        return
    model = build(part, need, kinds).train()
    data = batch(kinds)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    before = loss_of(model, data)
    for _ in range(5):
        total, count = model.losses(model(data), data)["number"]
        assert count == model.counts(data)["number"]
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
    assert loss_of(model, data) < before
    idle = {name for name, p in model.named_parameters() if p.grad is None}
    unread = ("fusion",) if need == "maps" else ("fusion", "encoders.a.fine", "encoders.b.fine")
    assert all(name.startswith(unread) for name in idle)  # of the fusion, what the task does not read of its view
    model.eval()
    everything = model.predict(data)["number"]
    assert everything.answered.all()
    without = model.predict(data.without(["b"]))["number"]
    assert torch.equal(without.answered, data.present["a"])
    assert without.value[without.answered].isfinite().all()
    torch.testing.assert_close(without.value[1], everything.value[1])  # the row that never had b


def test_a_shared_encoder_is_one_module_that_learns_from_both() -> None:
    torch.manual_seed(0)
    shared = PyramidEncoder(3, 12)
    fusion = Part("fusion", "none")(dict.fromkeys(NAMES, shared.spec))
    task = NumberTask(fusion.specs, "vector")
    model = Model(
        {m: Plain() for m in NAMES},
        dict.fromkeys(NAMES, shared),
        fusion,
        {"number": task},
        decisions={"number": Part("decision", "mean")(tuple(NAMES), "values")},
    )
    own = sum(p.numel() for p in shared.parameters()) + sum(p.numel() for p in task.parameters())
    assert sum(p.numel() for p in model.parameters()) == own
    data = batch(("picture", "picture"))
    data.inputs["b"] = torch.randn(len(data.inputs["b"]), 3, 32, 32)
    gradients = []
    for kept in ([], ["a"], ["b"]):
        model.zero_grad()
        seen = data.without(kept)
        model.losses(model(seen), seen)["number"][0].backward()
        gradients.append(shared.fine.weight.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1] + gradients[2])
