"""Boxes of several views: which rules combine them, and what comes of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.contracts.contract_cases import cases, label
from weft.box_fusion import fused, surest
from weft.decision.base import Decision
from weft.registry import Part, get

VIEWS = ("a", "b")
RULES = [part for part in cases("decision") if "boxes" in get("decision", part.type).combines]  # type: ignore[attr-defined]


def boxes(*rows: tuple[float, float, float, float]) -> Tensor:
    """(1, 4, 6) of (x1, x2, score, class): boxes 10 high, from the highest score to the lowest."""
    filled = torch.zeros(1, 4, 6)
    for place, (left, right, score, kind) in enumerate(rows):
        filled[0, place] = torch.tensor([left, 0, right, 10, score, kind])
    return filled


def decide(name: str, first: Tensor, second: Tensor, *, second_is_there: bool = True) -> list[list[float]]:
    rule: Decision = Part("decision", name)(VIEWS, "boxes")
    there = {"a": torch.tensor([True]), "b": torch.tensor([second_is_there])}
    decided = rule({"a": first, "b": second}, there)
    assert decided.shape == first.shape
    return [[round(number, 4) for number in row] for row in decided[0].tolist() if row[4] > 0]


ONE = boxes((0, 10, 0.8, 0), (30, 40, 0.6, 1))
OTHER = boxes((1, 11, 0.4, 0), (30, 40, 0.3, 2))


def test_the_maximum_keeps_the_surest_of_boxes_that_overlap() -> None:
    assert decide("maximum", ONE, OTHER) == [
        [0, 0, 10, 10, 0.8, 0],
        [30, 0, 40, 10, 0.6, 1],
        [30, 0, 40, 10, 0.3, 2],
    ]


def test_the_mean_averages_boxes_that_overlap_and_trusts_one_view_alone_less() -> None:
    third = (0.4 * 1 + 0.8 * 0) / 1.2
    assert decide("mean", ONE, OTHER) == [
        [round(third, 4), 0, round(10 + third, 4), 10, 0.6, 0],
        [30, 0, 40, 10, 0.3, 1],
        [30, 0, 40, 10, 0.15, 2],
    ]


@pytest.mark.parametrize("part", RULES, ids=label)
def test_a_view_alone_is_the_answer_and_an_absent_one_changes_no_bit(part: Part) -> None:
    expected = [[0, 0, 10, 10, 0.8, 0], [30, 0, 40, 10, 0.6, 1]]
    assert decide(part.type, ONE, OTHER, second_is_there=False) == expected
    assert decide(part.type, ONE, torch.full_like(ONE, float("nan")), second_is_there=False) == expected
    assert decide(part.type, ONE, ONE) == expected
    assert decide(part.type, torch.zeros_like(ONE), torch.zeros_like(ONE)) == []


@pytest.mark.parametrize("part", [part for part in cases("decision") if part not in RULES], ids=label)
def test_other_rules_refuse_boxes_of_several_views(part: Part) -> None:
    with pytest.raises(ValueError, match="has no meaning for boxes"):
        part(("a", "b", "c"), "boxes")


def test_more_boxes_than_there_is_room_for_are_cut_at_the_surest() -> None:
    rows = torch.stack([torch.tensor([20.0 * n, 0, 20 * n + 10, 10, 0.9 - 0.1 * n, 0]) for n in range(6)])
    assert torch.equal(surest(rows, most=2), rows[:2])
    assert fused([rows[3:], rows[:3]], most=2)[:, 4].tolist() == pytest.approx([0.45, 0.4])
    assert surest(rows[:0], most=2).tolist() == fused([rows[:0]], most=2).tolist() == torch.zeros(2, 6).tolist()
