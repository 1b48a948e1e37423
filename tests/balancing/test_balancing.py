"""Balancing rules: what all keep to, and each one's numbers."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from weft import registry
from weft.balancing.base import Balancing, Gramian, Seen, State

NAMES = registry.names("balancing")
GRADIENT_RULES = [name for name in NAMES if registry.Part("balancing", name)().reads == "gradients"]
TASKS = ("rooms", "far", "marks")


def rule(name: str, **options: Any) -> Balancing:
    built: Balancing = registry.Part("balancing", name, options)()
    return built


def seen(rows: list[list[float]], tasks: tuple[str, ...] = TASKS, losses: tuple[float, ...] = (2.0, 0.5, 1.0)) -> Seen:
    """A step whose tasks have these gradients, a row each, and losses."""
    names = tasks[: len(rows)]
    matrix = torch.tensor(rows, dtype=torch.float64)
    return Seen(names, dict(zip(names, losses, strict=False)), Gramian(names, matrix @ matrix.T))


def step(name: str, rows: list[list[float]]) -> tuple[list[float], list[float]]:
    """The weights of a rule on gradients, a row each, and the step that they make."""
    torch.manual_seed(0)
    weights = list(rule(name).weights(seen(rows), {}).values())
    return weights, (torch.tensor(weights) @ torch.tensor(rows)).tolist()


def after(name: str, given: Seen, state: State, losses: dict[str, float] | None = None) -> State:
    return rule(name).update(given, state, after=losses or dict.fromkeys(given.tasks, 0.4))


SOME = [[3.0, 0.0, 1.0], [-1.0, 2.0, 0.0], [0.0, -1.0, 1.0]]


# --- what all keep to


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_weighs_just_the_labelled_tasks_and_changes_no_argument(name: str) -> None:
    state: State = {}
    for rows in (SOME, SOME[:2], SOME):
        given = seen(rows)
        torch.manual_seed(1)
        weights = rule(name).weights(given, state)
        assert tuple(weights) == given.tasks
        assert all(map(math.isfinite, weights.values()))
        before = json.dumps(state)
        new = after(name, given, state)
        assert json.dumps(state) == before
        state = rule(name).end_epoch(given.losses, new)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_without_labels_is_remembered_as_it_was(name: str) -> None:
    state = after(name, seen(SOME), {})
    state = rule(name).end_epoch({"rooms": 1.0, "far": 2.0, "marks": 3.0}, state)
    later = rule(name).end_epoch({"rooms": 0.9, "far": 1.0}, after(name, seen(SOME[:2]), state))
    for quantity, values in state.items():
        if "marks" in values:
            assert later[quantity]["marks"] == values["marks"], quantity


@pytest.mark.parametrize("name", NAMES)
def test_a_task_that_is_alone_counts_1_from_the_start(name: str) -> None:
    alone = Seen(("rooms",), {"rooms": 3.0}, None)
    state: State = {}
    assert rule(name).weights(alone, state) == {"rooms": pytest.approx(1)}
    if name != "uncertainty":  # its weight is learned, also of one task
        state = after(name, alone, after(name, seen(SOME), state), {"rooms": 1.0})
        assert rule(name).weights(alone, state) == {"rooms": pytest.approx(1)}


@pytest.mark.parametrize("name", NAMES)
def test_tasks_are_paired_by_name_not_by_place(name: str) -> None:
    given, turned = seen(SOME), seen(SOME[::-1], TASKS[::-1], (1.0, 0.5, 2.0))
    state, turned_state = after(name, given, {}), after(name, turned, {})
    torch.manual_seed(3)
    first = rule(name).weights(given, state)
    torch.manual_seed(3)
    second = rule(name).weights(turned, turned_state)
    assert second == {task: pytest.approx(weight, rel=1e-6) for task, weight in first.items()}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_rule_remembers_survives_a_checkpoint(name: str) -> None:
    state = rule(name).end_epoch({"rooms": 1.0, "far": 2.0}, after(name, seen(SOME), {}))
    kept = json.loads(json.dumps(state))
    assert kept == state
    torch.manual_seed(5)
    first = rule(name).weights(seen(SOME), state)
    torch.manual_seed(5)
    assert rule(name).weights(seen(SOME), kept) == first


@pytest.mark.parametrize("name", GRADIENT_RULES)
def test_a_task_with_no_gradient_disturbs_no_other(name: str) -> None:
    torch.manual_seed(0)
    weights = rule(name).weights(seen([[3.0, 0.0], [0.0, 0.0], [-1.0, 2.0]]), {})
    torch.manual_seed(0)
    without = rule(name).weights(seen([[3.0, 0.0], [-1.0, 2.0]], ("rooms", "marks")), {})
    assert {task: weights[task] for task in without} == without
    assert weights["far"] == 1


@pytest.mark.parametrize("name", GRADIENT_RULES)
@pytest.mark.parametrize("scale", [1e-9, 1e6])
def test_the_common_length_of_the_gradients_does_not_matter(name: str, scale: float) -> None:
    plain = step(name, SOME)[0]
    assert step(name, [[scale * x for x in row] for row in SOME])[0] == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("name", GRADIENT_RULES)
def test_gradients_that_cancel_leave_finite_weights(name: str) -> None:
    weights, moved = step(name, [[1.0, 0.0], [-1.0, 0.0]])
    assert all(map(math.isfinite, weights))
    assert moved == pytest.approx([0, 0], abs=1e-3)


@pytest.mark.parametrize("name", ["imtl", "nash_mtl"])
def test_rules_that_disregard_scales_take_one_direction_whatever_the_scale_of_a_loss(name: str) -> None:
    plain = torch.tensor(step(name, SOME)[1])
    scaled = torch.tensor(step(name, [[50 * x for x in SOME[0]], *SOME[1:]])[1])
    assert torch.allclose(plain / plain.norm(), scaled / scaled.norm(), atol=1e-5)


# --- each one's numbers


def test_fixed_is_the_plain_sum() -> None:
    assert step("fixed", SOME) == ([1, 1, 1], [2, 1, 2])


def test_uncertainty_takes_the_gradient_step_of_its_equation() -> None:
    # s = 0, L = 3: d/ds (exp(-s) L + s) = 1 - 3 = -2, so s becomes 0.2
    one = Seen(("rooms",), {"rooms": 3.0})
    state = rule("uncertainty", lr=0.1).update(one, {}, after={})
    assert state == {"log_variance": {"rooms": pytest.approx(0.2)}}
    assert rule("uncertainty").weights(one, state)["rooms"] == pytest.approx(math.exp(-0.2))


def test_uncertainty_settles_where_the_weighted_loss_is_one() -> None:
    learning, given = rule("uncertainty", lr=0.05), Seen(("loud", "quiet"), {"loud": 20.0, "quiet": 0.1})
    state: State = {}
    for _ in range(2000):
        state = learning.update(given, state, after={})
    weights = learning.weights(given, state)
    assert weights["loud"] * 20.0 == pytest.approx(1, rel=1e-3)
    assert weights["quiet"] * 0.1 == pytest.approx(1, rel=1e-3)


def test_dwa_weighs_by_the_ratio_of_two_epochs() -> None:
    average, given = rule("dwa"), Seen(("rooms", "far"))
    state = average.end_epoch({"rooms": 4.0, "far": 1.0}, {})
    assert average.weights(given, state) == {"rooms": 1, "far": 1}
    state = average.end_epoch({"rooms": 2.0, "far": 1.0}, state)
    # r = 1/2 and 1, T = 2: exp(0.25) and exp(0.5), their sum 2.932747, times 2
    assert average.weights(given, state) == {"rooms": pytest.approx(0.875647), "far": pytest.approx(1.124353)}


def test_rlw_draws_anew_and_adds_up() -> None:
    torch.manual_seed(0)
    first, second = (rule("rlw").weights(Seen(TASKS), {}) for _ in range(2))
    assert first != second
    assert sum(first.values()) == pytest.approx(3)


def test_gls_is_the_gradient_of_the_geometric_mean() -> None:
    given = Seen(("rooms", "far"), {"rooms": 4.0, "far": 1.0})
    # 2 sqrt(4 · 1) = 4; d/dL = sqrt(L2 / L1) and its inverse
    assert rule("gls").weights(given, {}) == {"rooms": pytest.approx(0.5), "far": pytest.approx(2)}


def test_gradnorm_pulls_the_longer_gradient_down_and_the_late_task_up() -> None:
    learning = rule("gradnorm", alpha=0.0, lr=0.1)
    given = seen([[4.0, 0.0], [0.0, 1.0]])
    # lengths 4 and 1, both are to be 2.5: the first step of Adam is lr each way, and the sum stays 2
    state = learning.update(given, {}, after={})
    assert learning.weights(given, state) == {"rooms": pytest.approx(0.9), "far": pytest.approx(1.1)}
    late = rule("gradnorm", alpha=1.0, lr=0.1)
    even = seen([[1.0, 0.0], [0.0, 1.0]], losses=(1.0, 0.25))
    state = {"first": {"rooms": 1.0, "far": 1.0}}  # rooms has not learned, far is at a quarter
    weights = late.weights(even, late.update(even, state, after={}))
    assert weights == {"rooms": pytest.approx(1.1), "far": pytest.approx(0.9)}


def test_famo_weighs_by_one_over_the_loss_and_turns_to_what_fell_least() -> None:
    given = Seen(("rooms", "far"), {"rooms": 4.0, "far": 1.0})
    learning = rule("famo", lr=0.1, decay=0.0)
    # z = 1/2 each: weights as 1/4 to 1, adding up to 2
    assert learning.weights(given, {}) == {"rooms": pytest.approx(0.4), "far": pytest.approx(1.6)}
    state = learning.update(given, {}, after={"rooms": 2.0, "far": 1.0})
    # rooms fell, far did not: d = z1 z2 (log 2) for rooms; the first step of Adam is lr
    assert state["logit"] == {"rooms": pytest.approx(-0.1), "far": pytest.approx(0.1)}


def test_famo_walks_as_torchjd_does() -> None:
    famo = pytest.importorskip("torchjd.scalarization").FAMO(3, lr=0.025, weight_decay=1e-3)
    learning, state = rule("famo"), State()
    random = torch.Generator().manual_seed(0)
    for _ in range(5):
        before, then = (0.1 + torch.rand(3, generator=random) for _ in range(2))
        losses = before.clone().requires_grad_()
        famo(losses).backward()
        given = Seen(TASKS, dict(zip(TASKS, before.tolist(), strict=True)))
        assert losses.grad is not None
        assert [w / 3 for w in learning.weights(given, state).values()] == pytest.approx(losses.grad.tolist(), rel=1e-4)
        famo.update(then)
        state = learning.update(given, state, after=dict(zip(TASKS, then.tolist(), strict=True)))


def test_pcgrad_takes_the_conflicting_part_off_both() -> None:
    # g1 = (2, 0), g2 = (-1, 1): product -2. g1 - (-2 / 2) g2 = (1, 1); g2 - (-2 / 4) g1 = (0, 1)
    weights, moved = step("pcgrad", [[2.0, 0.0], [-1.0, 1.0]])
    assert weights == pytest.approx([1.5, 2.0])
    assert moved == pytest.approx([1, 2])


def test_mgda_is_the_shortest_vector_between() -> None:
    # (2, 0) and (0, 1): the foot from the origin on their line is at 1/5 and 4/5; times 2
    weights, moved = step("mgda", [[2.0, 0.0], [0.0, 1.0]])
    assert weights == pytest.approx([0.4, 1.6], abs=1e-3)
    assert moved == pytest.approx([0.8, 1.6], abs=1e-3)


def test_imtl_has_equal_projections_on_all_unit_gradients() -> None:
    _, moved = step("imtl", SOME)
    along = [torch.tensor(row) @ torch.tensor(moved) / torch.tensor(row).norm() for row in SOME]
    assert [float(one) for one in along] == pytest.approx([float(along[0])] * 3, rel=1e-4)
    assert step("imtl", [[2.0, 0.0], [0.0, 1.0]])[0] == pytest.approx([2 / 3, 4 / 3])


def test_nash_bargains_to_weights_that_are_one_over_the_gain_of_each() -> None:
    assert step("nash_mtl", [[2.0, 0.0], [0.0, 1.0]])[0] == pytest.approx([2 / 3, 4 / 3])  # one over the length
    weights, moved = step("nash_mtl", SOME)
    gains = [w * float(torch.tensor(row) @ torch.tensor(moved)) for w, row in zip(weights, SOME, strict=True)]
    assert gains == pytest.approx([gains[0]] * 3, rel=1e-5)
    assert gains[0] > 0


def test_upgrad_projects_onto_the_cone_that_conflicts_with_none() -> None:
    # as PCGrad for two tasks
    assert step("upgrad", [[2.0, 0.0], [-1.0, 1.0]])[1] == pytest.approx([1, 2], abs=1e-3)
    _, moved = step("upgrad", SOME)
    assert all(float(torch.tensor(row) @ torch.tensor(moved)) > -1e-3 for row in SOME)


@pytest.mark.parametrize("name", ["pcgrad", "upgrad"])
def test_without_conflict_projections_are_the_plain_sum(name: str) -> None:
    assert step(name, [[2.0, 1.0], [0.0, 3.0]])[0] == pytest.approx([1, 1], abs=1e-6)


def cagrad_by_search(gradients: Tensor, c: float) -> Tensor:
    """The direction in the ball around the mean whose smallest product is largest, by trying all angles and radii."""
    mean = gradients.mean(0)
    angles = torch.linspace(0, 2 * math.pi, 2001, dtype=torch.float64)
    around = torch.stack([angles.cos(), angles.sin()], 1)
    tried = torch.cat([mean + c * mean.norm() * r * around for r in torch.linspace(0, 1, 21)])
    return tried[(tried @ gradients.T).amin(1).argmax()]


def test_cagrad_serves_the_worst_served_best() -> None:
    rows = [[2.0, 0.0], [-1.0, 1.0]]
    weights = torch.tensor(list(rule("cagrad", c=0.5).weights(seen(rows), {}).values()), dtype=torch.float64)
    matrix = torch.tensor(rows, dtype=torch.float64)
    moved = weights @ matrix * 1.5 / 2  # 1 + c, and a mean instead of a sum
    assert torch.allclose(moved, cagrad_by_search(matrix, 0.5), atol=5e-3)


def test_cagrad_with_no_room_is_the_plain_sum() -> None:
    weights = rule("cagrad", c=0.0).weights(seen(SOME), {})
    assert weights == {task: pytest.approx(1) for task in TASKS}


def test_cosines_are_of_the_gradients_that_move() -> None:
    gramian = seen([[2.0, 0.0], [0.0, 0.0], [-1.0, 1.0]]).gramian
    assert gramian is not None
    assert gramian.cosines() == {("rooms", "marks"): pytest.approx(-math.sqrt(0.5))}
