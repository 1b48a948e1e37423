"""What every registered decision rule keeps, for every kind of answer and every subset of the views."""

from __future__ import annotations

from itertools import combinations
from typing import cast

import pytest
import torch
from torch import Tensor

from tests.contracts.contract_cases import cases, label
from weft.decision.base import Decision
from weft.registry import Part
from weft.types import Answer

VIEWS = ("a", "b", "c")

#: Every subset of the views, one row each; the last row has none.
SUBSETS = [subset for size in (3, 2, 1, 0) for subset in combinations(VIEWS, size)]
PRESENT = {view: torch.tensor([view in subset for subset in SUBSETS]) for view in VIEWS}
ANSWERED = len(SUBSETS) - 1

#: {name: (answer, shape of a row)}; `masks` are classes with pixels behind.
SHAPES: dict[str, tuple[Answer, tuple[int, ...]]] = {
    "classes": ("classes", (4,)),
    "masks": ("classes", (4, 2, 3)),
    "labels": ("labels", (5,)),
    "values": ("values", (2,)),
    "maps of values": ("values", (1, 2, 3)),
}

DECISIONS = pytest.mark.parametrize("part", cases("decision"), ids=label)
ANSWERS = pytest.mark.parametrize("kind", SHAPES)


def build(part: Part, kind: str, views: tuple[str, ...] = VIEWS, *, minds_absence: bool = True) -> Decision:
    """The rule, with learned weights that differ; a view's are the same whatever other views there are.

    `minds_absence`: weights have learned to depend on which other views are absent.
    """
    decide = cast(Decision, part(views, SHAPES[kind][0]))
    with torch.no_grad():
        for name, parameter in decide.named_parameters():
            *of, view = name.split(".")
            start = -0.08 * VIEWS.index(of[-1]) * minds_absence if "absences" in of else 0.05
            parameter.fill_(start * (1 + VIEWS.index(view)))
    return decide


def predictions(kind: str) -> dict[str, Tensor]:
    answer, shape = SHAPES[kind]
    generator = torch.Generator().manual_seed(0)
    said = {view: 3 * torch.randn(len(SUBSETS), *shape, generator=generator) for view in VIEWS}
    if answer == "classes":
        return {view: x.softmax(1) for view, x in said.items()}
    return {view: x.sigmoid() for view, x in said.items()} if answer == "labels" else said


def rows_of(present: Tensor, like: Tensor) -> Tensor:
    return present.view(-1, *[1] * (like.dim() - 1))


@DECISIONS
@ANSWERS
@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -float("inf"), 1e38])
def test_what_an_absent_view_says_changes_no_bit(part: Part, kind: str, garbage: float) -> None:
    decide, clean = build(part, kind), predictions(kind)
    dirty = {view: torch.where(rows_of(PRESENT[view], x), x, garbage) for view, x in clean.items()}
    decided = decide(dirty, PRESENT)
    assert torch.equal(decide(clean, PRESENT), decided)
    assert decided.isfinite().all()  # also in the row that has no view


@DECISIONS
@ANSWERS
def test_a_row_is_decided_as_if_it_were_alone(part: Part, kind: str) -> None:
    said = predictions(kind)
    whole = build(part, kind)(said, PRESENT)
    for row, subset in enumerate(SUBSETS[:ANSWERED]):
        alone = {view: said[view][row : row + 1] for view in subset}
        there = {view: torch.ones(1, dtype=torch.bool) for view in subset}
        assert torch.equal(build(part, kind)(alone, there)[0], whole[row])


@DECISIONS
@ANSWERS
def test_weights_are_shared_out_as_if_absent_views_did_not_exist(part: Part, kind: str) -> None:
    """Unless absence itself has taught the rule something."""
    said = predictions(kind)
    whole = build(part, kind, minds_absence=False)(said, PRESENT)
    for row, subset in enumerate(SUBSETS[:ANSWERED]):
        alone = {view: said[view][row : row + 1] for view in subset}
        there = {view: torch.ones(1, dtype=torch.bool) for view in subset}
        torch.testing.assert_close(build(part, kind, subset, minds_absence=False)(alone, there)[0], whole[row])


@DECISIONS
@ANSWERS
def test_a_view_alone_is_the_answer(part: Part, kind: str) -> None:
    said = predictions(kind)
    decided = build(part, kind)(said, PRESENT)
    for row, subset in enumerate(SUBSETS):
        if len(subset) == 1:
            torch.testing.assert_close(decided[row], said[subset[0]][row])


@DECISIONS
@ANSWERS
def test_an_answer_is_one_of_its_kind(part: Part, kind: str) -> None:
    said = predictions(kind)
    decided = build(part, kind)(said, PRESENT)[:ANSWERED]
    assert decided.shape[1:] == said["a"].shape[1:]
    assert decided.dtype == torch.float32
    if SHAPES[kind][0] == "classes":
        torch.testing.assert_close(decided.sum(1), torch.ones_like(decided[:, 0]))
    if SHAPES[kind][0] != "values":
        assert ((decided >= 0) & (decided <= 1 + 1e-6)).all()
        return
    stacked = torch.stack([torch.where(rows_of(PRESENT[v], x), x, torch.nan) for v, x in said.items()])[:, :ANSWERED]
    low, high = stacked.nan_to_num(torch.inf).amin(0), stacked.nan_to_num(-torch.inf).amax(0)
    assert ((decided >= low - 1e-5) & (decided <= high + 1e-5)).all()


@DECISIONS
@ANSWERS
def test_views_that_agree_are_the_answer(part: Part, kind: str) -> None:
    if part.options.get("evidence") == "sum":
        pytest.skip("views that agree make each other surer: that is what it is for")
    said = predictions(kind)["a"]
    decided = build(part, kind)(dict.fromkeys(VIEWS, said), PRESENT)
    torch.testing.assert_close(decided[:ANSWERED], said[:ANSWERED])


@DECISIONS
@ANSWERS
def test_views_are_paired_by_name(part: Part, kind: str) -> None:
    decide, said = build(part, kind), predictions(kind)
    swapped = decide(dict(reversed(said.items())), dict(reversed(PRESENT.items())))
    assert torch.equal(decide(said, PRESENT), swapped)
    other = build(part, kind, ("c", "a", "b"))
    other.load_state_dict(decide.state_dict())
    torch.testing.assert_close(other(said, PRESENT)[:ANSWERED], swapped[:ANSWERED])


@DECISIONS
@ANSWERS
def test_certain_views_that_contradict_each_other_give_a_finite_answer(part: Part, kind: str) -> None:
    answer, shape = SHAPES[kind]
    said = {view: torch.zeros(len(SUBSETS), *shape) for view in VIEWS}
    for number, view in enumerate(VIEWS):
        said[view][:, number % shape[0]] = 1
    decided = build(part, kind)(said, PRESENT)
    assert decided.isfinite().all()
    if answer == "classes":
        torch.testing.assert_close(decided[:ANSWERED].sum(1), torch.ones_like(decided[:ANSWERED, 0]))


@DECISIONS
@ANSWERS
def test_what_is_learned_gets_gradients_and_is_saved(part: Part, kind: str) -> None:
    decide, said = build(part, kind), predictions(kind)
    assert decide.learns == bool(list(decide.parameters()))
    if decide.learns:
        (decide(said, PRESENT)[:ANSWERED, 0] ** 2).sum().backward()
        for parameter in decide.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite()
            assert parameter.grad != 0
        assert decide.explain()
    fresh = cast(Decision, part(VIEWS, SHAPES[kind][0]))
    fresh.load_state_dict(decide.state_dict())
    assert torch.equal(fresh(said, PRESENT), decide(said, PRESENT))


@DECISIONS
@ANSWERS
def test_what_is_explained_are_shares_of_the_views(part: Part, kind: str) -> None:
    shares = build(part, kind).explain()
    if shares:
        assert tuple(shares) == VIEWS
        assert sum(shares.values()) == pytest.approx(1)
        assert min(shares.values()) > 0


@DECISIONS
@ANSWERS
def test_one_view_leaves_nothing_to_learn(part: Part, kind: str) -> None:
    decide = cast(Decision, part(("b",), SHAPES[kind][0]))
    assert not decide.learns
    assert not decide.explain()
    said = predictions(kind)["b"]
    whole = {"b": torch.ones(len(SUBSETS), dtype=torch.bool)}
    torch.testing.assert_close(decide({"b": said}, whole), said)
