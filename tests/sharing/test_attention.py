"""Masks of each task over shared features: their numbers, and whose gradients and weights are whose."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.engine.test_step import FACTORS, assert_close, gradients, joined, made, shared
from weft import load_experiment
from weft.engine.apart import only
from weft.engine.check import check
from weft.errors import ConfigError
from weft.model import Model
from weft.registry import Part
from weft.sharing.attention import AttentionSharing, Mask
from weft.types import Batch, Features, FeatureSpec


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def numbered(mask: Mask, *, hidden: list[list[float]]) -> None:
    """A mask of two channels by hand: `hidden` before the norm, and the mask as the norm leaves it."""
    with torch.no_grad():
        mask.hidden.weight.copy_(torch.tensor(hidden))
        mask.hidden.bias.zero_()
        mask.mask.weight.copy_(torch.eye(2))
        mask.mask.bias.zero_()


def hand_made(*, finer: int) -> Mask:
    mask = Mask(2, finer=finer, inner=2)
    if mask.down is not None and mask.down.bias is not None:
        nn.init.zeros_(mask.down.weight)
        nn.init.zeros_(mask.down.bias)
        with torch.no_grad():
            mask.down.weight[:, :, 1, 1] = torch.eye(2)  # hands each place on as it is
    return mask


def test_a_mask_is_the_sigmoid_of_what_the_level_says() -> None:
    mask = hand_made(finer=0)
    numbered(mask, hidden=[[1, 0], [0, 1]])
    # (1, 3) normalised is (-1, 1), of which ReLU leaves (0, 1)
    own = mask(torch.tensor([[[[1.0, 3.0]]]]), None)
    torch.testing.assert_close(own.flatten(), torch.tensor([0.5, 3 * sigmoid(1)]), rtol=1e-4, atol=1e-4)


def test_the_tasks_features_of_the_finer_level_decide_at_the_next() -> None:
    mask = hand_made(finer=2)
    numbered(mask, hidden=[[0, 0, 1, 0], [0, 0, 0, 1]])  # of what comes from below alone
    finer = torch.zeros(1, 2, 4, 2)
    finer[0, 1, 0] = torch.tensor([1.0, 3.0])  # the largest of the four left places; of the right ones all are 0
    shared_map = torch.tensor([10.0, 20.0]).expand(1, 1, 2, 2)
    own = mask(shared_map, finer)[0, 0]
    # (1, 3) → norm and ReLU (0, 1) → again (0, 1); and where nothing is below, norms of (0, 0) are (0, 0)
    torch.testing.assert_close(own[0], torch.tensor([5.0, 20 * sigmoid(1)]), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(own[1], torch.tensor([5.0, 10.0]))


def test_a_task_begins_near_the_shared_features() -> None:
    torch.manual_seed(0)
    sharing = AttentionSharing({"fused": FeatureSpec("grid", 16, (8, 16), (4, 8))})
    features = Features.of_pyramid([torch.randn(2, 8, 8, 8), torch.randn(2, 16, 4, 4)])
    own = sharing({"fused": features})["fused"]
    share = (own.tokens / features.tokens).detach()
    assert 0.6 < float(share.min()) < float(share.max()) < 1
    assert float(share.mean()) == pytest.approx(sigmoid(2), abs=0.05)


def test_an_open_mask_is_hard_sharing() -> None:
    """Eq. 1 of the article: where a mask is one everywhere, a task reads the shared features."""
    sharing = AttentionSharing({"fused": FeatureSpec("grid", 16, (8, 16), (4, 8))})
    for module in sharing.modules():
        if isinstance(module, Mask):
            nn.init.constant_(module.mask.bias, 100.0)
    features = Features.of_pyramid([torch.randn(2, 8, 8, 8), torch.randn(2, 16, 4, 4)])
    own = sharing({"fused": features})["fused"]
    torch.testing.assert_close(own.tokens, features.tokens)
    torch.testing.assert_close(own.maps[0], features.maps[0])


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, list[Batch]]:
    """As `made`, with masks of each task, and labels and pictures missing."""
    model, batches = made(tmp_path_factory.mktemp("sharing"), missing={"depth": 0.4, "heating": 0.5})
    spec = model.fusion.specs["fused"]
    torch.manual_seed(1)
    masks = {task: AttentionSharing({"fused": spec}) for task in model.tasks}
    parts = (model.preprocessors, model.encoders, model.fusion, model.tasks)
    soft = Model(*parts, decisions=model.decisions, levels=model.levels, sharing=masks)
    soft.train()
    return soft, batches


def test_each_task_reads_its_own_features(network: tuple[Model, list[Batch]]) -> None:
    model, batches = network
    views = model.views(model.encode(batches[0]), batches[0].size)
    read = {task: model.read_by(task, views)["fused"].tokens for task in model.tasks}
    assert not torch.equal(read["room"], read["heating"])
    torch.testing.assert_close(read["room"], model.sharing["room"](views.features)["fused"].tokens)


def test_a_task_moves_its_own_masks_and_no_others(network: tuple[Model, list[Batch]]) -> None:
    model, batches = network
    model.zero_grad()
    model.losses(model(batches[0]), batches[0])["room"][0].backward()
    reached = {name.split(".")[1] for name, p in model.named_parameters() if "sharing." in name and p.grad is not None}
    assert reached == {"room"}


def test_gradients_are_still_taken_at_the_views_and_masks_go_with_the_heads(
    network: tuple[Model, list[Batch]],
) -> None:
    """Cut at the shared views, or not at all: one gradient. What is shared ends before the masks."""
    model, batches = network
    together, _ = gradients(model, batches[:1], "fixed")
    apart, taken = gradients(model, batches[:1], "fixed", look=True)
    assert_close(apart, together)
    assert taken.conflict is not None
    masks = {name for name in together if name.startswith("sharing.")}
    assert masks
    conflicting, _ = gradients(model, batches[:1], "pcgrad", at="parameters")
    assert_close({n: conflicting[n] for n in masks}, {n: together[n] for n in masks})  # by the task's own loss
    changed = shared(conflicting)
    assert any(not torch.allclose(changed[n], together[n], rtol=1e-3) for n in changed if n not in masks)


@pytest.mark.parametrize("rule", ["gls", "pcgrad"])
def test_several_batches_weigh_the_masks_as_one(network: tuple[Model, list[Batch]], rule: str) -> None:
    model, batches = network
    whole, one = gradients(model, [joined(*batches)], rule)
    parts, several = gradients(model, batches, rule)
    assert several.weights == {task: pytest.approx(weight, rel=1e-3) for task, weight in one.weights.items()}
    assert_close(parts, whole, rtol=2e-3)


def test_the_weight_of_a_rule_over_losses_falls_on_the_masks_too(network: tuple[Model, list[Batch]]) -> None:
    model, batches = network
    plain, _ = gradients(model, batches, "fixed")
    weighed, taken = gradients(model, batches, "gls")
    for task, weight in taken.weights.items():
        own = {n: g for n, g in plain.items() if n.startswith(f"sharing.{task}.")}
        assert own
        assert_close({n: weighed[n] for n in own}, {n: weight * g for n, g in own.items()})
    assert set(taken.weights) == set(FACTORS)


TASKS = {"room": {"type": "classification"}, "label": {"type": "segmentation", "decoder": "fcn"}}


def described(tmp_path: Path, **more: object) -> dict[str, object]:
    return {
        "name": "soft",
        "data": {"format": "scenes", "resolution": [48, 48], "num_train": 4, "workers": 0},
        "modalities": {"image": {"encoder": {"type": "timm", "name": "test_resnet"}}},
        "tasks": TASKS,
        "sharing": "attention",
        "train": {"batch_size": 4, "device": "cpu", "output": str(tmp_path), **more},
    }


def test_what_is_checked_counts_the_masks_with_their_task(tmp_path: Path) -> None:
    experiment = described(tmp_path)
    soft, hard = (
        {row.module: row.parameters for row in check(load_experiment({**experiment, "sharing": sharing}))}
        for sharing in ("attention", "hard")
    )
    assert soft["fusion"] == hard["fusion"]
    assert all(soft[f"tasks.{task}"] > hard[f"tasks.{task}"] for task in TASKS)
    with pytest.raises(ConfigError, match=r"sharing\.label"):
        check(load_experiment(described(tmp_path, lr_factors={"sharing.marks": 0.1})))


def test_a_task_apart_keeps_what_is_said_of_its_masks(tmp_path: Path) -> None:
    factors = {"sharing.room": 0.1, "sharing.label.masks": 0.2, "sharing": 2.0}
    alone = only(load_experiment(described(tmp_path, lr_factors=factors)), ["room"])
    assert alone.sharing == Part("sharing", "attention", {"reduction": 4})
    assert alone.train.lr_factors == {"sharing.room": 0.1, "sharing": 2.0}
