"""What every registered way of sharing keeps, for every layout of the views that a task reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.contracts.contract_cases import (
    CLIPS,
    GRIDS,
    NUM_TOKENS,
    SEQUENCES,
    VECTORS,
    cases,
    features_of,
    label,
    leaves,
    tensors_of,
    weighted_total,
    with_garbage,
)
from weft.registry import Part
from weft.sharing.base import Sharing
from weft.types import Features, FeatureSpec

#: A sample has every view, each in turn, or none.
PRESENT = {"a": torch.tensor([True, True, False, False, True]), "b": torch.tensor([True, False, True, False, True])}

LAYOUTS: dict[str, dict[str, FeatureSpec]] = {
    "grid": GRIDS,
    "clip": CLIPS,
    "sequence": SEQUENCES,
    "vector": VECTORS,
    "grid+sequence": {"a": GRIDS["a"], "b": SEQUENCES["b"]},
}
EACH = pytest.mark.parametrize(
    ("part", "layout"),
    [pytest.param(part, layout, id=f"{label(part)}-{layout}") for part in cases("sharing") for layout in LAYOUTS],
)


def specs_of(layout: str) -> dict[str, FeatureSpec]:
    return {view: LAYOUTS[layout][view] for view in "ab"}


def build(part: Part, layout: str, *, seed: int = 0) -> Sharing:
    torch.manual_seed(seed)
    sharing: Sharing = part(specs_of(layout))
    return sharing


def inputs(layout: str) -> dict[str, Features]:
    """Features of both views, b's with a summary beside the tokens."""
    return {
        view: features_of(
            spec,
            PRESENT[view],
            (33, 50),
            seed=ord(view),
            num_tokens=NUM_TOKENS[view],
            summary=view == "b" and spec.layout != "vector",
        )
        for view, spec in specs_of(layout).items()
    }


def differ(first: Features, second: Features) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(tensors_of(first), tensors_of(second), strict=True))


@EACH
def test_a_task_gets_features_of_the_same_shape_rows_and_tokens(part: Part, layout: str) -> None:
    shared = inputs(layout)
    own = build(part, layout)(shared)
    assert list(own) == list(shared)
    for view, features in own.items():
        was = shared[view]
        assert features.grid == was.grid
        assert torch.equal(features.present, was.present)
        assert torch.equal(features.mask, was.mask)
        shapes = [[t.shape for t in tensors_of(f)] for f in (features, was)]
        assert shapes[0] == shapes[1]
        assert all(tensor.isfinite().all() for tensor in tensors_of(features))


@EACH
def test_what_others_read_stays_as_it_is(part: Part, layout: str) -> None:
    shared = inputs(layout)
    before = {view: [t.clone() for t in tensors_of(features)] for view, features in shared.items()}
    sharing = build(part, layout).train()
    own = sharing({view: leaves(features)[0] for view, features in shared.items()})
    sum((weighted_total(features) for features in own.values()), start=torch.zeros(())).backward()
    sharing(shared)
    for view, features in shared.items():
        assert all(torch.equal(a, b) for a, b in zip(tensors_of(features), before[view], strict=True))


@EACH
def test_some_of_the_views_do_and_each_goes_by_itself(part: Part, layout: str) -> None:
    sharing, shared = build(part, layout), inputs(layout)
    together = sharing(shared)
    assert sharing({}) == {}
    for view in shared:
        assert not differ(sharing({view: shared[view]})[view], together[view])


@EACH
def test_what_is_not_real_changes_nothing(part: Part, layout: str) -> None:
    """No bit of the task's features or of a gradient, whatever absent rows and padding hold."""
    sharing, clean = build(part, layout).train(), inputs(layout)
    results: list[list[Tensor]] = []
    for features in (clean, *({v: with_garbage(f, junk) for v, f in clean.items()} for junk in (float("nan"), 1e30))):
        sharing.zero_grad()
        grown = {view: leaves(f) for view, f in features.items()}
        own = sharing({view: f for view, (f, _) in grown.items()})
        sum((weighted_total(f) for f in own.values()), start=torch.zeros(())).backward()
        gradients = [p.grad.clone() for p in sharing.parameters() if p.grad is not None]
        at_inputs = [leaf.grad for _, tensors in grown.values() for leaf in tensors if leaf.grad is not None]
        results.append([*(t for f in own.values() for t in tensors_of(f)), *gradients, *at_inputs])
    expected, *dirty = results
    for result in dirty:
        assert all(torch.equal(a, b) for a, b in zip(expected, result, strict=True))


@EACH
def test_every_parameter_learns(part: Part, layout: str) -> None:
    sharing = build(part, layout).train()
    own = sharing(inputs(layout))
    sum((weighted_total(f) for f in own.values()), start=torch.zeros((), requires_grad=True)).backward()
    assert [name for name, p in sharing.named_parameters() if p.grad is None or not p.grad.any()] == []


@EACH
def test_a_batch_of_one_is_that_row_of_a_batch(part: Part, layout: str) -> None:
    """Also in training: nothing is computed across rows, so that several batches make the step of one."""
    sharing, shared = build(part, layout).train(), inputs(layout)
    together = sharing(shared)
    for row in range(len(PRESENT["a"])):
        rows = torch.tensor([row])
        alone = sharing({view: f.select(rows) for view, f in shared.items()})
        for view, features in together.items():
            for ours, theirs in zip(tensors_of(alone[view]), tensors_of(features.select(rows)), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@EACH
def test_half_precision_and_mixtures_of_types_are_taken(part: Part, layout: str) -> None:
    sharing, shared = build(part, layout), inputs(layout)
    first = shared["a"]
    halved = replace(first, tokens=first.tokens.bfloat16(), maps=tuple(level.bfloat16() for level in first.maps))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        own = sharing({**shared, "a": halved})
    exact = sharing(shared)
    for view, features in own.items():
        error = (features.pooled - exact[view].pooled).norm() / exact[view].pooled.norm()
        assert error < 0.05
    total = sum((weighted_total(f).float() for f in own.values()), start=torch.zeros((), requires_grad=True))
    total.backward()
    assert all(p.grad.isfinite().all() for p in sharing.parameters() if p.grad is not None)


@EACH
def test_the_same_seed_gives_the_same_result_and_weights_carry_it(part: Part, layout: str) -> None:
    shared = inputs(layout)
    first, again, other = (build(part, layout, seed=seed) for seed in (3, 3, 4))
    other.load_state_dict(first.state_dict())
    for view, features in first(shared).items():
        assert not differ(again(shared)[view], features)
        assert not differ(other(shared)[view], features)
