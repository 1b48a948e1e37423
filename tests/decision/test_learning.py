"""Decision rules inside the network: what is learned, from what, and what is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.contracts.contract_cases import GRIDS, VECTORS, features_of
from tests.tasks.task_cases import DECODER
from weft.model import Model, Outputs
from weft.registry import Part
from weft.tasks.base import Task
from weft.tasks.class_label import ClassLabel
from weft.tasks.classification import Classification
from weft.tasks.label_map import LabelMap
from weft.tasks.location import Location
from weft.tasks.pixel_regression import PixelRegression
from weft.tasks.pixel_values import PixelValues
from weft.tasks.points import Points
from weft.tasks.segmentation import Segmentation
from weft.types import Batch, Features, FeatureSpec

ROWS, SIZE = 6, (32, 48)
VIEWS = ("a", "b", "c")
PRESENT = {
    "a": torch.tensor([True, True, False, False, True, False]),
    "b": torch.tensor([True, False, True, False, True, False]),
    "c": torch.tensor([True, False, False, True, False, False]),  # the last row has nothing at all
}
LABELLED = torch.tensor([True, True, True, True, False, True])

MEAN, LINEAR = Part("decision", "mean"), Part("decision", "linear")
FIELD = ClassLabel({"classes": ["x", "y", "z"]})


def segmentation() -> Task:
    return Segmentation(GRIDS, LabelMap({}, num_classes=3), decoder=DECODER, dropout=0.0)


def values() -> Task:
    facts = {"mean": 3.0, "std": 1.2, "low": 0.9, "high": 5.5}
    return PixelRegression(GRIDS, PixelValues(facts), decoder=DECODER)


def targets(name: str) -> Tensor:
    """Of the rows that are labelled."""
    generator, num = torch.Generator().manual_seed(7), int(LABELLED.sum())
    if name == "masks":
        masks = torch.randint(0, 3, (num, *SIZE), generator=generator, dtype=torch.uint8)
        masks[:, :5] = 255
        return masks
    if name == "maps of values":
        return 1 + 4 * torch.rand(num, 1, *SIZE, generator=generator)
    if name == "labels":
        return (torch.rand(num, 3, generator=generator) > 0.5).float()
    if name == "points":
        return torch.rand(num, 2, 3, generator=generator).mul(20).add(torch.tensor([0.0, 0.0, 1.0]))
    return torch.randint(0, 3, (num,), generator=generator)


TASKS = {
    "classes": lambda: Classification(VECTORS, FIELD, dropout=0.0),
    "labels": lambda: Classification(VECTORS, ClassLabel({"classes": ["x", "y", "z"]}, multi_label=True), dropout=0.0),
    "masks": segmentation,
    "maps of values": values,
    "points": lambda: Location(GRIDS, Points({"points": ["p", "q"]}), width=16),
}
ALL_TASKS = pytest.mark.parametrize("name", TASKS)


def specs_of(name: str) -> Mapping[str, FeatureSpec]:
    return VECTORS if name in ("classes", "labels") else GRIDS


def model_of(name: str, rule: Part) -> Model:
    """The heads of three views and a rule, whose learned weights differ; there are no encoders."""
    torch.manual_seed(0)
    task = TASKS[name]()
    decision = rule(VIEWS, task.answer)
    with torch.no_grad():
        for number, parameter in enumerate(decision.parameters()):
            parameter.fill_(0.1 * number)
    return Model({}, {}, Part("fusion", "none")(specs_of(name)), {"task": task}, decisions={"task": decision})


def score_gradients(model: Model) -> list[float]:
    """Gradients of the weights themselves; those of what absence adds need rows that are not here."""
    learned = model.decisions.named_parameters()  # type: ignore[attr-defined]
    return [float(p.grad) for name, p in learned if ".scores." in name and p.grad is not None]


def features(name: str) -> dict[str, Features]:
    return {m: features_of(spec, PRESENT[m], SIZE, seed=ord(m)) for m, spec in specs_of(name).items()}


def batch(name: str) -> Batch:
    return Batch(
        inputs={},
        targets={"task": targets(name)},
        present=dict(PRESENT),
        labelled={"task": LABELLED},
        ids=tuple("012345"),
        size=SIZE,
    )


def part_of(whole: Batch, rows: slice) -> Batch:
    labelled = whole.labelled["task"]
    inside = torch.zeros_like(labelled)
    inside[rows] = True
    return replace(
        whole,
        targets={"task": whole.targets["task"][inside[labelled]]},
        present={m: p[rows] for m, p in whole.present.items()},
        labelled={"task": labelled[rows]},
        ids=whole.ids[rows],
    )


@ALL_TASKS
@pytest.mark.parametrize("rule", [MEAN, LINEAR], ids=["mean", "learned"])
def test_the_count_known_beforehand_is_that_of_the_losses(name: str, rule: Part) -> None:
    model, data = model_of(name, rule).train(), batch(name)
    total, count = model.losses(model.decode(features(name), SIZE), data)["task"]
    assert count == model.counts(data)["task"] > 0
    assert total.isfinite()


@ALL_TASKS
def test_an_answer_given_together_counts_as_one_view_more(name: str) -> None:
    data = batch(name)
    task = TASKS[name]()
    answered = torch.stack(list(PRESENT.values())).any(0) & LABELLED
    more = task.count(data.targets["task"][answered[LABELLED]])
    assert model_of(name, LINEAR).counts(data)["task"] == model_of(name, MEAN).counts(data)["task"] + more


@ALL_TASKS
def test_sums_and_counts_of_parts_add_up_to_those_of_the_whole(name: str) -> None:
    model, data, seen = model_of(name, LINEAR).train(), batch(name), features(name)
    whole = model.losses(model.decode(seen, SIZE), data)["task"]
    parts = []
    for rows in (slice(0, 2), slice(2, 6)):
        index = torch.arange(ROWS)[rows]
        outputs = model.decode({m: feature.select(index) for m, feature in seen.items()}, SIZE)
        parts.append(model.losses(outputs, part_of(data, rows))["task"])
    for number in (0, 1):
        torch.testing.assert_close(sum(part[number] for part in parts), whole[number], rtol=1e-5, atol=1e-4)


@ALL_TASKS
def test_heads_learn_as_if_there_were_no_rule_to_learn(name: str) -> None:
    gradients = {}
    for rule in (MEAN, LINEAR):
        model = model_of(name, rule).train()
        total, _ = model.losses(model.decode(features(name), SIZE), batch(name))["task"]
        total.backward()
        gradients[rule.type] = [p.grad for p in model.tasks.parameters()]  # type: ignore[attr-defined]
        assert all(abs(gradient) > 1e-3 for gradient in score_gradients(model))
    assert all(torch.equal(a, b) for a, b in zip(gradients["mean"], gradients["linear"], strict=True))


def test_the_loss_of_the_rule_is_that_of_its_answer() -> None:
    data, seen = batch("classes"), features("classes")
    with_rule, without = model_of("classes", LINEAR).eval(), model_of("classes", MEAN).eval()
    outputs = with_rule.decode(seen, SIZE)
    answer = with_rule.answer(outputs)["task"]
    rows = answer.answered & LABELLED
    expected = F.nll_loss(answer.value[rows].log(), data.targets["task"][rows[LABELLED]], reduction="sum")
    difference = with_rule.losses(outputs, data)["task"][0] - without.losses(outputs, data)["task"][0]
    torch.testing.assert_close(difference, expected)


def test_coarse_maps_of_different_strides_are_combined_in_training() -> None:
    model = model_of("masks", LINEAR).train()
    outputs = model.decode(features("masks"), SIZE)
    sizes = {view: tuple(logits.shape[-2:]) for view, logits in outputs.logits["task"].items()}
    assert sizes == {"a": (16, 24), "b": (8, 12), "c": (2, 3)}
    model.losses(outputs, batch("masks"))["task"][0].backward()
    assert min(map(abs, score_gradients(model))) > 1e-3


@pytest.mark.parametrize("kept", ["a", "b", "c"])
def test_a_batch_with_a_single_modality_trains(kept: str) -> None:
    model, data = model_of("classes", LINEAR).train(), batch("classes")
    gone = [view for view in VIEWS if view != kept]
    seen = {m: f if m == kept else f.keep(torch.zeros_like(f.present)) for m, f in features("classes").items()}
    data = replace(data, present={m: p & (m not in gone) for m, p in PRESENT.items()})
    total, count = model.losses(model.decode(seen, SIZE), data)["task"]
    assert count == model.counts(data)["task"] == 2 * int((PRESENT[kept] & LABELLED).sum())
    total.backward()
    learned = [p.grad for p in model.decisions.parameters() if p.grad is not None]  # type: ignore[attr-defined]
    assert all(abs(float(gradient)) < 1e-5 for gradient in learned)  # one view has nothing to share


def test_a_batch_in_which_nothing_is_present_costs_nothing() -> None:
    model, data = model_of("classes", LINEAR).train(), batch("classes")
    seen = {m: f.keep(torch.zeros_like(f.present)) for m, f in features("classes").items()}
    data = replace(data, present={m: torch.zeros_like(p) for m, p in PRESENT.items()})
    assert model.losses(model.decode(seen, SIZE), data)["task"] == (0, 0)
    assert model.counts(data)["task"] == 0


class Told(nn.Module):
    """A head without parameters: the features are the logits."""

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        return features.pooled


class ToldTask(Classification):
    """A classification whose views say fixed things, so that only the rule can learn."""

    def build_head(self, spec: FeatureSpec) -> nn.Module:
        return Told()


def test_a_rule_learns_whom_to_trust_also_where_some_are_missing() -> None:
    torch.manual_seed(0)
    truth = torch.randint(0, 3, (300,))
    noise = {"a": 0.5, "b": 3.0, "c": 6.0}
    task = ToldTask(dict.fromkeys(VIEWS, FeatureSpec("vector", 3)), FIELD)
    decision = LINEAR(VIEWS, "classes")
    model = Model(
        {},
        {},
        Part("fusion", "none")(dict.fromkeys(VIEWS, FeatureSpec("vector", 3))),
        {"task": task},
        decisions={"task": decision},
    )
    present = {view: torch.rand(300) < 0.7 for view in VIEWS}
    said = {view: 4 * F.one_hot(truth, 3) + size * torch.randn(300, 3) for view, size in noise.items()}
    outputs = Outputs({"task": {view: said[view][present[view]] for view in VIEWS}}, present)
    data = Batch({}, {"task": truth}, present, {"task": torch.ones(300, dtype=torch.bool)}, tuple(map(str, range(300))))
    optimizer = torch.optim.Adam(decision.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        total, count = model.losses(outputs, data)["task"]
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
        losses.append(float(total.detach()))
    shares = decision.explain()
    assert losses[-1] < losses[0]
    assert shares["a"] > 0.8 > 0.1 > shares["c"]
