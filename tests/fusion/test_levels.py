"""How pyramids of different networks are brought together."""

from __future__ import annotations

import pytest
import torch

from weft.fusion.concat import ConcatFusion
from weft.fusion.weighted import WeightedFusion
from weft.types import Features, FeatureSpec

DILATED = FeatureSpec("grid", 24, (8, 16, 24), (4, 8, 16))
PLAIN = FeatureSpec("grid", 32, (8, 12, 16, 32), (4, 8, 16, 32))
SINGLE = FeatureSpec("grid", 20, (20,), (14,))


def constant(spec: FeatureSpec, values: list[float], size: tuple[int, int] = (64, 64)) -> Features:
    return Features.of_pyramid(
        [
            torch.full((1, channels, *spec.level_size(level, size)), float(values[level]))
            for level, channels in enumerate(spec.channels)
        ]
    )


def test_the_deepest_meets_the_deepest_at_the_finest_of_their_strides() -> None:
    fusion = ConcatFusion({"image": DILATED, "depth": PLAIN})
    assert fusion.specs["fused"].strides == (4, 8, 16)
    assert fusion.specs["fused"].channels == (8, 16, 32)  # the widest of the levels that meet


def test_a_single_map_joins_every_level_of_a_pyramid() -> None:
    fusion = ConcatFusion({"image": PLAIN, "depth": SINGLE})
    assert fusion.specs["fused"].strides == (4, 8, 14)
    fused = fusion({"image": constant(PLAIN, [1, 2, 3, 4]), "depth": constant(SINGLE, [5])})["fused"]
    assert [tuple(level.shape[-2:]) for level in fused.pyramid] == [(16, 16), (8, 8), (5, 5)]


def test_levels_of_one_width_are_fused_without_a_projection() -> None:
    same = FeatureSpec("grid", 4, (2, 4), (4, 16))
    fusion = WeightedFusion({"a": same, "b": same}, mode="fixed")
    fused = fusion({"a": constant(same, [1, 2]), "b": constant(same, [3, 6])})["fused"]
    assert fused.maps[0].unique().tolist() == [2]
    assert fused.tokens.unique().tolist() == [4]


def test_the_first_modality_gives_the_width_when_asked() -> None:
    fusion = ConcatFusion({"image": DILATED, "depth": PLAIN}, width="first")
    assert fusion.specs["fused"].channels == DILATED.channels


def test_only_the_strides_asked_for_are_fused() -> None:
    fusion = ConcatFusion({"image": DILATED, "depth": PLAIN}, strides=(16, 4))
    assert fusion.specs["fused"].strides == (4, 16)
    fused = fusion({"image": constant(DILATED, [1, 2, 3]), "depth": constant(PLAIN, [1, 2, 3, 4])})["fused"]
    assert len(fused.pyramid) == 2
    with pytest.raises(ValueError, match=r"no level of stride \[2\]"):
        ConcatFusion({"image": DILATED}, strides=(2, 4))


def test_sequences_of_different_lengths_are_refused_with_their_lengths() -> None:
    spec = FeatureSpec("sequence", 4)
    fusion = ConcatFusion({"words": spec, "frames": spec})

    def tokens(number: int) -> Features:
        return Features(
            torch.zeros(1, number, 4), torch.ones(1, number, dtype=torch.bool), torch.ones(1, dtype=torch.bool)
        )

    with pytest.raises(ValueError, match="'words': 3, 'frames': 5"):
        fusion({"words": tokens(3), "frames": tokens(5)})


def test_a_token_that_only_one_modality_has_is_taken_from_it() -> None:
    spec = FeatureSpec("sequence", 1)
    fusion = WeightedFusion({"a": spec, "b": spec}, mode="fixed")
    here = torch.ones(1, dtype=torch.bool)
    a = Features(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[True, False]]), here)
    b = Features(torch.tensor([[[3.0], [4.0]]]), torch.tensor([[True, True]]), here)
    assert fusion({"a": a, "b": b})["fused"].tokens.flatten().tolist() == [2, 4]
