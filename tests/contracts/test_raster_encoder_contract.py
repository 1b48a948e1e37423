"""What every registered encoder of rasters keeps, besides what all encoders do."""

from __future__ import annotations

import pytest
import torch

from tests.contracts.contract_cases import SIZES, label, weighted_total
from tests.contracts.encoder_cases import encoders_reading
from weft.encoders.base import Encoder
from weft.errors import WeftError
from weft.registry import Part, get

ENCODERS = pytest.mark.parametrize(
    "part",
    [part for part in encoders_reading("raster") if get("encoder", part.type).reads == "raster"],  # type: ignore[attr-defined]
    ids=label,
)


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
def test_no_weights_are_fetched_where_trained_ones_are_loaded_next(part: Part) -> None:
    options = {**part.options, "weights": "not-there.safetensors"}
    with pytest.raises(WeftError, match="not-there"):
        Part(part.kind, part.type, options)(3)
    assert Part(part.kind, part.type, options)(3, False).spec == build(part).spec


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
