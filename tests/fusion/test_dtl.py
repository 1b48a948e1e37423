"""Dual-task learning with dual-modal attention: each part by hand, and a stream against the whole clip."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weft.fusion.attention import MaskedAttention
from weft.fusion.dam import by_modality
from weft.fusion.dam_composition import KINDS, CompositionAttention
from weft.fusion.dam_hierarchy import HierarchicalAttention
from weft.fusion.dam_inter import InterAttention
from weft.fusion.dam_memory import LongMemory, ShortMemory
from weft.fusion.dtl import DtlFusion
from weft.fusion.exchange import Exchange
from weft.fusion.places import Places
from weft.fusion.positions import sinusoids
from weft.fusion.recurrence import Recurrence
from weft.fusion.transformer import TransformerFusion
from weft.types import Features, FeatureSpec, Memory

#: The switches.
DTL_PARTS = ("exchange", "inter", "composition", "hierarchical", "short_memory", "long_memory")
STILL = FeatureSpec("grid", 6, (4, 6), (4, 16))
CLIP = FeatureSpec("clip", 6, (4, 6), (4, 16))
WORDS = FeatureSpec("sequence", 5)
SOUND = FeatureSpec("sequence", 3)
AGE = FeatureSpec("vector", 3)
SMALL: dict[str, Any] = {"dim": 16, "heads": 2, "window": 2, "segment": 2, "dropout": 0.0}
OFF: dict[str, Any] = {**SMALL, **dict.fromkeys(DTL_PARTS, False), "rnn": "none"}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def words(*lengths: int, longest: int = 6, dim: int = 5) -> Features:
    return Features.of_sequence(torch.randn(len(lengths), longest, dim), torch.tensor(lengths))


def clip(*lengths: int, size: tuple[int, int] = (2, 3)) -> Features:
    """Clips of maps at strides 4 and 16."""
    num_rows, num_frames = len(lengths), max(lengths)
    tokens = torch.randn(num_rows, num_frames * size[0] * size[1], 6)
    frames = torch.arange(num_frames) < torch.tensor(lengths)[:, None]
    return Features(
        tokens,
        frames.repeat_interleave(size[0] * size[1], 1),
        torch.ones(num_rows, dtype=torch.bool),
        (num_frames, *size),
        (torch.randn(num_rows, num_frames, 4, 4 * size[0], 4 * size[1]),),
    )


def still(num_rows: int, size: tuple[int, int] = (2, 3)) -> Features:
    return Features.of_pyramid([torch.randn(num_rows, 4, 4 * size[0], 4 * size[1]), torch.randn(num_rows, 6, *size)])


def places_of(*lengths: int, known: tuple[int, ...] = ()) -> Places:
    """Places of one row: a sequence of each length; those numbered in `known` are given whole."""
    named = {str(number): words(length, longest=length) for number, length in enumerate(lengths)}
    return Places.of(named, [name for name in named if int(name) not in known])


# ---------------------------------------------------------------------------------------------------- exchange


def test_an_exchange_of_two_tokens_with_two_by_hand() -> None:
    """Of a = (1, 0) half goes to what it attends to of (1, 0) and (0, 1): at temperature 1 e to 1."""
    exchange = Exchange(2, temperature=1.0, causal=False)
    with torch.no_grad():
        exchange.gate.weight.zero_()
        exchange.gate.bias.zero_()  # a gate of one half
    tokens = torch.tensor([[[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]]])
    changed = exchange(tokens, places_of(1, 2, known=(0, 1)))
    share = torch.e / (torch.e + 1)
    partner = share * tokens[0, 1] + (1 - share) * tokens[0, 2]
    torch.testing.assert_close(changed[0, 0], (tokens[0, 0] + partner) / 2)
    torch.testing.assert_close(changed[0, 1:], (tokens[0, 1:] + tokens[0, :1]) / 2)  # the only one there is


def test_among_three_modalities_a_token_gets_the_mean_over_those_that_are_there() -> None:
    exchange = Exchange(4, temperature=0.5, causal=False)
    tokens, places = torch.randn(1, 3, 4), places_of(1, 1, 1)
    changed = exchange(tokens, places)
    pairs = [exchange(tokens[:, [0, other]], places_of(1, 1))[:, 0] for other in (1, 2)]
    torch.testing.assert_close(changed[:, 0], torch.stack(pairs).mean(0))
    without = replace(places, mask=torch.tensor([[True, True, False]]))
    torch.testing.assert_close(exchange(tokens, without)[:, 0], pairs[0])
    alone = replace(places, mask=torch.tensor([[True, False, False]]))
    assert torch.equal(exchange(tokens, alone)[:, 0], tokens[:, 0])


def test_what_is_explained_of_an_exchange_is_the_exchange() -> None:
    exchange, tokens, places = Exchange(4, temperature=0.5, causal=False), torch.randn(1, 5, 4), places_of(2, 3)
    weights = exchange.weights(tokens, places)
    torch.testing.assert_close(weights.sum(2), torch.ones(1, 5))
    torch.testing.assert_close(weights @ tokens, exchange(tokens, places))


# ------------------------------------------------------------------------------------------------------ recurrence


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_recurrent_network_is_torchs_over_what_is_real_in_order_of_time(cell: str) -> None:
    """Known tokens first, then step by step; two directions; what is not real is skipped and answered zero."""
    network = Recurrence(8, cell=cell, both_ways=True)  # type: ignore[arg-type]
    places = places_of(2, 3, 2, known=(0,))
    places = replace(places, mask=torch.tensor([[True, True, True, False, True, True, True]]))
    tokens = torch.randn(1, 7, 8)
    order = [0, 1, 2, 5, 6, 4]  # known 0 and 1; step 0: 2, 5; step 1: 6 (3 is not real); step 2: 4
    plain = (nn.GRU if cell == "gru" else nn.LSTM)(8, 4, batch_first=True, bidirectional=True)
    weights = {f"{name}": value for name, value in network.forwards.state_dict().items()}
    assert network.backwards is not None
    weights |= {f"{name}_reverse": value for name, value in network.backwards.state_dict().items()}
    plain.load_state_dict(weights)
    said = network(tokens, places)
    torch.testing.assert_close(said[:, order], plain(tokens[:, order])[0])
    assert not said[:, 3].any()


# ---------------------------------------------------------------------------------------------------- attention


def test_masked_attention_is_torchs_with_a_token_for_nobody() -> None:
    attention = MaskedAttention(8, heads=2)
    queries, keys, allowed = torch.randn(2, 3, 8), torch.randn(2, 4, 8), torch.rand(2, 3, 4) > 0.5
    plain = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        nothing = torch.zeros(8)
        plain.in_proj_weight.copy_(torch.cat([attention.query.weight, attention.key.weight, attention.value.weight]))
        plain.in_proj_bias.copy_(torch.cat([attention.query.bias, nothing, attention.value.bias]))
    plain.out_proj.load_state_dict(attention.project.state_dict())
    everyone = torch.cat([attention.nobody.expand(2, 1, 8), keys], dim=1)
    hidden = torch.cat([torch.zeros(2, 3, 1, dtype=torch.bool), ~allowed], dim=2).repeat_interleave(2, 0)
    answer, weights = plain(queries, everyone, everyone, attn_mask=hidden)
    torch.testing.assert_close(attention(queries, keys, allowed), answer)
    torch.testing.assert_close(attention.weights(queries, keys, allowed), weights[:, :, 1:])


def test_inter_attention_sees_the_other_modality_alone() -> None:
    part, tokens, places = InterAttention(8, heads=2, causal=False), torch.randn(1, 5, 8), places_of(2, 3)
    weights = part.weights(tokens, places)
    assert not weights[0, :2, :2].any()
    assert not weights[0, 2:, 2:].any()
    assert (weights[0, :2, 2:] > 0).all()
    assert (weights[0, 2:, :2] > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_the_composition_by_its_formula(kind: str) -> None:
    part, tokens, places = (
        CompositionAttention(8, num_modalities=2, causal=False),
        torch.randn(1, 5, 8),
        places_of(2, 3),
    )
    with torch.no_grad():  # a gate that takes this kind alone
        part.gate.weight.zero_()
        part.gate.bias.fill_(-100.0)[KINDS.index(kind)] = 100.0
    x = tokens[0]
    scores = {
        "dot_product": part.query(x) @ part.key(x).T / 8**0.5,
        "additive": torch.stack([part.additive((part.asked(one) + part.offered(x)).tanh())[:, 0] for one in x]),
        "location": part.place(x) @ (sinusoids(torch.zeros(5), 8) + part.modality(places.modality)).T / 8**0.5,
        "global": part.everywhere(x).T.expand(5, 5),
    }[kind]
    weights = part.weights(tokens, places)[0]
    torch.testing.assert_close(weights, scores.softmax(1))  # every token is the first of its step
    torch.testing.assert_close(part(tokens, places)[0], part.project(weights @ part.value(x)))


def test_hierarchical_attention_by_hand() -> None:
    """Two segments of two and one steps in the first modality, one known token in the second."""
    part = HierarchicalAttention(4, segment=2, of_several_tokens=True, in_steps=True)
    tokens, places = torch.randn(1, 4, 4), places_of(3, 1, known=(1,))

    def mean(score: nn.Module, parts: Tensor) -> Tensor:
        return (score(parts).softmax(0) * parts).sum(0)

    x = tokens[0]
    segments = torch.stack([mean(part.token_score, x[:2]), x[2]])
    modalities = torch.stack([mean(part.segment_score, segments), x[3]])
    expected = part.project(mean(part.modality_score, modalities))
    torch.testing.assert_close(part(tokens, places)[0], expected)
    torch.testing.assert_close(part.project(part.weights(tokens, places)[0] @ x), expected)


def test_the_short_memory_has_the_last_steps() -> None:
    part, places = ShortMemory(8, heads=2, window=2), places_of(4, 4, 1, known=(2,))
    weights = part.weights(torch.randn(1, 9, 8), places)[0] > 0
    step = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    ago = step[:, None] - step
    assert torch.equal(weights[:8, :8], (ago >= 0) & (ago < 2))
    assert weights[8].tolist() == [False] * 8 + [True]
    assert not weights[:8, 8].any()


def test_the_long_memory_keeps_what_matters_of_steps_older_than_the_window() -> None:
    part = LongMemory(8, heads=2, window=2, slots=3, records=2)
    tokens, places = torch.randn(1, 5, 8), places_of(5)
    assert part.record is not None
    entries, there = part.record(tokens, places.mask)
    assert there[0].any(1).tolist() == [False, False, True, True, True]
    scores = part.record.score(tokens[0, :3])  # older than the window for step 4
    expected = scores.softmax(0).T @ part.record.value(tokens[0, :3])
    torch.testing.assert_close(entries[0, 4], expected)
    looked = part.weights(tokens, places)[0]
    assert not looked[:2].any()
    assert torch.equal(looked[4] > 0, torch.tensor([True, True, True, False, False]))
    other = tokens.clone()
    other[0, 2] += 1  # at step 3 it is not yet old
    torch.testing.assert_close(part(other, places)[0, [0, 1, 3]], part(tokens, places)[0, [0, 1, 3]])
    assert not torch.allclose(part(other, places)[0, 4], part(tokens, places)[0, 4])


# ---------------------------------------------------------------------------------------------------- the fusion


def test_with_all_parts_off_the_view_is_the_normalised_tokens_and_their_mean() -> None:
    fusion = DtlFusion({"words": WORDS, "age": AGE}, **OFF).eval()
    spoken, age = words(6, 3), Features.of_vector(torch.randn(2, 3))
    fused = fusion({"words": spoken, "age": age})["fused"]
    embedded = torch.cat([fusion.embed["words"](spoken, spoken.mask), fusion.embed["age"](age, age.mask)], dim=1)
    torch.testing.assert_close(fused.tokens, fusion.norm(embedded))
    torch.testing.assert_close(fused.vector[0], fusion.norm(embedded[0].mean(0)))
    torch.testing.assert_close(fused.vector[1], fusion.norm(embedded[1, [0, 1, 2, 6]].mean(0)))


@pytest.mark.parametrize("part", [*DTL_PARTS, "rnn"])
def test_each_switch_adds_its_part_and_the_part_changes_the_answer(part: str) -> None:
    specs = {"words": WORDS, "sound": SOUND}
    features = {"words": words(6, 4), "sound": words(5, 6, dim=3)}
    plain, more = DtlFusion(specs, **OFF), DtlFusion(specs, **{**OFF, part: "gru" if part == "rnn" else True})
    added = set(dict(more.named_parameters())) - set(dict(plain.named_parameters()))
    assert added
    more.load_state_dict({**more.state_dict(), **plain.state_dict()})
    before, after = plain(features)["fused"].vector, more(features)["fused"].vector
    assert not torch.allclose(before, after)
    shown = {name for name in more.explain(features) if name.startswith("part/")}
    assert shown == ({f"part/{part}"} if part not in ("rnn", "hierarchical") else set())


CAUSAL: dict[str, Any] = {**SMALL, "causal": True}
STREAMS = {
    "clip+still": ({"still": STILL, "clip": CLIP}, lambda: {"still": still(2), "clip": clip(7, 5)}),
    "clip+words": ({"clip": CLIP, "words": WORDS}, lambda: {"clip": clip(7, 4), "words": words(6, 2)}),
    "two sequences": (
        {"words": WORDS, "sound": SOUND},
        lambda: {"words": words(7, 5, longest=7), "sound": words(7, 7, longest=7, dim=3)},
    ),
}


def steps_of(features: dict[str, Features], timed: tuple[str, ...]) -> list[dict[str, Features]]:
    """The same features frame by frame; what is known comes with each."""
    whole = max(features[m].grid[0] if features[m].grid else features[m].tokens.shape[1] for m in timed)  # type: ignore[index]
    return [{m: step_of(one, step) if m in timed else one for m, one in features.items()} for step in range(whole)]


def step_of(features: Features, step: int) -> Features:
    at_once = 1 if features.grid is None else features.grid[1] * features.grid[2]
    now = slice(step * at_once, (step + 1) * at_once)
    mask = features.mask[:, now]
    return replace(
        features,
        tokens=features.tokens[:, now],
        mask=mask,
        present=mask.any(1),
        grid=None if features.grid is None else (1, *features.grid[1:]),
        maps=tuple(level[:, step : step + 1] for level in features.maps),
    )


@pytest.mark.parametrize("mixture", STREAMS)
@pytest.mark.parametrize("options", [{}, {"rnn": "lstm", "pool": "last"}], ids=["gru-mean", "lstm-last"])
def test_a_stream_gives_what_the_whole_clip_gives(mixture: str, options: dict[str, Any]) -> None:
    """Tokens and finer maps at every real step, and the vector up to there, for rows of different lengths."""
    specs, make = STREAMS[mixture]
    known = ("words",) if mixture == "clip+words" else ()
    fusion = DtlFusion(specs, **{**CAUSAL, "known": known, **options}).eval()
    _wake(fusion)
    features = make()
    with torch.no_grad():
        whole = fusion(features)["fused"]
        memory: Memory | None = None
        for number, step in enumerate(steps_of(features, fusion.timed)):
            views, memory = fusion.step(step, memory)
            now = views["fused"]
            expected = _at(whole, features, fusion, number)
            real = expected.mask
            torch.testing.assert_close(now.tokens[real], expected.tokens[real], atol=1e-5, rtol=1e-4)
            rows = real.any(1)
            for ours, theirs in zip(now.maps, expected.maps, strict=True):
                torch.testing.assert_close(ours[rows], theirs[rows], atol=1e-5, rtol=1e-4)
            so_far = fusion({m: _until(one, number) if m in fusion.timed else one for m, one in features.items()})
            torch.testing.assert_close(now.pooled[rows], so_far["fused"].pooled[rows], atol=1e-5, rtol=1e-4)


def _wake(fusion: DtlFusion) -> None:
    """Let the bridge, which starts as identity, change the finer maps."""
    if fusion.bridge is not None:
        for parameter in fusion.bridge.parameters():
            nn.init.normal_(parameter, std=0.3)


def _at(whole: Features, features: dict[str, Features], fusion: DtlFusion, step: int) -> Features:
    """The view of a whole clip at one step."""
    if whole.grid is not None:
        return step_of(whole, step)
    joined = {m: f.tokens.shape[1] for m, f in features.items()}
    assert set(joined) == set(fusion.timed)
    index = torch.tensor([step + sum(list(joined.values())[:place]) for place in range(len(joined))])
    return replace(whole, tokens=whole.tokens[:, index], mask=whole.mask[:, index])


def _until(features: Features, step: int) -> Features:
    """The first steps alone, of the same size."""
    at_once = 1 if features.grid is None else features.grid[1] * features.grid[2]
    shown = torch.arange(features.tokens.shape[1]) < (step + 1) * at_once
    return replace(features, mask=features.mask & shown)


def test_the_memory_of_a_stream_does_not_grow_and_is_not_changed() -> None:
    specs, make = STREAMS["clip+still"]
    fusion = DtlFusion(specs, **CAUSAL).eval()
    frames = steps_of(make(), fusion.timed)
    memory: Memory | None = None
    sizes = []
    with torch.no_grad():
        for number in range(20):
            before = None if memory is None else {name: value.clone() for name, value in memory.items()}
            _, after = fusion.step(frames[number % 4], memory)
            assert before is None or memory is None or all(torch.equal(memory[name], before[name]) for name in before)
            memory = after
            sizes.append(sum(value.numel() for value in memory.values()))
    assert len(set(sizes[3:])) == 1


def test_with_causal_nothing_sees_a_later_frame() -> None:
    specs, make = STREAMS["clip+still"]
    features = make()
    later = features["clip"]
    changed = replace(later, tokens=later.tokens.clone(), maps=tuple(level.clone() for level in later.maps))
    changed.tokens[:, 4 * 6 :] = 9.0
    changed.maps[0][:, 4:] = 9.0
    for causal in (True, False):
        fusion = DtlFusion(specs, **{**SMALL, "causal": causal}).eval()
        _wake(fusion)
        one, other = (fusion({**features, "clip": c})["fused"] for c in (later, changed))
        same = torch.equal(one.tokens[:, : 4 * 6], other.tokens[:, : 4 * 6])
        assert same == causal
        assert torch.equal(one.maps[0][:, :4], other.maps[0][:, :4]) == causal


def test_what_cannot_stream_says_why() -> None:
    with pytest.raises(ValueError, match="train it with `causal: true`"):
        DtlFusion({"clip": CLIP, "age": AGE}, **SMALL).step({}, None)
    with pytest.raises(ValueError, match="none of its modalities comes in steps"):
        DtlFusion({"still": STILL, "age": AGE}, **CAUSAL).step({}, None)
    fusion = DtlFusion({"clip": CLIP, "age": AGE}, **CAUSAL)
    with pytest.raises(ValueError, match="one frame, and 4 were given"):
        fusion.step({"clip": clip(4), "age": Features.of_vector(torch.randn(1, 3))}, None)
    with pytest.raises(ValueError, match=r"reads clips whole; .*causal: true"):
        TransformerFusion({"clip": CLIP, "age": AGE}, dim=16, heads=2).step({}, None)


def test_a_token_for_each_step_is_the_mean_of_what_it_holds() -> None:
    specs = {"words": WORDS, "sound": SOUND, "age": AGE}
    features = {"words": words(2, 1, longest=3), "sound": words(3, 1, longest=3, dim=3)}
    features = {m: f.keep(torch.tensor([True, False])) for m, f in features.items()}
    features["age"] = Features.of_vector(torch.randn(2, 3))
    fusion = DtlFusion(specs, **SMALL).eval()
    by_step = DtlFusion(specs, **SMALL, tokens="steps").eval()
    by_step.load_state_dict(fusion.state_dict())
    everything, steps = fusion(features)["fused"].tokens, by_step(features)["fused"]
    torch.testing.assert_close(steps.tokens[0, 0], everything[0, [0, 3]].mean(0))
    torch.testing.assert_close(steps.tokens[0, 2], everything[0, 5])  # there are two words
    torch.testing.assert_close(steps.tokens[1, 0], everything[1, 6])  # the second row has its age alone
    assert steps.mask.tolist() == [[True] * 3, [True, False, False]]
    with pytest.raises(ValueError, match="none of the modalities comes in steps"):
        DtlFusion({"still": STILL, "age": AGE}, tokens="steps", **SMALL)
    with pytest.raises(ValueError, match="a view with maps has its frames as it is"):
        DtlFusion({"clip": CLIP, "age": AGE}, tokens="steps", **SMALL)


def test_only_sequences_can_be_known_before() -> None:
    with pytest.raises(ValueError, match="known names clip; only sequences can be given whole, and those are words"):
        DtlFusion({"clip": CLIP, "words": WORDS}, known=("clip",), **SMALL)


def test_shares_of_what_was_looked_at_sum_to_one_over_the_modalities() -> None:
    places = places_of(1, 2)
    looked = torch.tensor([[[0.0, 0.1, 0.1], [0.4, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    torch.testing.assert_close(by_modality(looked, places), torch.tensor([[0.4 / 0.6, 0.2 / 0.6]]))


# ------------------------------------------------------------------------------------- as a block of another fusion


def test_a_transformer_with_the_block_is_the_transformer_on_what_the_block_gives() -> None:
    specs = {"words": WORDS, "age": AGE}
    fusion = TransformerFusion(specs, dim=16, heads=2, exchange=True, dam=("inter", "short_memory")).eval()
    features = {"words": words(6, 3), "age": Features.of_vector(torch.randn(2, 3))}
    tokens, masks, places = fusion.embedded(features)
    assert fusion.block is not None
    assert list(fusion.block.attention.parts) == ["inter", "short_memory"]
    changed = fusion.block(fusion.joined(tokens), places)
    expected = fusion.attend(fusion.split(changed, tokens), masks, places)[1]
    torch.testing.assert_close(fusion(features)["fused"].vector, fusion.norm(expected))
    assert {"part/exchange", "part/inter", "part/short_memory"} <= set(fusion.explain(features))
    assert TransformerFusion(specs, dim=16, heads=2).block is None
