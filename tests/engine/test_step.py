"""One step: the tasks' gradients one by one, at the features or the parameters, from one batch or several."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchjd.aggregation import MGDA, PCGrad

from weft import load_experiment, registry
from weft.data.pipeline import build_data
from weft.engine.build import build_model
from weft.engine.step import Balance, Taken, losses_again, take_step
from weft.model import Model
from weft.types import Batch

ENCODER = {"type": "timm", "name": "mobilenetv3_small_050", "freeze_bn": True}
SMALL_UNET = {"type": "unet", "channels": [8, 8, 8, 8]}
#: Tasks without BatchNorm and dropout: what is exact is exact to rounding.
TASKS = {
    "room": {"type": "classification", "dropout": 0.0},
    "heating": {"type": "classification", "dropout": 0.0},
    "num_things": {"type": "regression", "dropout": 0.0},
}
FACTORS = {"room": 1.0, "heating": 0.5, "num_things": 2.0}


def made(tmp_path: Path, tasks: Mapping[str, Any] = TASKS, **data: Any) -> tuple[Model, list[Batch]]:
    """A network on two modalities in training mode, and two batches of four samples."""
    experiment = load_experiment(
        {
            "name": "step",
            "data": {"format": "scenes", "resolution": [48, 48], "num_train": 8, "workers": 0, **data},
            "modalities": {"image": {"encoder": ENCODER}, "depth": {"encoder": ENCODER}},
            "fusion": "concat",
            "tasks": dict(tasks),
            "train": {"batch_size": 4, "device": "cpu", "output": str(tmp_path)},
        }
    )
    read = build_data(experiment, facts=None)
    torch.manual_seed(0)
    model = build_model(experiment, read, pretrained=False)
    model.train()
    return model, list(read.batches("train", training=True, multiple=32))


def gradients(
    model: Model, batches: list[Batch], rule: str, *, look: bool = False, precision: str = "fp32", **options: Any
) -> tuple[dict[str, Tensor], Taken]:
    """What a step of a rule leaves in `grad`, with an optimiser that does not move."""
    model.zero_grad(set_to_none=True)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.0)
    balance = Balance(
        registry.Part("balancing", rule, options)(), {}, {name: FACTORS.get(name, 1.0) for name in model.tasks}, look
    )
    torch.manual_seed(7)
    taken = take_step(model, optimizer, batches, balance=balance, precision=precision, clip=None)
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, taken


def assert_close(first: Mapping[str, Tensor], second: Mapping[str, Tensor], *, rtol: float = 1e-3) -> None:
    assert first.keys() == second.keys()
    for name in first:
        scale = float(second[name].abs().max()) + 1e-8
        assert torch.allclose(first[name] / scale, second[name] / scale, atol=rtol), name


def shared(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in found.items() if not name.startswith(("tasks.", "decisions."))}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, list[Batch]]:
    return made(tmp_path_factory.mktemp("step"), missing={"depth": 0.4, "heating": 0.5})


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def losses_of(model: Model, batch: Batch) -> dict[str, Tensor]:
    losses = model.losses(model(batch), batch)
    return {task: FACTORS[task] * total / count for task, (total, count) in losses.items() if float(count)}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_task_by_task_the_gradient_of_the_sum_is_the_same(network: tuple[Model, list[Batch]], precision: str) -> None:
    model, batches = network
    together, _ = gradients(model, batches[:1], "fixed", precision=precision)
    apart, taken = gradients(model, batches[:1], "fixed", look=True, precision=precision)
    assert apart.keys() == together.keys()
    for name, gradient in together.items():  # bf16 rounds on the way, and small gradients more than large ones
        cosine = torch.nn.functional.cosine_similarity(apart[name].flatten(), gradient.flatten(), dim=0)
        assert float(cosine) > (1 - 1e-5 if precision == "fp32" else 0.95) or not bool(gradient.any()), name
    assert taken.conflict is not None
    assert all(-1 <= cosine <= 1 for cosine in taken.conflict.cosines().values())


def test_dense_heads_and_several_views_are_cut_as_well(tmp_path: Path) -> None:
    tasks = {
        "label": {"type": "segmentation", "decoder": SMALL_UNET, "dropout": 0.0, "over": ["fused", "image"]},
        "room": {"type": "classification", "dropout": 0.0},
    }
    model, batches = made(tmp_path, tasks)
    together, _ = gradients(model, batches[:1], "fixed")
    apart, _ = gradients(model, batches[:1], "fixed", look=True)
    assert_close(apart, together)


def test_conflict_is_the_cosine_of_the_gradients_of_all_shared_parameters(
    network: tuple[Model, list[Batch]],
) -> None:
    model, batches = network
    _, taken = gradients(model, batches[:1], "fixed", look=True)
    parameters = [p for name, p in model.named_parameters() if not name.startswith("tasks.") and p.requires_grad]
    rows = jacobian(losses_of(model, batches[0]), parameters)
    expected = torch.nn.functional.cosine_similarity(rows[0], rows[-1], dim=0)
    assert taken.conflict is not None
    assert taken.conflict.cosines()["room", "num_things"] == pytest.approx(float(expected), abs=1e-4)


def jacobian(losses: Mapping[str, Tensor], inputs: list[Any]) -> Tensor:
    """(K, n): each task's gradient of all the inputs."""
    rows = []
    for loss in losses.values():
        found = torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)
        rows.append(
            torch.cat(
                [
                    torch.zeros_like(i).flatten() if g is None else g.flatten()
                    for i, g in zip(inputs, found, strict=True)
                ]
            )
        )
    return torch.stack(rows)


@pytest.mark.parametrize(("rule", "aggregator"), [("pcgrad", PCGrad()), ("mgda", MGDA(epsilon=1e-6, max_iters=1000))])
@pytest.mark.parametrize("at", ["features", "parameters"])
def test_the_step_is_that_of_torchjd_on_the_whole_jacobian(
    network: tuple[Model, list[Batch]], rule: str, aggregator: Callable[[Tensor], Tensor], at: str
) -> None:
    model, batches = network
    batch = batches[0]
    found, _ = gradients(model, [batch], rule, at=at)
    views = model.views(model.encode(batch), batch.size)
    losses = model.losses(model.heads(views), batch)
    means = {task: FACTORS[task] * total / count for task, (total, count) in losses.items() if float(count)}
    inner = {n: p for n, p in model.named_parameters() if p.requires_grad and not n.startswith("tasks.")}
    places = [t for f in views.features.values() for t in (f.tokens, *f.maps) if t.requires_grad]
    seen = list(inner.values()) if at == "parameters" else places
    # the rule takes the tasks in the order of their names
    rows = jacobian({task: means[task] for task in sorted(means)}, seen)
    torch.manual_seed(7)
    combined = aggregator(rows.double()).float() * (len(rows) if rule == "mgda" else 1)  # whose weights add up to 1
    parts = [part.view_as(i) for part, i in zip(combined.split([i.numel() for i in seen]), seen, strict=True)]
    model.zero_grad(set_to_none=True)
    if at == "features":
        torch.autograd.backward(places, parts)
        expected = {name: p.grad for name, p in inner.items() if p.grad is not None}
    else:
        expected = dict(zip(inner, parts, strict=True))
    assert_close(
        shared(found), {n: g for n, g in expected.items() if n in found}, rtol=5e-3 if rule == "mgda" else 1e-3
    )


@pytest.mark.parametrize("rule", ["pcgrad", "mgda", "imtl"])
def test_a_rule_over_gradients_leaves_each_head_to_its_own_loss(network: tuple[Model, list[Batch]], rule: str) -> None:
    model, batches = network
    plain, _ = gradients(model, batches[:1], "fixed")
    found, _ = gradients(model, batches[:1], rule)
    heads = {name: value for name, value in plain.items() if name.startswith("tasks.")}
    assert_close({name: found[name] for name in heads}, heads, rtol=1e-5)


@pytest.mark.parametrize("rule", registry.names("balancing"))
def test_several_batches_give_the_gradient_of_one(network: tuple[Model, list[Batch]], rule: str) -> None:
    """Of the features' products a joined batch has the sums, so every rule takes the same step."""
    model, batches = network
    whole, one = gradients(model, [joined(*batches)], rule)
    parts, several = gradients(model, batches, rule)
    assert one.means == {task: pytest.approx(mean, rel=1e-5) for task, mean in several.means.items()}
    assert several.weights == {task: pytest.approx(weight, rel=1e-3) for task, weight in one.weights.items()}
    assert_close(parts, whole, rtol=2e-3)


def joined(first: Batch, second: Batch) -> Batch:
    """The samples of two batches as one."""

    def both(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: torch.cat([a[name], b[name]]) for name in a}

    return Batch(
        both(first.inputs, second.inputs),
        both(first.targets, second.targets),
        both(first.present, second.present),
        both(first.labelled, second.labelled),
        (*first.ids, *second.ids),
        first.size,
        (*first.sizes, *second.sizes),
    )


@pytest.mark.parametrize("rule", registry.names("balancing"))
def test_a_task_without_labels_in_the_step_is_left_alone(network: tuple[Model, list[Batch]], rule: str) -> None:
    model, batches = copy.deepcopy(network[0]), network[1]
    batch = unlabelled(batches[0], "heating")
    before = {name: p.clone() for name, p in model.tasks["heating"].named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    taken = take_step(
        model,
        optimizer,
        [batch],
        balance=Balance(registry.Part("balancing", rule)(), {}, FACTORS),
        precision="fp32",
        clip=None,
    )
    assert set(taken.weights) == {"room", "num_things"}
    for name, parameter in model.tasks["heating"].named_parameters():
        assert torch.equal(parameter, before[name])


def unlabelled(batch: Batch, *tasks: str) -> Batch:
    """The same batch without the labels of some tasks."""
    return Batch(
        batch.inputs,
        {t: x[:0] if t in tasks else x for t, x in batch.targets.items()},
        batch.present,
        {t: torch.zeros_like(x) if t in tasks else x for t, x in batch.labelled.items()},
        batch.ids,
        batch.size,
        batch.sizes,
    )


@pytest.mark.parametrize("rule", registry.names("balancing"))
def test_a_step_without_any_label_changes_nothing(network: tuple[Model, list[Batch]], rule: str) -> None:
    model, batches = network
    found, taken = gradients(model, [unlabelled(batches[0], *TASKS)], rule)
    assert (taken.finite, taken.counts, taken.weights) == (True, {}, {})
    assert not any(bool(gradient.any()) for gradient in found.values())


@pytest.mark.parametrize("rule", ["fixed", "gls", "pcgrad", "nash_mtl"])
def test_a_gradient_that_is_not_finite_moves_nothing(network: tuple[Model, list[Batch]], rule: str) -> None:
    model, batches = copy.deepcopy(network[0]), network[1]
    with torch.no_grad():
        next(model.tasks["room"].parameters()).fill_(float("nan"))
    _, taken = gradients(model, batches[:1], rule)
    assert not taken.finite


def test_looking_again_leaves_the_statistics_as_they_were(tmp_path: Path) -> None:
    tasks = {"label": {"type": "segmentation", "decoder": SMALL_UNET, "dropout": 0.0}}
    model, batches = made(tmp_path, tasks)
    twin = copy.deepcopy(model)
    losses = losses_again(model, batches[:1], precision="fp32")
    buffers = dict(twin.named_buffers())
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    total, count = twin.losses(twin(batches[0]), batches[0])["label"]
    assert losses["label"] == pytest.approx(float(total.detach() / count), rel=1e-5)
    assert any(
        not torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers()
    )  # a forward pass moves them
