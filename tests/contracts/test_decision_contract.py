"""What every registered decision rule keeps."""

from __future__ import annotations

import pytest
import torch

from tests.contracts.contract_cases import cases, label
from weft.registry import Part

DECISIONS = pytest.mark.parametrize("part", cases("decision"), ids=label)

PRESENT = {"a": torch.tensor([True, True, False, False]), "b": torch.tensor([True, False, True, False])}


def answers() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {view: torch.rand(4, 3, 2, 2).softmax(1) for view in PRESENT}


@DECISIONS
@pytest.mark.parametrize("garbage", [float("nan"), float("inf")])
def test_what_an_absent_view_says_changes_nothing(part: Part, garbage: float) -> None:
    decide = part()
    clean = answers()
    dirty = {view: torch.where(PRESENT[view].view(-1, 1, 1, 1), a, garbage) for view, a in clean.items()}
    assert torch.equal(decide(clean, PRESENT)[:3], decide(dirty, PRESENT)[:3])  # of the last row no view is there
    assert decide(dirty, PRESENT).isfinite().all()


@DECISIONS
def test_a_view_alone_is_the_answer(part: Part) -> None:
    predictions = answers()
    decided = part()(predictions, PRESENT)
    torch.testing.assert_close(decided[1], predictions["a"][1])
    torch.testing.assert_close(decided[2], predictions["b"][2])


@DECISIONS
def test_views_are_paired_by_name(part: Part) -> None:
    predictions = answers()
    decide = part()
    torch.testing.assert_close(
        decide(predictions, PRESENT), decide(dict(reversed(predictions.items())), dict(reversed(PRESENT.items())))
    )


def test_mean_is_the_mean_of_the_views_present() -> None:
    predictions = {"a": torch.tensor([[0.2], [0.2]]), "b": torch.tensor([[0.6], [0.6]])}
    present = {"a": torch.tensor([True, False]), "b": torch.tensor([True, True])}
    assert torch.allclose(Part("decision", "mean")()(predictions, present), torch.tensor([[0.4], [0.6]]))
