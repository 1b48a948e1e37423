"""What every registered fusion keeps, on maps and on tokens, for one to three modalities."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.contracts.contract_cases import (
    GRIDS,
    LAYOUTS,
    SIZES,
    cases,
    features_of,
    for_modalities,
    label,
    leaves,
    tensors_of,
    weighted_total,
    with_garbage,
)
from weft.fusion.base import Fusion
from weft.registry import Part
from weft.types import Features

FUSIONS = pytest.mark.parametrize("part", cases("fusion"), ids=label)
EACH_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS)

#: Every modality is absent once, one row has all, and in the last nothing is there.
PRESENT = {
    "a": torch.tensor([True, True, False, True, False]),
    "b": torch.tensor([True, False, True, True, False]),
    "c": torch.tensor([True, True, True, False, False]),
}


def build(part: Part, layout: str, modalities: str = "abc", *, seed: int = 0) -> Fusion:
    torch.manual_seed(seed)
    fusion: Fusion = for_modalities(part, list(modalities))({m: LAYOUTS[layout][m] for m in modalities})
    return fusion


def inputs(
    layout: str,
    modalities: str = "abc",
    size: tuple[int, int] = (64, 64),
    present: dict[str, Tensor] = PRESENT,
) -> dict[str, Features]:
    return {m: features_of(LAYOUTS[layout][m], present[m], size, seed=ord(m)) for m in modalities}


@FUSIONS
@EACH_LAYOUT
@pytest.mark.parametrize("modalities", ["a", "ab", "abc"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_views_are_as_their_specs_say(part: Part, layout: str, modalities: str, size: tuple[int, int]) -> None:
    fusion = build(part, layout, modalities)
    views = fusion(inputs(layout, modalities, size))
    assert set(views) == set(fusion.specs)
    for name, view in views.items():
        spec = fusion.specs[name]
        assert spec.layout == layout
        assert view.tokens.shape[-1] == spec.dim
        if spec.has_maps:
            pyramid = view.pyramid
            assert [level.shape[1] for level in pyramid] == list(spec.channels)
            assert [tuple(level.shape[-2:]) for level in pyramid] == [
                spec.level_size(level, size) for level in range(len(spec.strides))
            ]
        assert all(tensor.isfinite().all() for tensor in tensors_of(view))


@FUSIONS
@EACH_LAYOUT
def test_a_view_is_present_where_any_of_its_modalities_is(part: Part, layout: str) -> None:
    views = build(part, layout)(inputs(layout))
    expected = (
        {m: PRESENT[m] for m in views}
        if "fused" not in views
        else {"fused": PRESENT["a"] | PRESENT["b"] | PRESENT["c"]}
    )
    for name, view in views.items():
        assert torch.equal(view.present, expected[name])
        assert torch.equal(view.mask.any(1), expected[name])


@FUSIONS
@EACH_LAYOUT
@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), 1e30])
def test_what_an_absent_row_holds_changes_nothing(part: Part, layout: str, garbage: float) -> None:
    fusion = build(part, layout).train()
    results = []
    for features in (inputs(layout), {m: with_garbage(f, garbage) for m, f in inputs(layout).items()}):
        fusion.zero_grad()
        grown = {m: leaves(f) for m, f in features.items()}
        views = fusion({m: f for m, (f, _) in grown.items()})
        sum((weighted_total(view) for view in views.values()), start=torch.zeros(())).backward()
        gradients = [p.grad.clone() for p in fusion.parameters() if p.grad is not None]
        at_inputs = [
            leaf.grad[PRESENT[m]] for m, (_, tensors) in grown.items() for leaf in tensors if leaf.grad is not None
        ]
        results.append([*(t for view in views.values() for t in tensors_of(view)), *gradients, *at_inputs])
    clean, dirty = results
    assert len(clean) == len(dirty)
    assert all(torch.equal(a, b) for a, b in zip(clean, dirty, strict=True))


@FUSIONS
@EACH_LAYOUT
def test_every_parameter_learns(part: Part, layout: str) -> None:
    fusion = build(part, layout).train()
    grown = {m: leaves(f)[0] for m, f in inputs(layout).items()}
    sum((weighted_total(view) for view in fusion(grown).values()), start=torch.zeros(())).backward()
    idle = [name for name, p in fusion.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@FUSIONS
@EACH_LAYOUT
def test_a_batch_of_one_is_that_row_of_a_batch(part: Part, layout: str) -> None:
    fusion = build(part, layout).eval()
    features = inputs(layout)
    together = fusion(features)
    for row in range(4):
        alone = fusion({m: f.select(torch.tensor([row])) for m, f in features.items()})
        for name, view in together.items():
            for ours, theirs in zip(tensors_of(alone[name]), tensors_of(view.select(torch.tensor([row]))), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@FUSIONS
@EACH_LAYOUT
def test_a_modality_that_is_absent_everywhere_is_no_obstacle(part: Part, layout: str) -> None:
    nowhere = {**PRESENT, "b": torch.zeros(5, dtype=torch.bool)}
    views = build(part, layout)(inputs(layout, present=nowhere))
    assert all(tensor.isfinite().all() for view in views.values() for tensor in tensors_of(view))


@FUSIONS
def test_the_empty_features_of_a_spec_are_taken(part: Part) -> None:
    fusion = build(part, "grid", "ab")
    features = {
        "a": features_of(GRIDS["a"], torch.ones(2, dtype=torch.bool), (65, 97), seed=1),
        "b": GRIDS["b"].empty(2, (65, 97), like=torch.zeros(())),
    }
    views = fusion(features)
    assert all(tensor.isfinite().all() for view in views.values() for tensor in tensors_of(view))


@FUSIONS
@EACH_LAYOUT
def test_modalities_are_paired_by_name(part: Part, layout: str) -> None:
    fusion = build(part, layout).eval()
    features = inputs(layout)
    forwards, backwards = fusion(features), fusion(dict(reversed(features.items())))
    for name, view in forwards.items():
        pairs = zip(tensors_of(view), tensors_of(backwards[name]), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


@FUSIONS
@EACH_LAYOUT
def test_the_same_seed_gives_the_same_result_and_weights_carry_it(part: Part, layout: str) -> None:
    features = inputs(layout)
    first, again, other = (build(part, layout, seed=seed).eval() for seed in (3, 3, 4))
    other.load_state_dict(first.state_dict())
    for name, view in first(features).items():
        for fusion in (again, other):
            pairs = zip(tensors_of(view), tensors_of(fusion(features)[name]), strict=True)
            assert all(torch.equal(one, two) for one, two in pairs)


@FUSIONS
def test_forward_leaves_nothing_behind(part: Part) -> None:
    fusion = build(part, "grid")
    before = {name: set(vars(module)) for name, module in fusion.named_modules()}
    state = {name: tensor.clone() for name, tensor in fusion.state_dict().items()}
    fusion(inputs("grid"))
    assert {name: set(vars(module)) for name, module in fusion.named_modules()} == before
    assert all(torch.equal(tensor, state[name]) for name, tensor in fusion.state_dict().items())


@FUSIONS
@EACH_LAYOUT
def test_what_is_explained_has_a_column_per_modality_and_nothing_of_absent_ones(part: Part, layout: str) -> None:
    for weights in build(part, layout).explain(inputs(layout)).values():
        assert weights.shape[1] == 3
        absent = ~torch.stack([PRESENT[m] for m in "abc"], dim=1)
        per_sample = weights if weights.shape[0] == 5 else weights.unflatten(0, (5, -1)).transpose(1, 2)
        assert not per_sample[absent].any()


@FUSIONS
def test_modalities_of_different_layouts_are_refused_by_name(part: Part) -> None:
    specs = {"a": LAYOUTS["grid"]["a"], "b": LAYOUTS["vector"]["b"]}
    if part.type == "none":
        assert set(part(specs).specs) == {"a", "b"}  # nothing is brought together, so nothing can differ
        return
    with pytest.raises(ValueError, match=r"a \(grid\), b \(vector\)"):
        for_modalities(part, ["a", "b"])(specs)
