"""A word guides pixels: which places are of the colour that the word names can be told from both together only."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from weft.registry import Part
from weft.types import Features, FeatureSpec

NUM_COLOURS, SIZE, BATCH, MOST_STEPS = 4, 2, 32, 400
SMALL = {"dim": 32, "heads": 4, "dropout": 0.0}
CASES = [
    (Part("fusion", "lowrank"), 4, 2e-2),
    (Part("fusion", "transformer", SMALL), 4, 5e-3),
    (Part("fusion", "transformer", SMALL), 2, 5e-3),
    (Part("fusion", "cross_attention", SMALL), 4, 5e-3),
    (Part("fusion", "bottleneck", SMALL), 4, 2e-3),
]


def batch(seed: int, times: int) -> tuple[dict[str, Features], Tensor, Tensor]:
    """Features, the places of the named colour in the map (B, h, w), and those in one so many times as fine."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.eye(8)
    colours = torch.randint(NUM_COLOURS, (BATCH, SIZE, SIZE), generator=generator)
    fine = torch.randint(NUM_COLOURS, (BATCH, times * SIZE, times * SIZE), generator=generator)
    named = torch.randint(NUM_COLOURS, (BATCH,), generator=generator)
    image = Features.of_pyramid([codes[c].permute(0, 3, 1, 2) for c in (fine, colours)])
    said = torch.stack([codes[4 + named % 2], codes[6 + named // 2]], dim=1)  # two words name a colour together
    words = Features.of_sequence(said, torch.full((BATCH,), 2))
    return {"image": image, "words": words}, *((c == named[:, None, None]).float() for c in (colours, fine))


@pytest.mark.parametrize(("part", "times", "rate"), CASES, ids=lambda value: getattr(value, "type", str(value)))
def test_a_sentence_says_which_pixels_are_meant_in_the_deepest_and_in_a_finer_map(
    part: Part, times: int, rate: float
) -> None:
    """Finer maps are scaled and shifted by what was fused, or, twice as fine, attend to the words themselves."""
    torch.manual_seed(0)
    fusion = part({"image": FeatureSpec("grid", 8, (8, 8), (16 // times, 16)), "words": FeatureSpec("sequence", 8)})
    fine, deep = fusion.specs["fused"].channels
    heads = nn.ModuleList([nn.Conv2d(fine, 1, 1), nn.Conv2d(deep, 1, 1)])
    optimizer = torch.optim.Adam([*fusion.parameters(), *heads.parameters()], lr=rate)

    def logits(features: dict[str, Features]) -> list[Tensor]:
        pyramid = fusion(features)["fused"].pyramid
        return [head(level).squeeze(1) for head, level in zip(heads, pyramid, strict=True)]

    for step in range(MOST_STEPS):
        features, *truths = batch(step, times)
        loss = sum(
            nn.functional.binary_cross_entropy_with_logits(said, truth)
            for said, truth in zip(logits(features), reversed(truths), strict=True)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.1:
            break
    features, *truths = batch(1000, times)
    for said, truth in zip(logits(features), reversed(truths), strict=True):
        assert ((said > 0) == (truth > 0)).float().mean() > 0.97  # without the words 0.75 can be had
