"""The fusions of tokens: against plain torch layers, and what they make of what is missing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from weft.fusion.bottleneck import BottleneckFusion
from weft.fusion.cross_attention import CrossAttentionFusion
from weft.fusion.places import Places
from weft.fusion.positions import grid_positions, sequence_positions
from weft.fusion.tokens import TokenFusion
from weft.fusion.transformer import TransformerFusion
from weft.types import Features, FeatureSpec

IMAGE = FeatureSpec("grid", 6, (6,), (16,))
WORDS = FeatureSpec("sequence", 5)
AGE = FeatureSpec("vector", 3)
CPU = torch.device("cpu")


def image(num_rows: int = 1, size: tuple[int, int] = (2, 3), *, channels: int = 6) -> Features:
    return Features.of_pyramid([torch.randn(num_rows, channels, *size)])


def words(*lengths: int, longest: int = 4) -> Features:
    return Features.of_sequence(torch.randn(len(lengths), longest, 5), torch.tensor(lengths))


def rows(*present: bool) -> Tensor:
    return torch.tensor(present)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_a_transformer_is_torchs_own_over_the_embedded_tokens() -> None:
    fusion = TransformerFusion({"words": WORDS, "age": AGE}, dim=16, heads=4, layers=3, dropout=0.0)
    spoken, age = words(4, 2), Features.of_vector(torch.randn(2, 3))
    layer = nn.TransformerEncoderLayer(16, 4, 64, 0.0, activation="gelu", batch_first=True, norm_first=True)
    plain = nn.TransformerEncoder(layer, 3, norm=nn.LayerNorm(16), enable_nested_tensor=False)
    plain.load_state_dict(
        {f"layers.{name}": value for name, value in fusion.layers.state_dict().items()}
        | {f"norm.{name}": value for name, value in fusion.norm.state_dict().items()}
    )
    of_words, of_age = fusion.embed["words"], fusion.embed["age"]
    embedded = torch.cat(
        [
            fusion.class_token.expand(2, 1, -1),
            of_words.project(spoken.tokens)
            + of_words.modality
            + of_words.strength * sequence_positions(4, 16, device=CPU),
            of_age.project(age.tokens) + of_age.modality,
        ],
        dim=1,
    )
    mask = torch.tensor([[True] * 6, [True, True, True, False, False, True]])
    expected = plain(embedded, src_key_padding_mask=~mask)
    fused = fusion({"words": spoken, "age": age})["fused"]
    assert torch.equal(fused.mask, mask[:, 1:])
    torch.testing.assert_close(fused.vector, expected[:, 0])
    torch.testing.assert_close(fused.tokens[fused.mask], expected[:, 1:][fused.mask])


def test_tokens_of_a_map_are_told_their_place_in_the_finest_of_the_grids() -> None:
    fine, coarse = FeatureSpec("grid", 6, (6,), (8,)), FeatureSpec("grid", 6, (6,), (16,))
    fusion = TransformerFusion({"a": fine, "b": coarse}, dim=16, heads=2)
    embed = fusion.embed["b"]
    features = image(size=(2, 2))
    with torch.no_grad():
        embed.strength.fill_(1)
    told = embed(features, features.mask) - embed.project(features.tokens) - embed.modality
    torch.testing.assert_close(told[0], grid_positions((1, 2, 2), 16, step=2, device=CPU), atol=1e-5, rtol=1e-5)


TOKEN_FUSIONS = pytest.mark.parametrize("fusion_type", [TransformerFusion, CrossAttentionFusion, BottleneckFusion])


@TOKEN_FUSIONS
def test_further_padding_changes_nothing(fusion_type: type[TokenFusion]) -> None:
    fusion = fusion_type({"image": IMAGE, "words": WORDS}, dim=16, heads=2).eval()
    picture, spoken = image(), words(3)
    padded = Features.of_sequence(torch.cat([spoken.tokens, torch.randn(1, 6, 5)], dim=1), torch.tensor([3]))
    short, long = (fusion({"image": picture, "words": one})["fused"] for one in (spoken, padded))
    torch.testing.assert_close(short.tokens, long.tokens)
    torch.testing.assert_close(short.vector, long.vector)


@TOKEN_FUSIONS
@pytest.mark.parametrize("pool", ["class", "mean"])
def test_every_modality_reaches_the_map_and_the_vector(fusion_type: type[TokenFusion], pool: str) -> None:
    specs = {"image": IMAGE, "words": WORDS, "age": AGE}
    fusion = fusion_type(specs, dim=16, heads=2, pool=pool).eval()
    features = {"image": image(), "words": words(3), "age": Features.of_vector(torch.randn(1, 3))}
    before = fusion(features)["fused"]
    for name, changed in (("words", words(3)), ("age", Features.of_vector(torch.randn(1, 3))), ("image", image())):
        after = fusion({**features, name: changed})["fused"]
        assert not torch.allclose(after.tokens, before.tokens)
        assert not torch.allclose(after.vector, before.vector)


@TOKEN_FUSIONS
def test_in_a_row_without_a_picture_learned_tokens_ask_the_words(fusion_type: type[TokenFusion]) -> None:
    fusion = fusion_type({"image": IMAGE, "words": WORDS}, dim=16, heads=2).eval()
    spoken = words(4, 4, 4)
    spoken.tokens[2] = spoken.tokens[1]
    fused = fusion({"image": image(3).keep(rows(True, False, False)), "words": spoken})["fused"]
    assert fused.mask.all()
    assert fused.pyramid[0][1].std((1, 2)).min() > 0  # places differ, as the learned tokens know where they stand
    assert torch.equal(fused.tokens[1], fused.tokens[2])  # the same words, the same map
    other = fusion({"image": image(3).keep(rows(True, False, False)), "words": words(4, 4, 4)})["fused"]
    assert not torch.allclose(fused.tokens[1], other.tokens[1])


@TOKEN_FUSIONS
def test_nobody_attends_to_a_learned_token(fusion_type: type[TokenFusion]) -> None:
    """So what a row without a picture says does not depend on the size of the pictures beside it."""
    fusion = fusion_type({"image": IMAGE, "words": WORDS}, dim=16, heads=2).eval()
    spoken = words(4)
    small, large = (
        fusion({"image": image(size=size).keep(rows(False)), "words": spoken})["fused"] for size in ((1, 1), (5, 7))
    )
    torch.testing.assert_close(small.vector, large.vector)
    torch.testing.assert_close(small.tokens[0, 0], large.tokens[0, 0])


@TOKEN_FUSIONS
def test_maps_of_several_modalities_are_averaged_over_those_that_are_there(fusion_type: type[TokenFusion]) -> None:
    fusion = fusion_type({"a": IMAGE, "b": IMAGE}, dim=16, heads=2).eval()
    a, b = image(3), image(3)
    features = {"a": a.keep(rows(True, True, False)), "b": b.keep(rows(True, False, True))}
    captured: dict[str, Tensor] = {}
    attend = fusion.attend

    def watched(
        tokens: dict[str, Tensor], masks: dict[str, Tensor], places: Places
    ) -> tuple[dict[str, Tensor], Tensor]:
        attended, vector = attend(tokens, masks, places)
        captured.update({m: fusion.norm(value) for m, value in attended.items()})
        return attended, vector

    fusion.attend = watched  # type: ignore[method-assign]
    fused = fusion(features)["fused"].tokens
    expected = torch.stack([(captured["a"] + captured["b"])[0] / 2, captured["a"][1], captured["b"][2]])
    torch.testing.assert_close(fused, expected)


@TOKEN_FUSIONS
def test_finer_maps_start_as_the_mean_of_the_modalities_maps(fusion_type: type[TokenFusion]) -> None:
    spec = FeatureSpec("grid", 6, (3, 6), (4, 16))
    fusion = fusion_type({"a": spec, "b": spec, "words": WORDS}, dim=16, heads=2).eval()
    assert fusion.specs["fused"] == FeatureSpec("grid", 16, (3, 16), (4, 16))
    a, b = (Features.of_pyramid([torch.randn(1, 3, 8, 8), torch.randn(1, 6, 2, 2)]) for _ in "ab")
    maps = fusion({"a": a, "b": b, "words": words(4)})["fused"].maps
    torch.testing.assert_close(maps[0], (a.maps[0] + b.maps[0]) / 2)


@TOKEN_FUSIONS
def test_what_is_explained_is_what_changes_the_vector(fusion_type: type[TokenFusion]) -> None:
    """A token that nothing comes from can be changed freely; one of several that are read cannot."""
    fusion = fusion_type({"words": WORDS, "age": AGE}, dim=16, heads=2).eval()
    spoken, age = words(2), Features.of_vector(torch.randn(1, 3))
    explained = fusion.explain({"words": spoken, "age": age})
    attention = torch.cat([explained["attention/words"], explained["attention/age"]], dim=1)
    assert (attention[0] > 0).tolist() == [True, True, False, False, True]
    assert attention.sum() == pytest.approx(1)
    assert explained["share"][0].tolist() == pytest.approx([float(attention[0, :4].sum()), float(attention[0, 4])])


def test_the_class_token_of_one_layer_is_explained_by_its_own_attention() -> None:
    fusion = TransformerFusion({"words": WORDS, "age": AGE}, dim=16, heads=2, layers=1).eval()
    spoken, age = words(3), Features.of_vector(torch.randn(1, 3))
    layer = fusion.layers[0]
    tokens = {"words": fusion.embed["words"](spoken, spoken.mask), "age": fusion.embed["age"](age, age.mask)}
    joined = layer.norm1(torch.cat([fusion.class_token[None], *tokens.values()], dim=1))
    mask = torch.tensor([[True, True, True, True, False, True]])
    weights = layer.self_attn(joined[:, :1], joined, joined, key_padding_mask=~mask)[1][0, 0, 1:]
    explained = fusion.explain({"words": spoken, "age": age})
    got = torch.cat([explained["attention/words"], explained["attention/age"]], dim=1)[0]
    torch.testing.assert_close(got, weights / weights.sum())


def test_widths_that_heads_cannot_share_are_refused() -> None:
    with pytest.raises(ValueError, match="dim is 18 with 4 heads; give a multiple of the heads and of 4"):
        TransformerFusion({"words": WORDS}, dim=18, heads=4)


def test_any_length_and_any_size_after_training_on_others() -> None:
    fusion = TransformerFusion({"image": IMAGE, "words": WORDS}, dim=16, heads=2).eval()
    fused = fusion({"image": image(size=(13, 21)), "words": words(300, longest=300)})["fused"]
    assert fused.grid == (1, 13, 21)
    assert fused.tokens.isfinite().all()


def test_an_explained_cross_attention_follows_both_ways_to_a_token() -> None:
    """Half of what a class token became is what it was told, half of the rest what it knew of its own modality."""
    fusion = CrossAttentionFusion({"words": WORDS, "age": AGE}, dim=16, heads=2, layers=1).eval()
    spoken, age = words(4), Features.of_vector(torch.randn(1, 3))
    own = {"words": fusion.embed["words"](spoken, spoken.mask), "age": fusion.embed["age"](age, age.mask)}
    state = {m: torch.cat([fusion.class_tokens[m][None], tokens], dim=1) for m, tokens in own.items()}
    layer, reached = fusion.layers[0], {m: torch.zeros(tokens.shape[1]) for m, tokens in own.items()}
    for m, other in (("words", "age"), ("age", "words")):
        block = layer.layers[m]
        normalised = block.norm1(state[m])
        answer, at_own = block.self_attn(normalised, normalised, normalised)
        memory = layer.norm(torch.cat([layer.nobody[None], state[other]], dim=1))
        at_others = block.multihead_attn(block.norm2(state[m] + answer), memory, memory)[1]
        reached[m] += at_own[0, 0, 1:] / 4
        reached[other] += at_others[0, 0, 2:] / 2  # after nobody and the other's class token
    total = sum(weights.sum() for weights in reached.values())
    explained = fusion.explain({"words": spoken, "age": age})
    for m, weights in reached.items():
        torch.testing.assert_close(explained[f"attention/{m}"][0], weights / total)


def test_an_explained_bottleneck_follows_what_it_carried() -> None:
    """The same as multiplying out the matrices of who reads whom, over everything there is."""
    fusion = BottleneckFusion({"words": WORDS, "age": AGE}, tokens=2, dim=16, heads=2, layers=3).eval()
    spoken, age = words(4), Features.of_vector(torch.randn(1, 3))
    own = {"words": fusion.embed["words"](spoken, spoken.mask), "age": fusion.embed["age"](age, age.mask)}
    state = {m: torch.cat([fusion.class_tokens[m][None], tokens], dim=1) for m, tokens in own.items()}
    bottleneck = fusion.bottleneck[None]
    places = {"words": [*range(5), 7, 8], "age": [5, 6, 7, 8]}  # two class tokens at 0 and 5, the bottleneck last
    whole = torch.eye(9)
    for blocks in fusion.layers:
        step, after = torch.zeros(9, 9), {}
        for m, block in blocks.items():
            joined = torch.cat([state[m], bottleneck], dim=1)
            normalised = block.norm1(joined)
            weights = block.self_attn(normalised, normalised, normalised)[1][0]
            mixed = (torch.eye(len(weights)) + weights) / 2
            mixed[-2:] /= 2  # the bottleneck becomes the mean of both
            step[torch.tensor(places[m])[:, None], torch.tensor(places[m])] += mixed
            after[m] = block(joined)
        state = {m: joined[:, :-2] for m, joined in after.items()}
        bottleneck = (after["words"][:, -2:] + after["age"][:, -2:]) / 2
        whole = step @ whole
    reached = ((whole[0] + whole[5]) / 2).detach()
    expected = torch.cat([reached[1:5], reached[6:7]])
    explained = fusion.explain({"words": spoken, "age": age})
    got = torch.cat([explained["attention/words"], explained["attention/age"]], dim=1)[0]
    torch.testing.assert_close(got, expected / expected.sum())


def test_modalities_exchange_nothing_but_through_the_bottleneck() -> None:
    fusion = BottleneckFusion({"words": WORDS, "age": AGE}, dim=16, heads=2).eval()
    spoken = words(4)
    tokens = {"words": fusion.embed["words"](spoken, spoken.mask)}
    masks = {"words": spoken.mask, "age": torch.ones(1, 1, dtype=torch.bool)}
    first, second = (fusion._states({**tokens, "age": torch.randn(1, 1, 16)}, masks) for _ in range(2))
    torch.testing.assert_close(first[1][0]["words"], second[1][0]["words"])  # after one layer words know only words
    assert not torch.allclose(first[1][1], second[1][1])
    assert not torch.allclose(first[2][0]["words"], second[2][0]["words"])


def test_a_modality_alone_is_no_obstacle_to_attention_across() -> None:
    fusion = CrossAttentionFusion({"words": WORDS}, dim=16, heads=2).eval()
    assert fusion({"words": words(4)})["fused"].tokens.isfinite().all()
    assert fusion.explain({"words": words(4)})["share"].tolist() == [[1.0]]
