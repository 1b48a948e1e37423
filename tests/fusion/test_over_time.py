"""Where in time each part of dual-modal attention looked, followed back from the answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from weft import Features, FeatureSpec, Part
from weft.fusion.dam import by_step
from weft.fusion.dtl import DtlFusion
from weft.fusion.places import Places

SPECS = {"text": FeatureSpec("sequence", 6), "sound": FeatureSpec("sequence", 4)}
PARTS = ("exchange", "inter", "composition", "hierarchical", "short_memory", "long_memory")


def fusion(*parts: str, specs: dict[str, FeatureSpec] = SPECS, **options: Any) -> DtlFusion:
    torch.manual_seed(0)
    switches = {part: part in parts for part in PARTS}
    build = Part("fusion", "dtl", {"dim": 8, "heads": 2, "rnn": "none", "window": 2, **switches, **options})
    return build(specs).eval()


def sequences(num_steps: int, lengths: tuple[int, ...]) -> dict[str, Features]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: Features.of_sequence(
            torch.randn(len(lengths), num_steps, spec.dim, generator=generator), torch.tensor(lengths)
        )
        for name, spec in SPECS.items()
    }


def indifferent(built: DtlFusion) -> DtlFusion:
    """All that is seen is looked at alike: nothing asks for anything."""
    for name, parameter in built.block.attention.named_parameters():
        if "query" in name or "key" in name:
            torch.nn.init.zeros_(parameter)
    return built


def test_a_short_memory_that_looks_at_all_alike_by_hand() -> None:
    """With a token for nobody beside them: step 0 gives a half to itself, the others a third to each of two steps."""
    one = {"text": sequences(3, (3,))["text"]}
    built = indifferent(fusion("short_memory", specs={"text": SPECS["text"]}))
    torch.testing.assert_close(built.explain(one)["time/short_memory"], torch.tensor([[5 / 11, 4 / 11, 2 / 11]]))
    last = indifferent(fusion("short_memory", specs={"text": SPECS["text"]}, pool="last"))
    torch.testing.assert_close(last.explain(one)["time/short_memory"], torch.tensor([[0, 1 / 2, 1 / 2]]))


def test_before_the_last_step_the_short_memory_looks_at_the_last_steps_and_the_long_one_at_the_others() -> None:
    explained = fusion("short_memory", "long_memory", pool="last", causal=True).explain(sequences(5, (5, 5)))
    short, long = explained["time/short_memory"], explained["time/long_memory"]
    # both at the last step: what the answer takes through each
    torch.testing.assert_close(long.sum(1), torch.ones(2))
    assert (long[:, 3:] == 0).all()
    assert (long[:, :3] > 0).all()
    torch.testing.assert_close(short.sum(1), torch.ones(2))
    # the short memory stands before the long one, which hands on what it took from older steps
    alone = fusion("short_memory", pool="last", causal=True).explain(sequences(5, (5, 5)))["time/short_memory"]
    assert (alone[:, :3] == 0).all()
    torch.testing.assert_close(alone[:, 3:].sum(1), torch.ones(2))


def test_steps_that_a_sample_does_not_have_get_nothing() -> None:
    explained = fusion("exchange", "inter", "composition").explain(sequences(4, (4, 2)))
    for part in ("exchange", "inter", "composition"):
        shares = explained[f"time/{part}"]
        assert explained["time"].tolist() == [[True] * 4, [True, True, False, False]]
        assert shares[1, 2:].tolist() == [0, 0]
        torch.testing.assert_close(shares.sum(1), torch.ones(2))
        alone = fusion("exchange", "inter", "composition").explain(
            {name: one.select(torch.tensor([1])) for name, one in sequences(4, (4, 2)).items()}
        )
        torch.testing.assert_close(alone[f"time/{part}"][0, :2], shares[1, :2])


def test_what_is_known_before_the_first_step_has_no_place_in_time() -> None:
    features = sequences(3, (3,))
    shares = fusion("composition", known=["text"]).explain(features)["time/composition"]
    assert shares.shape == (1, 3)
    assert 0 < shares.sum().item() < 1
    still = FeatureSpec("vector", 5)
    timeless = fusion("inter", specs={"a": still, "b": still})
    vectors = {name: Features.of_vector(torch.randn(2, 5)) for name in "ab"}
    assert not [name for name in timeless.explain(vectors) if name.startswith("time")]


def test_a_part_through_which_nothing_came_tells_nothing() -> None:
    features = sequences(3, (3, 3))
    absent = {**features, "sound": features["sound"].keep(torch.tensor([True, False]))}
    shares = fusion("inter").explain(absent)["time/inter"]
    assert shares.sum(1).tolist() == pytest.approx([1, 0])


def test_shares_of_steps_by_hand() -> None:
    two = Features.of_sequence(torch.zeros(1, 2, 3), torch.tensor([2]))
    places = Places.of({"a": two, "b": two}, timed=["a", "b"])
    torch.testing.assert_close(by_step(torch.tensor([[1.0, 2, 0, 5]]), places), torch.tensor([[1 / 8, 7 / 8]]))
    known = Places.of({"a": two, "b": two}, timed=["a"])
    torch.testing.assert_close(by_step(torch.tensor([[1.0, 2, 0, 5]]), known), torch.tensor([[1 / 8, 2 / 8]]))


@pytest.mark.parametrize("parts", [(), ("dam",)])
def test_a_transformer_tells_it_of_the_parts_that_it_has(parts: tuple[str, ...]) -> None:
    options = {"dim": 8, "heads": 2, "layers": 1, **({"dam": ["short_memory"]} if parts else {})}
    built = Part("fusion", "transformer", options)(SPECS).eval()
    told = {name for name in built.explain(sequences(3, (3,))) if name.startswith("time/")}
    assert told == ({"time/short_memory"} if parts else set())
