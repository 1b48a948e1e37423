"""What the bridge carries into the finer maps."""

from __future__ import annotations

import pytest
import torch

from weft.fusion.bridge import Attending, Bridge, Modulation
from weft.fusion.transformer import TransformerFusion
from weft.types import Features, FeatureSpec


def test_it_starts_as_identity() -> None:
    bridge = Bridge((4, 6), (4, 8), deepest_stride=16, dim=8, heads=2)
    levels = [torch.randn(2, 4, 8, 8), torch.randn(2, 6, 4, 4)]
    mask = torch.tensor([[True, True, False], [True, False, False]])
    same = bridge(levels, torch.randn(2, 8, 2, 2), torch.randn(2, 3, 8), mask)
    assert all(torch.equal(a, b) for a, b in zip(levels, same, strict=True))


def test_levels_of_half_the_deepest_stride_attend_and_finer_ones_are_modulated() -> None:
    bridge = Bridge((4, 4, 4), (2, 4, 8), deepest_stride=16, dim=8, heads=2)
    assert {name: type(level) for name, level in bridge.levels.items()} == {
        "stride2": Modulation,
        "stride4": Modulation,
        "stride8": Attending,
    }


def test_modulation_scales_and_shifts_each_channel_by_what_is_said_at_that_place() -> None:
    modulation = Modulation(2, dim=1)
    with torch.no_grad():
        modulation.factors.weight.copy_(torch.tensor([0.5, 0.0, 0.0, 10.0]).view(4, 1, 1, 1))
    level = torch.tensor([3.0, 7.0]).view(1, 2, 1, 1).expand(1, 2, 2, 4)
    deepest = torch.tensor([[[[0.0, 1.0]]]])  # says something on the right only
    changed = modulation(level, deepest, torch.zeros(1, 1, 1), torch.ones(1, 1, dtype=torch.bool))
    assert changed[0, :, 0, 0].tolist() == [3, 7]
    assert changed[0, :, 0, 3].tolist() == [3 * 1.5, 7 + 10]


def test_every_place_attends_to_real_tokens_only() -> None:
    torch.manual_seed(0)
    attending = Attending(3, dim=8, heads=2)
    for parameter in attending.project.parameters():
        torch.nn.init.normal_(parameter)
    level, deepest = torch.randn(1, 3, 2, 2), torch.zeros(1, 8, 1, 1)
    tokens = torch.randn(1, 3, 8)
    mask = torch.tensor([[True, True, False]])
    changed = attending(level, deepest, tokens, mask)
    assert not torch.equal(changed, level)
    torch.testing.assert_close(changed, attending(level, deepest, tokens[:, :2], mask[:, :2]))


@pytest.mark.parametrize("word", [0, 1])
def test_a_fusion_carries_a_word_into_the_finest_map(word: int) -> None:
    """After a step on the finer maps alone, another word gives other maps."""
    torch.manual_seed(0)
    specs = {"image": FeatureSpec("grid", 6, (3, 4, 6), (4, 16, 32)), "words": FeatureSpec("sequence", 5)}
    fusion = TransformerFusion(specs, dim=16, heads=2, dropout=0.0)
    image = Features.of_pyramid([torch.randn(1, c, *size) for c, size in ((3, (8, 8)), (4, (2, 2)), (6, (1, 1)))])
    tokens = torch.randn(1, 2, 5)

    def finer(said: torch.Tensor) -> tuple[torch.Tensor, ...]:
        words = Features.of_sequence(said, torch.tensor([2]))
        return fusion({"image": image, "words": words})["fused"].maps

    other = tokens.clone()
    other[:, word] += 1
    assert all(torch.equal(a, b) for a, b in zip(finer(tokens), finer(other), strict=True))
    optimizer = torch.optim.SGD(fusion.parameters(), lr=0.1)
    sum((level * torch.randn_like(level)).sum() for level in finer(tokens)).backward()
    optimizer.step()
    assert not any(torch.allclose(a, b) for a, b in zip(finer(tokens), finer(other), strict=True))
