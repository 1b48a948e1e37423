"""Where in time the parts of a fusion looked, over the samples of a split."""

from __future__ import annotations

import pytest
import torch

from weft.engine.step_shares import StepShares


def told(*shares: float) -> dict[str, torch.Tensor]:
    """What a fusion explains of one sample with so many steps."""
    return {"time/inter": torch.tensor([shares]), "time": torch.ones(1, len(shares), dtype=torch.bool)}


class Two:
    """What two processes have."""

    def all(self, own: object) -> list[object]:
        return [own, own]


def test_the_mean_of_a_step_is_over_the_samples_that_have_it_in_whatever_batches() -> None:
    collected = StepShares()
    shares, steps = torch.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]), torch.tensor([[True] * 3, [True, True, False]])
    collected.observe([{"time/inter": shares, "time": steps, "share": torch.ones(2, 1)}])
    collected.observe([told(0.75, 0.25)])
    found = collected.summary()
    assert found == {"inter": {"mean": pytest.approx([0.75, 0.5 / 3, 0.25]), "count": [3, 3, 1]}}
    collected.gather(Two())  # type: ignore[arg-type]
    assert collected.summary()["inter"]["mean"] == pytest.approx([0.75, 0.5 / 3, 0.25])
    assert collected.summary()["inter"]["count"] == [6, 6, 2]


def test_several_looks_at_a_sample_are_one() -> None:
    collected = StepShares()
    collected.observe([told(0.5, 0.5), told(1.0, 0.0)])
    assert collected.summary() == {"inter": {"mean": [0.75, 0.25], "count": [1, 1]}}


def test_a_part_through_which_nothing_came_is_left_out() -> None:
    collected = StepShares()
    collected.observe([told(0.0, 0.0) | {"part/inter": torch.zeros(1, 2)}])
    assert collected.summary() == {}
