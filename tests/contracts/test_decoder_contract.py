"""What every registered decoder keeps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.contracts.contract_cases import SIZES, cases, label
from weft.decoders.base import Decoder
from weft.registry import Part, get
from weft.types import FeatureSpec

DECODERS = pytest.mark.parametrize("part", cases("decoder"), ids=label)

SPECS = {
    "usual": FeatureSpec("grid", 24, (8, 8, 16, 20, 24), (2, 4, 8, 16, 32)),
    "dilated": FeatureSpec("grid", 24, (8, 8, 16, 24), (2, 4, 8, 16)),
    "no stride 2": FeatureSpec("grid", 24, (8, 16, 24), (4, 8, 16)),
    "two levels": FeatureSpec("grid", 24, (8, 24), (4, 16)),
    "one level": FeatureSpec("grid", 24, (24,), (16,)),
    "from stride 1": FeatureSpec("grid", 24, (4, 8, 8, 24), (1, 2, 4, 8)),
}

#: What cannot work, by decoder and pyramid, and what is said of it.
REFUSED = {("segnet", "one level"): "choose an encoder with a pyramid"}

PAIRS = [(part, name) for part in cases("decoder") for name in SPECS]
EACH_PAIR = pytest.mark.parametrize(
    ("part", "spec"),
    [
        pytest.param(part, SPECS[name], id=f"{label(part)}-{name}")
        for part, name in PAIRS
        if (part.type, name) not in REFUSED
    ],
)


def build(part: Part, spec: FeatureSpec, *, seed: int = 0) -> Decoder:
    torch.manual_seed(seed)
    decoder: Decoder = part(spec)
    return decoder


def pyramid_of(spec: FeatureSpec, size: tuple[int, int], num_rows: int = 2) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(5)
    return tuple(
        torch.randn(num_rows, channels, *spec.level_size(level, size), generator=generator)
        for level, channels in enumerate(spec.channels)
    )


@EACH_PAIR
@pytest.mark.parametrize("size", [*SIZES, (240, 48)], ids=str)
def test_the_map_is_as_large_as_its_stride_says(part: Part, spec: FeatureSpec, size: tuple[int, int]) -> None:
    decoder = build(part, spec).eval()
    with torch.no_grad():
        decoded = decoder(pyramid_of(spec, size))
    assert decoded.shape[:2] == (2, decoder.out_channels)
    if decoder.output_stride in spec.strides:
        assert tuple(decoded.shape[-2:]) == spec.level_size(spec.strides.index(decoder.output_stride), size)
    else:  # beyond the finest level a decoder doubles, and covers at least the picture
        assert all(n * decoder.output_stride >= s for n, s in zip(decoded.shape[-2:], size, strict=True))


@pytest.mark.parametrize(("decoder", "spec"), REFUSED, ids="-".join)
def test_what_cannot_work_is_refused_with_what_to_do(decoder: str, spec: str) -> None:
    for part in cases("decoder"):
        if part.type == decoder:
            with pytest.raises(ValueError, match=REFUSED[decoder, spec]):
                build(part, SPECS[spec])


@EACH_PAIR
def test_every_parameter_learns(part: Part, spec: FeatureSpec) -> None:
    decoder = build(part, spec).train()
    (decoder(pyramid_of(spec, (64, 64))) ** 2).sum().backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.any()] == []


@DECODERS
def test_a_batch_of_one_is_that_row_of_a_batch(part: Part) -> None:
    decoder = build(part, SPECS["dilated"]).eval()
    pyramid = pyramid_of(SPECS["dilated"], (64, 64), num_rows=3)
    together = decoder(pyramid)
    for row in range(3):
        alone = decoder(tuple(level[row : row + 1] for level in pyramid))
        torch.testing.assert_close(alone, together[row : row + 1], rtol=1e-4, atol=1e-5)


@DECODERS
@pytest.mark.parametrize("size", [(64, 64), (1, 1)], ids=str)
def test_it_trains_on_a_single_row_of_any_size(part: Part, size: tuple[int, int]) -> None:
    decoder = build(part, SPECS["dilated"]).train()
    (decoder(pyramid_of(SPECS["dilated"], size, num_rows=1)) ** 2).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in decoder.parameters())
    assert all(buffer.isfinite().all() for buffer in decoder.buffers())


@EACH_PAIR
def test_the_levels_that_it_does_not_declare_are_not_read(part: Part, spec: FeatureSpec) -> None:
    decoder_class: type[Decoder] = get("decoder", part.type)  # type: ignore[assignment]
    declared = spec.levels_for(decoder_class.strides_read(part.options))
    pyramid = pyramid_of(spec, (65, 97))
    spoiled = tuple(level if i in declared else torch.full_like(level, torch.nan) for i, level in enumerate(pyramid))
    whole = build(part, spec).eval()
    alone = build(part, spec.only(declared)).eval()
    with torch.no_grad():
        expected = whole(pyramid)
        assert torch.equal(whole(spoiled), expected)
        assert torch.equal(alone(tuple(pyramid[i] for i in declared)), expected)
    assert (alone.out_channels, alone.output_stride) == (whole.out_channels, whole.output_stride)


@DECODERS
def test_the_same_seed_gives_the_same_result_and_weights_carry_it(part: Part) -> None:
    pyramid = pyramid_of(SPECS["usual"], (64, 64))
    first, again, other = (build(part, SPECS["usual"], seed=seed).eval() for seed in (3, 3, 4))
    other.load_state_dict(first.state_dict())
    assert torch.equal(first(pyramid), again(pyramid))
    assert torch.equal(first(pyramid), other(pyramid))
