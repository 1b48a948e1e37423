"""What every registered encoder keeps, whatever it reads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.contracts.contract_cases import cases, label, tensors_of, weighted_total
from tests.contracts.encoder_cases import GIVEN, build, encoders_reading, given_to
from weft.fusion.none import NoFusion
from weft.modalities.base import Preprocessor
from weft.model import Model
from weft.registry import Part, get, options_of
from weft.types import Batch, Features

ENCODERS = pytest.mark.parametrize("part", cases("encoder"), ids=label)
SEQUENCE_ENCODERS = pytest.mark.parametrize(
    "part", encoders_reading(*(kind for kind, make in GIVEN.items() if make().lengths is not None)), ids=label
)
FREEZABLE = pytest.mark.parametrize(
    "part", [part for part in cases("encoder") if "freeze" in options_of(get("encoder", part.type))], ids=label
)

#: float32 sums in another order, through a few layers.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


class AsItIs(Preprocessor):
    """Inputs that need no preparation."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs


def all_of(features: Features) -> list[Tensor]:
    """All that a row holds, its summary too."""
    return [*tensors_of(features), features.pooled]


@ENCODERS
def test_features_are_as_the_spec_says(part: Part) -> None:
    encoder, given = build(part).eval(), given_to(part)
    features = encoder(given.inputs, given.lengths)
    assert features.tokens.shape[0] == features.pooled.shape[0] == len(given.inputs)
    assert features.tokens.shape[2] == features.pooled.shape[1] == encoder.spec.dim
    assert features.present.all()
    assert features.mask.any(1).all()  # no row is without a token
    assert (features.grid is not None) == encoder.spec.has_maps == bool(get("encoder", part.type).gives_maps)  # type: ignore[attr-defined]
    assert (features.tokens.shape[1] == 1) or encoder.spec.layout != "vector"


@ENCODERS
def test_every_parameter_learns_and_layers_hold_all_of_the_network(part: Part) -> None:
    encoder, given = build(part).train(), given_to(part)
    with torch.no_grad():
        for parameter in encoder.parameters():  # residual branches that start at zero would have no gradient yet
            parameter.add_(0.02 * torch.randn_like(parameter))
    extracted = encoder.extract(given.inputs, given.lengths)
    finished = encoder.finish(extracted)
    (weighted_total(finished) + (finished.pooled**2).sum()).backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []
    encoder.zero_grad()
    again = encoder.extract(given.inputs, given.lengths)
    (weighted_total(again) + (again.pooled**2).sum()).backward()
    by_layer = [id(p) for layer in encoder.layers() for p in layer.parameters()]
    assert sorted(by_layer) == sorted(id(p) for p in encoder.parameters() if p.grad is not None)


@ENCODERS
def test_a_batch_of_one_is_that_row_of_a_batch(part: Part) -> None:
    encoder, given = build(part).eval(), given_to(part)
    together = encoder(given.inputs, given.lengths)
    for row in range(len(given.inputs)):
        alone, there = encoder(*given.row(row)), together.select(torch.tensor([row]))
        torch.testing.assert_close(alone.pooled, there.pooled, **TOLERANCE)
        torch.testing.assert_close(alone.tokens[alone.mask], there.tokens[there.mask], **TOLERANCE)


@SEQUENCE_ENCODERS
def test_what_lies_beyond_the_end_changes_nothing(part: Part) -> None:
    encoder, given = build(part).eval(), given_to(part)
    other = given.with_other_padding()
    assert not torch.equal(other, given.inputs)
    one, two = (encoder(inputs, given.lengths) for inputs in (given.inputs, other))
    assert all(torch.equal(a, b) for a, b in zip(all_of(one), all_of(two), strict=True))


@ENCODERS
def test_the_same_seed_gives_the_same_result_and_weights_carry_it(part: Part) -> None:
    given = given_to(part)
    first, again, other = (build(part, seed=seed).eval() for seed in (3, 3, 4))
    bare = build(part, seed=5, initialise=False).eval()
    for encoder in (other, bare):
        encoder.load_state_dict(first.state_dict())
    expected = all_of(first(given.inputs, given.lengths))
    for encoder in (again, other, bare):
        assert encoder.spec == first.spec
        pairs = zip(expected, all_of(encoder(given.inputs, given.lengths)), strict=True)
        assert all(torch.equal(one, two) for one, two in pairs)


@ENCODERS
def test_an_absent_row_is_empty_and_moves_no_other(part: Part) -> None:
    encoder, given = build(part).eval(), given_to(part)
    model = Model({"a": AsItIs()}, {"a": encoder}, NoFusion({"a": encoder.spec}), {}, decisions={})
    present = torch.tensor([True, False, True, True])
    batch = Batch(
        inputs={"a": given.inputs[present]},
        targets={},
        present={"a": present},
        labelled={},
        ids=tuple("0123"),
        lengths={} if given.lengths is None else {"a": given.lengths[present]},
        size=(64, 64),
    )
    features = model.encode(batch)["a"]
    whole = encoder(given.inputs, given.lengths)
    assert features.present.tolist() == present.tolist()
    assert not features.mask[1].any()
    assert not features.pooled[1].any()
    torch.testing.assert_close(features.pooled[present], whole.pooled[present], **TOLERANCE)
    nowhere = model.encode(batch.without(["a"]))["a"]
    assert not nowhere.present.any()
    assert nowhere.pooled.shape == whole.pooled.shape


@FREEZABLE
def test_a_frozen_network_learns_nothing_and_stands_still(part: Part) -> None:
    encoder, given = build(part, freeze=True).train(), given_to(part)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    assert encoder.extract_frozen
    extracted = encoder.extract(given.inputs, given.lengths)
    assert not any(tensor.requires_grad for tensor in all_of(extracted))
    again = encoder.extract(given.inputs, given.lengths)  # training mode, and yet nothing random
    assert all(torch.equal(a, b) for a, b in zip(all_of(extracted), all_of(again), strict=True))
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    assert not build(part).extract_frozen
