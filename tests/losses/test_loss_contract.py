"""What every registered loss keeps to; a new loss is tested by being in CASES."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from weft import registry
from weft.losses.base import Loss, TargetFacts
from weft.losses.weighted_sum import build_loss


def classes() -> tuple[Tensor, Tensor]:
    target = torch.randint(0, 3, (4, 5, 6))
    target[0, 0] = -100
    return torch.randn(4, 3, 5, 6), target


def flags() -> tuple[Tensor, Tensor]:
    target = (torch.rand(4, 3) > 0.5).float()
    target[1, 2] = torch.nan
    return torch.randn(4, 3), target


def values() -> tuple[Tensor, Tensor]:
    target = torch.rand(4, 1, 5, 6) + 0.5
    target[0, 0, :2] = torch.nan
    return torch.rand(4, 1, 5, 6) + 0.5, target


def edges() -> tuple[Tensor, Tensor]:
    target = (torch.rand(4, 1, 5, 6) > 0.8).float()
    target[0, 0, :2] = torch.nan
    return torch.randn(4, 1, 5, 6), target


NAMES = ("a", "b", "c")
PIXELS = TargetFacts("classes", maps=True, classes=NAMES, counts=(70, 20, 10), num_counted=100)
FLAGS = TargetFacts("labels", classes=NAMES, counts=(50, 20, 10), num_counted=100)
EDGES = TargetFacts("labels", maps=True, classes=("edge",), counts=(20,), num_counted=100)
VALUES = TargetFacts("values", maps=True)

#: {name: (facts of the target, loss or losses, makes prediction and target, target where nothing is known)}
CASES = {
    "cross_entropy": (PIXELS, {"type": "cross_entropy"}, classes, -100),
    "weighted cross_entropy": (
        PIXELS,
        {"type": "cross_entropy", "class_weights": [0.5, 1.0, 3.0], "label_smoothing": 0.1},
        classes,
        -100,
    ),
    "focal": (PIXELS, {"type": "focal", "class_weights": "effective"}, classes, -100),
    "focal of labels": (FLAGS, {"type": "focal", "alpha": 0.25}, flags, torch.nan),
    "focal of edges": (EDGES, {"type": "focal", "gamma": 1.0}, edges, torch.nan),
    "ohem_cross_entropy": (PIXELS, {"type": "ohem_cross_entropy", "keep": 0.3}, classes, -100),
    "weighted ohem_cross_entropy": (
        PIXELS,
        {"type": "ohem_cross_entropy", "threshold": 0.2, "class_weights": "inverse"},
        classes,
        -100,
    ),
    "dice": (PIXELS, {"type": "dice"}, classes, -100),
    "dice of edges": (EDGES, {"type": "dice", "smooth": 0.1}, edges, torch.nan),
    "lovasz": (PIXELS, {"type": "lovasz"}, classes, -100),
    "boundary": (PIXELS, {"type": "boundary", "pairs": {"a": {"b": 3.0, "c": 0.5}}, "inside": 0.2}, classes, -100),
    "binary_cross_entropy": (
        FLAGS,
        {"type": "binary_cross_entropy", "pos_weight": [1.0, 2.0, 5.0]},
        flags,
        torch.nan,
    ),
    "binary_cross_entropy of edges": (
        EDGES,
        {"type": "binary_cross_entropy", "pos_weight": "inverse"},
        edges,
        torch.nan,
    ),
    "balanced_binary_cross_entropy": (EDGES, {"type": "balanced_binary_cross_entropy"}, edges, torch.nan),
    "l1": (VALUES, {"type": "l1"}, values, torch.nan),
    "mse": (VALUES, {"type": "mse"}, values, torch.nan),
    "huber": (VALUES, {"type": "huber", "delta": 0.2}, values, torch.nan),
    "scale_invariant": (VALUES, {"type": "scale_invariant", "balance": 0.85}, values, torch.nan),
    "a sum": (
        PIXELS,
        [
            {"type": "cross_entropy", "class_weights": "inverse"},
            {"type": "dice", "weight": 0.5},
            {"type": "lovasz", "weight": 2.0},
            {"type": "boundary"},
        ],
        classes,
        -100,
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Loss, Tensor, Tensor, float]:
    torch.manual_seed(0)
    facts, chosen, make, nothing = CASES[request.param]
    prediction, target = make()
    loss = build_loss(registry.as_part("loss", chosen), facts)
    return loss, prediction.requires_grad_(), target, nothing


def test_every_registered_loss_has_a_case() -> None:
    chosen = [loss for _, loss, *_ in CASES.values()]
    assert {loss["type"] for loss in chosen if isinstance(loss, dict)} == set(registry.names("loss"))


def test_the_count_is_that_of_the_target_alone(case) -> None:
    loss, prediction, target, _ = case
    total, count = loss(prediction, target)
    assert total.dtype == count.dtype == torch.float32
    assert count.item() == loss.count(target).item() > 0


def test_halves_add_up_to_the_whole(case) -> None:
    loss, prediction, target, _ = case
    whole = loss(prediction, target)
    first, second = loss(prediction[:1], target[:1]), loss(prediction[1:], target[1:])
    torch.testing.assert_close(first[0] + second[0], whole[0])
    torch.testing.assert_close(first[1] + second[1], whole[1])


def test_where_nothing_is_known_sum_count_and_gradient_are_zero(case) -> None:
    loss, prediction, target, nothing = case
    total, count = loss(prediction, torch.full_like(target, nothing))
    assert (total.item(), count.item()) == (0, 0)
    total.backward()
    assert bool((prediction.grad == 0).all())


def test_no_rows_cost_nothing(case) -> None:
    loss, prediction, target, _ = case
    total, count = loss(prediction[:0], target[:0])
    assert (total.item(), count.item()) == (0, 0)


def test_what_is_predicted_where_nothing_is_known_changes_nothing(case) -> None:
    loss, prediction, target, nothing = case
    unknown = (target == nothing) | torch.isnan(target)
    if unknown.shape != prediction.shape:
        unknown = unknown[:, None].expand_as(prediction)
    with torch.no_grad():
        other = prediction.masked_fill(unknown, 37.0).requires_grad_()
    for one in (prediction, other):
        loss(one, target)[0].backward()
    assert torch.equal(loss(prediction, target)[0], loss(other, target)[0])
    assert torch.equal(prediction.grad, other.grad)
    assert bool(torch.isfinite(prediction.grad).all())


def test_under_autocast_the_sum_is_float32(case) -> None:
    loss, prediction, target, _ = case
    exact = loss(prediction, target)[0]
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = loss(prediction, target)
    torch.testing.assert_close(total, exact)


def test_the_gradient_is_that_of_finite_differences(case) -> None:
    loss, prediction, target, _ = case
    loss(prediction, target)[0].backward()
    direction = torch.randn_like(prediction)
    with torch.no_grad():
        step = 1e-2
        ahead, behind = loss(prediction + step * direction, target)[0], loss(prediction - step * direction, target)[0]
    slope = (prediction.grad * direction).sum()
    torch.testing.assert_close(slope, (ahead - behind) / (2 * step), rtol=0.02, atol=0.05)
