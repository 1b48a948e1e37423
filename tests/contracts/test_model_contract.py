"""The table of fusion × need: each cell trains, predicts and survives a drop, or is refused with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.contracts.contract_cases import cases, for_modalities, label
from weft.encoders.base import Encoder
from weft.modalities.base import Field
from weft.model import Model
from weft.registry import Part
from weft.tasks.base import Task
from weft.types import Batch, Features, FeatureSpec, InputSpec, Need, Records

FUSIONS = pytest.mark.parametrize("part", cases("fusion"), ids=label)
NEEDS = pytest.mark.parametrize("need", ["vector", "tokens", "maps"])

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
            "tokens": lambda: [features.tokens.mean(1)],
            "maps": lambda: [level.mean((2, 3)) for level in features.pyramid],
        }[self.need]()
        return torch.stack([linear(x) for linear, x in zip(self.linears, read, strict=True)]).sum(0)


class NumberTask(Task):
    """A number per sample, by squared error."""

    Target: ClassVar[type[Field]] = Field
    higher_is_better: ClassVar[Mapping[str, bool]] = {"MSE": False}
    main_figure = "MSE"

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

    def write(
        self, prediction: np.ndarray, sample: str, size: tuple[int, int], folder: Path, *, working_size: tuple[int, int]
    ) -> None: ...

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


def build(part: Part, need: Need, *, image_like: bool) -> Model:
    torch.manual_seed(0)
    make = PyramidEncoder if image_like else VectorEncoder
    encoders = {"a": make(3, 12), "b": make(2, 16)}
    specs = {m: encoder.spec for m, encoder in encoders.items()}
    fusion = for_modalities(part, NAMES)(specs)
    return Model(
        {m: nn.Identity() for m in NAMES},
        encoders,
        fusion,
        {"number": NumberTask(fusion.specs, need)},
        decisions={"number": Part("decision", "mean")(tuple(fusion.specs), "values")},
    )


def batch(*, image_like: bool, num_rows: int = 4) -> Batch:
    torch.manual_seed(1)
    present = {"a": torch.tensor([True, True, False, True]), "b": torch.tensor([True, False, True, True])}
    shape = (32, 32) if image_like else ()
    return Batch(
        inputs={m: torch.randn(int(present[m].sum()), c, *shape) for m, c in (("a", 3), ("b", 2))},
        targets={"number": torch.randn(3, 1)},
        present=present,
        labelled={"number": torch.tensor([True, True, True, False])},
        ids=tuple("0123"),
        size=(32, 32) if image_like else (0, 0),
    )


@FUSIONS
@NEEDS
@pytest.mark.parametrize("image_like", [True, False], ids=["maps", "vectors"])
def test_a_cell_trains_predicts_and_survives_a_drop_or_says_why_not(part: Part, need: Need, image_like: bool) -> None:
    if not image_like and (need == "maps" or part.type == "rectify"):
        with pytest.raises(ValueError, match="needs maps and view|have no places"):
            build(part, need, image_like=image_like)
        return
    model = build(part, need, image_like=image_like).train()
    data = batch(image_like=image_like)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(3):
        total, count = model.losses(model(data), data)["number"]
        assert count == model.counts(data)["number"]
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
        losses.append(float(total.detach()))
    assert losses[-1] < losses[0]
    idle = {name for name, p in model.named_parameters() if p.grad is None}
    assert not idle if need == "maps" else all("fine" in name or name.startswith("fusion") for name in idle)
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
        {m: nn.Identity() for m in NAMES},
        dict.fromkeys(NAMES, shared),
        fusion,
        {"number": task},
        decisions={"number": Part("decision", "mean")(tuple(NAMES), "values")},
    )
    own = sum(p.numel() for p in shared.parameters()) + sum(p.numel() for p in task.parameters())
    assert sum(p.numel() for p in model.parameters()) == own
    data = batch(image_like=True)
    data.inputs["b"] = torch.randn(len(data.inputs["b"]), 3, 32, 32)
    gradients = []
    for kept in ([], ["a"], ["b"]):
        model.zero_grad()
        seen = data.without(kept)
        model.losses(model(seen), seen)["number"][0].backward()
        gradients.append(shared.fine.weight.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1] + gradients[2])
