"""Balancing rules: what all keep to, and each one's numbers."""

from __future__ import annotations

import math

import pytest

from weft import registry
from weft.balancing.uncertainty import Uncertainty


@pytest.mark.parametrize("name", registry.names("balancing"))
def test_every_rule_gives_each_labelled_task_a_positive_weight_and_changes_no_argument(name: str) -> None:
    rule = registry.Part("balancing", name)()
    state: dict[str, float] = {}
    for _ in range(3):
        weights = rule.weights(["rooms", "far"], state)
        assert set(weights) == {"rooms", "far"}
        assert all(weight > 0 for weight in weights.values())
        before = dict(state)
        after = rule.update({"rooms": 2.0}, state)  # "far" had no label in this step
        assert state == before
        assert after.get("far") == before.get("far")
        state = after


def test_uncertainty_takes_the_gradient_step_of_its_equation() -> None:
    rule = Uncertainty(lr=0.1)
    # s = 0, L = 3: d/ds (exp(-s) L + s) = 1 - 3 = -2, so s becomes 0.2
    state = rule.update({"rooms": 3.0}, {})
    assert state["rooms"] == pytest.approx(0.2)
    assert rule.weights(["rooms"], state)["rooms"] == pytest.approx(math.exp(-0.2))


def test_uncertainty_settles_where_the_weighted_loss_is_one() -> None:
    rule = Uncertainty(lr=0.05)
    state: dict[str, float] = {}
    for _ in range(2000):
        state = rule.update({"loud": 20.0, "quiet": 0.1}, state)
    weights = rule.weights(["loud", "quiet"], state)
    assert weights["loud"] * 20.0 == pytest.approx(1, rel=1e-3)
    assert weights["quiet"] * 0.1 == pytest.approx(1, rel=1e-3)
