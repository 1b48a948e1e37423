"""What every registered fusion keeps, for every mixture of layouts and every subset of the modalities."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from tests.contracts.contract_cases import (
    MIXTURES,
    NUM_FRAMES,
    NUM_TOKENS,
    cases,
    features_of,
    for_modalities,
    label,
    leaves,
    tensors_of,
    weighted_total,
    with_garbage,
)
from weft import registry
from weft.fusion.base import Fusion
from weft.registry import Part
from weft.types import Features, FeatureSpec

Specs = dict[str, FeatureSpec]
SIZE = (32, 48)

#: A row per subset of three modalities: all first, the empty one last.
SUBSETS = list(product([True, False], repeat=3))
PRESENT = {m: torch.tensor([subset[place] for subset in SUBSETS]) for place, m in enumerate("abc")}


def fits(part: Part, specs: Specs) -> bool:
    """Whether a fusion says that it takes these modalities."""
    needs_maps: bool = registry.get("fusion", part.type).needs_maps  # type: ignore[attr-defined]
    return not needs_maps or all(spec.has_maps for spec in specs.values())


PAIRS = [(part, mixture) for part in cases("fusion") for mixture in MIXTURES]
EACH = pytest.mark.parametrize(
    ("part", "mixture"),
    [pytest.param(part, m, id=f"{label(part)}-{m}") for part, m in PAIRS if fits(part, MIXTURES[m])],
)


def build(part: Part, specs: Specs, *, seed: int = 0) -> Fusion:
    torch.manual_seed(seed)
    fusion: Fusion = for_modalities(part, list(specs))(specs)
    return fusion


def inputs(specs: Specs, size: tuple[int, int] = SIZE, present: dict[str, Tensor] = PRESENT) -> dict[str, Features]:
    """Features of every row of `present`; sequences and clips are of different lengths, and b's has a summary too."""
    return {
        m: features_of(
            spec,
            present[m],
            size,
            seed=ord(m),
            num_tokens=NUM_TOKENS[m],
            num_frames=NUM_FRAMES[m],
            summary=m == "b" and spec.layout == "sequence",
        )
        for m, spec in specs.items()
    }


def present_in(specs: Specs) -> Tensor:
    return torch.stack([PRESENT[m] for m in specs]).any(0)


@EACH
def test_views_are_as_their_specs_say(part: Part, mixture: str) -> None:
    """Of all the modalities, of the first two, and of the first alone; at a size that no stride divides."""
    whole = MIXTURES[mixture]
    for count in range(1, len(whole) + 1):
        specs = {m: whole[m] for m in tuple(whole)[:count]}
        size = (33, 50) if count == len(whole) else SIZE
        fusion = build(part, specs)
        views = fusion(inputs(specs, size))
        assert set(views) == set(fusion.specs)
        for name, view in views.items():
            check_view(fusion.specs[name], view, size)
        if "fused" in views:
            assert fusion.specs["fused"].has_maps == any(spec.has_maps for spec in specs.values())


def check_view(spec: FeatureSpec, view: Features, size: tuple[int, int]) -> None:
    assert view.tokens.shape[-1] == spec.dim
    assert view.pooled.shape == (len(SUBSETS), spec.dim)
    assert spec.layout != "vector" or view.tokens.shape[1] == 1
    assert spec.has_maps == (view.grid is not None)
    assert all(tensor.isfinite().all() for tensor in tensors_of(view))
    if spec.has_maps:
        pyramid = view.pyramid
        assert [level.shape[1] for level in pyramid] == list(spec.channels)
        assert [tuple(level.shape[-2:]) for level in pyramid] == [
            spec.level_size(level, size) for level in range(len(spec.strides))
        ]


@EACH
def test_a_view_is_present_where_any_of_its_modalities_is(part: Part, mixture: str) -> None:
    specs = MIXTURES[mixture]
    views = build(part, specs)(inputs(specs))
    for name, view in views.items():
        expected = present_in(specs) if name == "fused" else PRESENT[name]
        assert torch.equal(view.present, expected)
        assert torch.equal(view.mask.any(1), expected)


@EACH
def test_what_is_not_real_changes_nothing(part: Part, mixture: str) -> None:
    """No bit of the views, of what is explained, or of a gradient, whatever absent rows and padding hold."""
    specs = MIXTURES[mixture]
    fusion = build(part, specs).train()
    results = []
    clean = inputs(specs)
    for features in (clean, *({m: with_garbage(f, junk) for m, f in clean.items()} for junk in (float("nan"), 1e30))):
        fusion.zero_grad()
        torch.manual_seed(0)  # of dropout
        grown = {m: leaves(f) for m, f in features.items()}
        views = fusion({m: f for m, (f, _) in grown.items()})
        sum((weighted_total(view) for view in views.values()), start=torch.zeros(())).backward()
        gradients = [p.grad.clone() for p in fusion.parameters() if p.grad is not None]
        at_inputs = [leaf.grad for _, tensors in grown.values() for leaf in tensors if leaf.grad is not None]
        explained = [*fusion.explain(features).values()]
        results.append([*(t for view in views.values() for t in tensors_of(view)), *gradients, *at_inputs, *explained])
    expected, *dirty = results
    for result in dirty:
        assert all(torch.equal(a, b) for a, b in zip(expected, result, strict=True))


@EACH
def test_every_parameter_learns(part: Part, mixture: str) -> None:
    """In one step, or in the second where what comes after it starts at zero."""
    specs = MIXTURES[mixture]
    fusion = build(part, specs).train()
    parameters = dict(fusion.named_parameters())
    idle = set(parameters)
    for _ in range(2 if parameters else 0):
        fusion.zero_grad()
        views = fusion(inputs(specs)).values()
        sum((weighted_total(view) for view in views), start=torch.zeros(())).backward()
        idle -= {name for name, p in parameters.items() if p.grad is not None and p.grad.any()}
        with torch.no_grad():
            for parameter in parameters.values():
                parameter.sub_(1e-6 * (0 if parameter.grad is None else parameter.grad))
    assert idle == set()


@EACH
def test_a_batch_of_one_is_that_row_of_a_batch(part: Part, mixture: str) -> None:
    """Also of a clip, without the frames that filled it up."""
    specs = MIXTURES[mixture]
    fusion = build(part, specs).eval()
    features = inputs(specs)
    together = fusion(features)
    for row in present_in(specs).nonzero().flatten():
        alone = fusion({m: unfilled(f.select(row[None])) for m, f in features.items()})
        for name, view in together.items():
            there = unfilled(view.select(row[None]))
            for ours, theirs in zip(tensors_of(unfilled(alone[name])), tensors_of(there), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def unfilled(features: Features) -> Features:
    return features if features.grid is None else features.trimmed()


@EACH
def test_a_picture_that_a_whole_batch_lacks_is_as_one_that_a_row_lacks(part: Part, mixture: str) -> None:
    """A batch without any picture has no size; its answers are still those of its rows among others."""
    specs = MIXTURES[mixture]
    fusion = build(part, specs).eval()
    features = inputs(specs)
    together = fusion(features)
    for subset in set(SUBSETS) - {(True,) * 3}:
        row = torch.tensor([SUBSETS.index(subset)])
        here = {m: there for m, there in zip("abc", subset, strict=True) if m in specs}
        pictured = any(specs[m].has_maps for m, there in here.items() if there)
        if not any(here.values()):
            continue
        size = SIZE if pictured else (0, 0)
        alone = fusion(
            {
                m: features[m].select(row) if there else specs[m].empty(1, size, like=torch.zeros(()))
                for m, there in here.items()
            }
        )
        for name, view in together.items():
            torch.testing.assert_close(alone[name].pooled, view.select(row).pooled, rtol=1e-4, atol=1e-5)


@EACH
def test_half_precision_and_mixtures_of_types_are_taken(part: Part, mixture: str) -> None:
    """Under autocast convolutions give bfloat16, and normalisations and pooling float32."""
    specs = MIXTURES[mixture]
    fusion = build(part, specs).eval()
    features = inputs(specs)
    first = features["a"]
    features["a"] = replace(first, tokens=first.tokens.bfloat16(), maps=tuple(level.bfloat16() for level in first.maps))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        views = fusion(features)
        explained = fusion.explain(features)
    exact = fusion(inputs(specs))
    for name, view in views.items():
        error = (view.pooled - exact[name].pooled).norm() / exact[name].pooled.norm()
        assert error < 0.05
    assert all(weights.isfinite().all() for weights in explained.values())
    total = sum((weighted_total(view) for view in views.values()), start=torch.zeros((), requires_grad=True))
    total.backward()
    assert all(p.grad.isfinite().all() for p in fusion.parameters() if p.grad is not None)


@EACH
def test_everything_is_made_on_the_device_of_the_inputs(part: Part, mixture: str) -> None:
    """On the device `meta`, which holds no numbers, and refuses to meet those of another."""
    specs = MIXTURES[mixture]
    fusion = build(part, specs).to("meta")
    features = {m: on_meta(f) for m, f in inputs(specs).items()}
    views = fusion(features)
    assert all(tensor.is_meta for view in views.values() for tensor in (view.tokens, view.mask, *view.maps))
    assert all(weights.is_meta for weights in fusion.explain(features).values())


def on_meta(features: Features) -> Features:
    return replace(
        features,
        tokens=features.tokens.to("meta"),
        mask=features.mask.to("meta"),
        present=features.present.to("meta"),
        maps=tuple(level.to("meta") for level in features.maps),
        vector=None if features.vector is None else features.vector.to("meta"),
    )


@EACH
def test_modalities_are_paired_by_name(part: Part, mixture: str) -> None:
    specs = MIXTURES[mixture]
    fusion = build(part, specs).eval()
    features = inputs(specs)
    forwards, backwards = fusion(features), fusion(dict(reversed(features.items())))
    for name, view in forwards.items():
        pairs = zip(tensors_of(view), tensors_of(backwards[name]), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


@EACH
def test_the_same_seed_gives_the_same_result_and_weights_carry_it(part: Part, mixture: str) -> None:
    specs = MIXTURES[mixture]
    features = inputs(specs)
    first, again, other = (build(part, specs, seed=seed).eval() for seed in (3, 3, 4))
    other.load_state_dict(first.state_dict())
    for name, view in first(features).items():
        for fusion in (again, other):
            pairs = zip(tensors_of(view), tensors_of(fusion(features)[name]), strict=True)
            assert all(torch.equal(one, two) for one, two in pairs)


@EACH
def test_forward_leaves_nothing_behind(part: Part, mixture: str) -> None:
    specs = MIXTURES[mixture]
    fusion = build(part, specs)
    before = {name: set(vars(module)) for name, module in fusion.named_modules()}
    state = {name: tensor.clone() for name, tensor in fusion.state_dict().items()}
    fusion(inputs(specs))
    fusion.explain(inputs(specs))
    assert {name: set(vars(module)) for name, module in fusion.named_modules()} == before
    assert all(torch.equal(tensor, state[name]) for name, tensor in fusion.state_dict().items())


@EACH
def test_what_is_explained_has_a_place_for_everything_and_nothing_where_nothing_is(part: Part, mixture: str) -> None:
    specs = MIXTURES[mixture]
    features = inputs(specs)
    explained = build(part, specs).eval().explain(features)
    absent = ~torch.stack([PRESENT[m] for m in specs], dim=1)
    attention = {m: explained.pop(f"attention/{m}") for m in specs if f"attention/{m}" in explained}
    over_time = {name: explained.pop(name) for name in list(explained) if name.startswith("time/")}
    steps = explained.pop("time") if over_time else torch.zeros(0)
    for shares in over_time.values():
        assert shares.shape == steps.shape
        assert not shares[~steps].any()
        assert (shares.sum(1) < 1 + 1e-5).all()
    for weights in explained.values():
        assert weights.shape[1] == len(specs)
        per_sample = (
            weights if len(weights) == len(SUBSETS) else weights.unflatten(0, (len(SUBSETS), -1)).transpose(1, 2)
        )
        assert not per_sample[absent].any()
    if attention:
        for m, weights in attention.items():
            assert weights.shape == features[m].mask.shape
            assert not weights[~features[m].mask].any()
        sums = torch.stack([attention[m].sum(1) for m in specs], dim=1)
        torch.testing.assert_close(explained["share"], sums)
        torch.testing.assert_close(sums.sum(1), present_in(specs).float())


@pytest.mark.parametrize(
    ("part", "mixture"),
    [pytest.param(part, m, id=f"{label(part)}-{m}") for part, m in PAIRS if not fits(part, MIXTURES[m])],
)
def test_modalities_that_a_fusion_cannot_take_are_refused_by_name(part: Part, mixture: str) -> None:
    specs = MIXTURES[mixture]
    named = ", ".join(f"{m} \\({spec.layout}\\)" for m, spec in specs.items() if not spec.has_maps)
    with pytest.raises(ValueError, match=named):
        for_modalities(part, list(specs))(specs)
