"""Learning-rate schedules against hand-worked values and torch's own."""

from __future__ import annotations

import pytest
import torch

from weft import registry
from weft.engine.schedule import warmed_up
from weft.engine.schedules.plateau import Plateau
from weft.engine.schedules.smooth import Cosine, Poly, Step


def test_poly_by_hand() -> None:
    assert Poly(power=0.9).factor(0, 10, {}) == 1
    assert Poly(power=2.0).factor(5, 10, {}) == pytest.approx(0.25)
    assert Poly(power=2.0, floor=0.3).factor(9, 10, {}) == 0.3


def test_cosine_equals_torch() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, eta_min=0.1)
    for epoch in range(10):
        assert Cosine(floor=0.1).factor(epoch, 10, {}) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()


def test_warm_restarts_equal_torch() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=3, T_mult=2)
    for epoch in range(20):
        assert Cosine(cycle=3, stretch=2).factor(epoch, 20, {}) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()


def test_step_falls_at_its_milestones() -> None:
    schedule = Step(milestones=[2, 4], gamma=0.5)
    assert [schedule.factor(epoch, 6, {}) for epoch in range(6)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_plateau_falls_after_patience_and_keeps_its_memory_in_the_state() -> None:
    schedule = Plateau(gamma=0.1, patience=2)
    state: dict = {}
    factors = []
    for value in (0.5, 0.4, 0.5, 0.6, 0.6, 0.6, 0.6):  # 0.5 again is not better
        state = schedule.observe(value, state)
        factors.append(schedule.factor(0, 10, state))
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_warm_up_is_a_ramp() -> None:
    assert [warmed_up(0.8, epoch, 2.0) for epoch in (0.5, 1, 2, 3)] == pytest.approx([0.2, 0.4, 0.8, 0.8])
    assert warmed_up(0.8, 0.0, 0.0) == 0.8


@pytest.mark.parametrize("name", registry.names("schedule"))
def test_every_schedule_starts_at_one_and_stays_in_range(name: str) -> None:
    options = {"milestones": [3.0]} if name == "step" else {}
    schedule = registry.Part("schedule", name, options)()
    factors = [schedule.factor(epoch / 4, 10, {}) for epoch in range(40)]
    assert factors[0] == 1
    assert all(0 <= factor <= 1 for factor in factors)


@pytest.mark.parametrize("name", registry.names("optimizer"))
def test_every_optimizer_lowers_a_parabola(name: str) -> None:
    parameter = torch.nn.Parameter(torch.tensor([3.0]))
    optimizer = registry.Part("optimizer", name, {"lr": 0.05})([{"params": [parameter], "lr_factor": 1.0}])
    for _ in range(50):
        optimizer.zero_grad()
        (parameter**2).sum().backward()
        optimizer.step()
    assert abs(parameter.item()) < 2
