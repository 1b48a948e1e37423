"""What every registered loss keeps to; a new loss is tested by being in CASES."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from weft import registry
from weft.losses.base import Loss


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


#: {name: (loss, options, makes prediction and target, target where nothing is known)}
CASES = {
    "cross_entropy": ("cross_entropy", {}, classes, -100),
    "weighted cross_entropy": (
        "cross_entropy",
        {"class_weights": [0.5, 1.0, 3.0], "label_smoothing": 0.1},
        classes,
        -100,
    ),
    "binary_cross_entropy": ("binary_cross_entropy", {"pos_weight": [1.0, 2.0, 5.0]}, flags, torch.nan),
    "l1": ("l1", {}, values, torch.nan),
    "mse": ("mse", {}, values, torch.nan),
    "huber": ("huber", {"delta": 0.2}, values, torch.nan),
    "scale_invariant": ("scale_invariant", {"balance": 0.85}, values, torch.nan),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Loss, Tensor, Tensor, float]:
    torch.manual_seed(0)
    name, options, make, nothing = CASES[request.param]
    prediction, target = make()
    return registry.Part("loss", name, options)(), prediction.requires_grad_(), target, nothing


def test_every_registered_loss_has_a_case() -> None:
    assert {name for name, *_ in CASES.values()} == set(registry.names("loss"))


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
