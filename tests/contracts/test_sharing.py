"""What tasks must keep to because others read the same features."""

from __future__ import annotations

import pytest
import torch

from tests.contracts.contract_cases import cases, label
from tests.contracts.test_decoder_contract import SPECS, build, pyramid_of
from weft.registry import Part


@pytest.mark.parametrize("part", cases("decoder"), ids=label)
def test_a_decoder_leaves_what_it_reads_as_it_is(part: Part) -> None:
    """Also where gradients begin at the features: PyTorch refuses to change such a tensor in place."""
    read = tuple(level.requires_grad_() for level in pyramid_of(SPECS["usual"], (64, 64)))
    before = [level.detach().clone() for level in read]
    build(part, SPECS["usual"]).train()(read).sum().backward()
    assert all(torch.equal(level, was) for level, was in zip(read, before, strict=True))
    assert read[-1].grad is not None
