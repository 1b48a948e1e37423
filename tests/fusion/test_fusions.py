"""The fusions against values worked by hand."""

from __future__ import annotations

import pytest
import torch

from weft.fusion.concat import ConcatFusion
from weft.fusion.gated import GatedFusion
from weft.fusion.lowrank import LowRankFusion
from weft.fusion.rectify import RectifyFusion
from weft.fusion.weighted import WeightedFusion
from weft.types import Features, FeatureSpec

SPECS = {m: FeatureSpec("grid", 16, (16,), (16,)) for m in ("image", "depth", "thermal")}
PAIR = {m: SPECS[m] for m in ("image", "depth")}


def maps(*values: float, num_rows: int = 1) -> dict[str, Features]:
    return {
        m: Features.of_pyramid([torch.full((num_rows, 16, 4, 4), float(value))])
        for m, value in zip(SPECS, values, strict=False)
    }


def absent(features: Features) -> Features:
    return features.keep(torch.zeros(len(features.present), dtype=torch.bool))


def test_fixed_weights_are_used_as_given() -> None:
    fusion = WeightedFusion(PAIR, mode="fixed", weights={"depth": 0.5, "image": 0.7})
    assert fusion(maps(10, 2))["fused"].tokens.detach().unique() == pytest.approx(0.7 * 10 + 0.5 * 2)


def test_what_an_absent_modality_had_goes_to_the_others_in_proportion() -> None:
    fusion = WeightedFusion(SPECS, mode="fixed", weights={"image": 0.2, "depth": 0.2, "thermal": 0.6})
    features = maps(1, 3, 100)
    features["thermal"] = absent(features["thermal"])
    assert fusion(features)["fused"].tokens.detach().unique() == pytest.approx(2)
    assert fusion.explain(features)["stride 16"].flatten().tolist() == pytest.approx([0.5, 0.5, 0])


@pytest.mark.parametrize("mode", ["learned", "attention"])
def test_learned_weights_start_as_told_and_move(mode: str) -> None:
    fusion = WeightedFusion(PAIR, mode=mode, weights={"image": 0.75, "depth": 0.25})
    features = maps(1, 5)
    assert fusion(features)["fused"].tokens.detach().unique() == pytest.approx(0.75 * 1 + 0.25 * 5)
    optimizer = torch.optim.SGD(fusion.parameters(), lr=0.1)
    fusion(features)["fused"].tokens.mean().backward()
    optimizer.step()
    weights = fusion.explain(features)["stride 16"][0].detach()
    assert weights[0] > 0.75
    assert weights.sum() == pytest.approx(1)


def test_weights_for_the_wrong_modalities_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\['image'\]; give one for each of \['depth', 'image'\]"):
        WeightedFusion(PAIR, mode="fixed", weights={"image": 1.0})


@pytest.mark.parametrize("fusion_type", [GatedFusion, WeightedFusion])
def test_gates_and_learned_weights_start_at_the_mean(fusion_type: type) -> None:
    assert fusion_type(SPECS)(maps(1, 2, 6))["fused"].tokens.detach().unique() == pytest.approx(3)


def test_gates_differ_from_place_to_place() -> None:
    fusion = GatedFusion(PAIR)
    torch.nn.init.normal_(next(iter(fusion.blocks.values())).score.weight)
    features = {m: Features.of_pyramid([torch.randn(1, 16, 4, 4)]) for m in PAIR}
    gates = fusion.explain(features)["stride 16"]
    assert gates.shape == (1, 2, 4, 4)
    assert gates.sum(1).flatten().tolist() == pytest.approx([1] * 16)
    assert gates[0, 0].unique().numel() > 1


@pytest.mark.parametrize("fusion_type", [ConcatFusion, RectifyFusion])
@pytest.mark.parametrize("present", ["both", "image"])
def test_a_new_fusion_hands_on_about_the_mean_of_what_is_present(fusion_type: type, present: str) -> None:
    torch.manual_seed(0)
    features = {m: Features.of_pyramid([torch.randn(2, 16, 8, 8)]) for m in PAIR}
    expected = (features["image"].tokens + features["depth"].tokens) / 2
    if present == "image":
        features["depth"] = absent(features["depth"])
        # A concatenation has no weights to hand on: what is absent is a learned vector, which starts at zero.
        expected = features["image"].tokens * (0.5 if fusion_type is ConcatFusion else 1.0)
    fused = fusion_type(PAIR)(features)["fused"].tokens
    similarity = torch.nn.functional.cosine_similarity(fused.flatten(), expected.flatten(), dim=0)
    assert similarity > 0.9
    assert 0.8 < fused.std() / expected.std() < 1.3


def test_one_modality_alone_passes_a_rectifying_fusion_as_if_the_other_were_absent() -> None:
    features = {m: Features.of_pyramid([torch.randn(2, 16, 8, 8)]) for m in PAIR}
    fusion = RectifyFusion(PAIR)
    level = next(iter(fusion.blocks.values()))
    own = features["image"].pyramid[-1]
    rows = {"image": torch.ones(2, dtype=torch.bool), "depth": torch.zeros(2, dtype=torch.bool)}
    alone = level({"image": own, "depth": torch.zeros_like(own)}, rows)
    mixed = level.mixing([own, torch.zeros_like(own)], list(rows.values()))
    assert torch.equal(alone, mixed)  # nothing is rectified and nothing attended to


def test_rectified_attention_sums_up_a_large_map_at_the_cost_of_a_small_one() -> None:
    fusion = RectifyFusion(PAIR, summary=4)
    level = next(iter(fusion.blocks.values()))
    large = torch.randn(1, 16, 33, 50)
    rows = {m: torch.ones(1, dtype=torch.bool) for m in PAIR}
    assert level(dict.fromkeys(PAIR, large), rows).shape == large.shape


def test_low_rank_products_against_values_worked_by_hand() -> None:
    vector = FeatureSpec("vector", 1)
    fusion = LowRankFusion({"a": vector, "b": vector}, rank=2)
    level = fusion.blocks["vector"]
    with torch.no_grad():
        level.factors["a"].weight.copy_(torch.tensor([2.0, -1.0]).view(2, 1, 1, 1))
        level.factors["a"].bias.copy_(torch.tensor([1.0, 0.5]))
        level.factors["b"].weight.copy_(torch.tensor([3.0, 4.0]).view(2, 1, 1, 1))
        level.factors["b"].bias.copy_(torch.tensor([0.0, 2.0]))
        level.weights.copy_(torch.tensor([10.0, 100.0]))
        level.bias.fill_(0.25)
    a, b = (Features.of_vector(torch.full((2, 1), value)) for value in (5.0, 7.0))
    here = torch.tensor([True, False])
    fused = fusion({"a": a, "b": b.keep(here)})["fused"].tokens.flatten().tolist()
    both = 10 * (2 * 5 + 1) * (3 * 7 + 0) + 100 * (-1 * 5 + 0.5) * (4 * 7 + 2) + 0.25
    alone = 10 * (2 * 5 + 1) * 0 + 100 * (-1 * 5 + 0.5) * 2 + 0.25  # the constants of what is absent
    assert fused == pytest.approx([both, alone])


def test_products_of_low_rank_start_near_the_mean() -> None:
    torch.manual_seed(0)
    features = {m: Features.of_pyramid([0.1 * torch.randn(2, 16, 8, 8)]) for m in PAIR}
    fused = LowRankFusion(PAIR)(features)["fused"].tokens
    mean = (features["image"].tokens + features["depth"].tokens) / 2
    assert torch.nn.functional.cosine_similarity(fused.flatten(), mean.flatten(), dim=0) > 0.95
