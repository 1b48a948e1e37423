"""What every registered encoder of rasters keeps."""

from __future__ import annotations

import pytest
import torch

from tests.contracts.contract_cases import SIZES, cases, label, weighted_total
from weft.encoders.base import Encoder
from weft.errors import WeftError
from weft.registry import Part

ENCODERS = pytest.mark.parametrize("part", cases("encoder"), ids=label)


def build(part: Part, in_channels: int = 3, *, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    encoder: Encoder = part(in_channels)
    return encoder


@ENCODERS
@pytest.mark.parametrize("in_channels", [1, 3, 5])
def test_maps_are_as_the_spec_says(part: Part, in_channels: int) -> None:
    encoder = build(part, in_channels).eval()
    for size in SIZES:
        pyramid = encoder(torch.randn(2, in_channels, *size)).pyramid
        assert [level.shape[1] for level in pyramid] == list(encoder.spec.channels)
        assert [tuple(level.shape[-2:]) for level in pyramid] == [
            encoder.spec.level_size(level, size) for level in range(len(encoder.spec.strides))
        ]


@ENCODERS
def test_every_parameter_learns_and_belongs_to_one_layer(part: Part) -> None:
    encoder = build(part).train()
    with torch.no_grad():
        for parameter in encoder.parameters():  # residual branches that start at zero would have no gradient yet
            parameter.add_(0.02 * torch.randn_like(parameter))
    weighted_total(encoder(torch.randn(2, 3, 64, 64))).backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []
    by_layer = [id(p) for layer in encoder.layers() for p in layer.parameters()]
    assert sorted(by_layer) == sorted(id(p) for p in encoder.parameters())


@ENCODERS
def test_a_batch_of_one_is_that_row_of_a_batch(part: Part) -> None:
    encoder = build(part).eval()
    inputs = torch.randn(3, 3, 64, 64)
    together = encoder(inputs).pyramid
    for row in range(3):
        alone = encoder(inputs[row : row + 1]).pyramid
        for ours, theirs in zip(alone, together, strict=True):
            torch.testing.assert_close(ours, theirs[row : row + 1], rtol=1e-4, atol=1e-4)


@ENCODERS
def test_the_same_seed_gives_the_same_result_and_weights_carry_it(part: Part) -> None:
    inputs = torch.randn(2, 3, 64, 64)
    first, again, other = (build(part, seed=seed).eval() for seed in (3, 3, 4))
    other.load_state_dict(first.state_dict())
    for encoder in (again, other):
        pairs = zip(first(inputs).pyramid, encoder(inputs).pyramid, strict=True)
        assert all(torch.equal(one, two) for one, two in pairs)


@ENCODERS
def test_no_weights_are_fetched_where_trained_ones_are_loaded_next(part: Part) -> None:
    options = {**part.options, "weights": "not-there.safetensors"}
    with pytest.raises(WeftError, match="not-there"):
        Part(part.kind, part.type, options)(3)
    assert Part(part.kind, part.type, options)(3, False).spec == build(part).spec


@ENCODERS
def test_a_frozen_encoder_learns_nothing_and_its_statistics_stand_still(part: Part) -> None:
    encoder = Part(part.kind, part.type, {**part.options, "freeze": True})(3).train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    features = encoder(torch.randn(2, 3, 64, 64))
    assert not any(level.requires_grad for level in features.pyramid)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


@ENCODERS
def test_the_first_stages_alone_can_be_frozen(part: Part) -> None:
    encoder = Part(part.kind, part.type, {**part.options, "freeze_stages": 2})(3).train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    weighted_total(encoder(torch.randn(2, 3, 64, 64))).backward()
    stages = encoder.layers()
    assert all(p.grad is None for stage in stages[:2] for p in stage.parameters())
    assert all(p.grad is not None for stage in stages[2:] for p in stage.parameters())
    frozen = {id(b) for stage in stages[:2] for b in stage.buffers()}
    still = [torch.equal(b, before[name]) for name, b in encoder.named_buffers() if id(b) in frozen]
    assert all(still)
    with pytest.raises(ValueError, match="stages"):
        Part(part.kind, part.type, {**part.options, "freeze_stages": 99})(3)
