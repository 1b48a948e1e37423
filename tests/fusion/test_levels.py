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


def here(*rows: bool) -> torch.Tensor:
    return torch.tensor(rows)


def test_a_vector_stands_at_every_place_of_every_level() -> None:
    pyramid = FeatureSpec("grid", 2, (2, 2), (4, 16))
    fusion = WeightedFusion({"image": pyramid, "age": FeatureSpec("vector", 2)}, mode="fixed")
    assert fusion.specs["fused"] == pyramid
    age = Features.of_vector(torch.tensor([[10.0, 20.0]]))
    fused = fusion({"image": constant(pyramid, [1, 2]), "age": age})["fused"]
    assert fused.grid == (1, 4, 4)
    assert fused.maps[0].shape == (1, 1, 2, 16, 16)
    assert [fused.maps[0][0, 0, channel].unique().item() for channel in (0, 1)] == [5.5, 10.5]
    assert [fused.tokens[0, :, channel].unique().item() for channel in (0, 1)] == [6, 11]


def test_a_sequence_is_pooled_over_its_real_tokens_and_projected_per_level() -> None:
    pyramid = FeatureSpec("grid", 2, (3, 2), (4, 16))
    fusion = WeightedFusion({"image": pyramid, "words": FeatureSpec("sequence", 1)}, mode="fixed")
    fine, deep = fusion.project["words"].values()
    with torch.no_grad():
        for level, factor in ((fine, 1.0), (deep, 10.0)):
            level.weight.fill_(factor)
            level.bias.zero_()
    words = Features.of_sequence(torch.tensor([[[1.0], [3.0], [99.0]]]), torch.tensor([2]))
    fused = fusion({"image": constant(pyramid, [0, 0]), "words": words})["fused"]
    assert fused.maps[0].detach().unique().tolist() == [1]
    assert fused.tokens.detach().unique().tolist() == [10]


def test_the_summary_of_a_sequence_goes_before_the_mean_of_its_tokens() -> None:
    spec = FeatureSpec("sequence", 1)
    fusion = WeightedFusion({"a": spec, "b": spec}, mode="fixed")
    tokens = torch.tensor([[[1.0], [2.0]]])
    a = Features.of_sequence(tokens, torch.tensor([2]))
    b = Features.of_sequence(tokens, torch.tensor([2]), vector=torch.tensor([[8.5]]))
    assert fusion({"a": a, "b": b})["fused"].tokens.tolist() == [[[5.0]]]


def test_without_maps_the_view_is_one_vector_whatever_the_lengths() -> None:
    fusion = WeightedFusion({"words": FeatureSpec("sequence", 2), "sound": FeatureSpec("sequence", 2)}, mode="fixed")
    assert fusion.specs["fused"] == FeatureSpec("vector", 2)
    words = Features.of_sequence(torch.tensor([[[1.0, 1.0]] * 3, [[5.0, 5.0]] * 3]), torch.tensor([3, 1]))
    sound = Features.of_sequence(torch.full((2, 7, 2), 3.0), torch.tensor([7, 2])).keep(here(True, False))
    fused = fusion({"words": words, "sound": sound})["fused"]
    assert fused.tokens.tolist() == [[[2.0, 2.0]], [[5.0, 5.0]]]
    assert fused.grid is None
    assert fusion.explain({"words": words, "sound": sound})["vector"].tolist() == [[0.5, 0.5], [1.0, 0.0]]


def test_a_sentence_alone_fills_the_map_of_a_missing_picture() -> None:
    pyramid = FeatureSpec("grid", 1, (1,), (16,))
    fusion = WeightedFusion({"image": pyramid, "words": FeatureSpec("vector", 1)}, mode="fixed")
    words = Features.of_vector(torch.tensor([[7.0], [7.0]]))
    fused = fusion(
        {"image": constant(pyramid, [3]).select(torch.tensor([0, 0])).keep(here(True, False)), "words": words}
    )
    assert fused["fused"].mask.all()
    assert fused["fused"].pyramid[0].mean((1, 2, 3)).tolist() == [5.0, 7.0]


def test_a_still_and_a_sentence_are_seen_in_every_frame_of_a_clip() -> None:
    specs = {"clip": FeatureSpec("clip", 1, (1,), (16,)), "image": FeatureSpec("grid", 1, (1,), (16,))}
    fusion = WeightedFusion({**specs, "words": FeatureSpec("vector", 1)}, mode="fixed")
    tokens = torch.tensor([[[3.0]] * 4 + [[6.0]] * 4])  # two frames of 2 x 2
    clip = Features(tokens, torch.ones(1, 8, dtype=torch.bool), here(True), grid=(2, 2, 2))
    features = {
        "clip": clip,
        "image": constant(specs["image"], [0], (32, 32)),
        "words": Features.of_vector(torch.ones(1, 1) * 9),
    }
    fused = fusion(features)["fused"]
    assert fused.grid == (2, 2, 2)
    assert fused.tokens[0, :, 0].tolist() == [4.0] * 4 + [5.0] * 4


def clips(spec: FeatureSpec, frames: list[list[float]]) -> Features:
    """Clips of one place: a number for each real frame of each row."""
    longest = max(len(row) for row in frames)
    tokens = torch.tensor([row + [99.0] * (longest - len(row)) for row in frames])[:, :, None].repeat(1, 1, spec.dim)
    mask = torch.tensor([[place < len(row) for place in range(longest)] for row in frames])
    return Features(tokens, mask, mask.any(1), grid=(longest, 1, 1))


def test_clips_meet_frame_by_frame_and_one_that_has_ended_is_absent_from_there_on() -> None:
    spec = FeatureSpec("clip", 1, (1,), (16,))
    fusion = WeightedFusion({"a": spec, "b": spec}, mode="fixed")
    fused = fusion({"a": clips(spec, [[2, 4, 6], [2]]), "b": clips(spec, [[8, 8], [4, 6]])})["fused"]
    assert fused.grid == (3, 1, 1)
    assert fused.mask.tolist() == [[True, True, True], [True, True, False]]
    assert fused.tokens[:, :, 0].tolist() == [[5, 6, 6], [3, 6, 0]]
    assert fused.pooled[:, 0].tolist() == pytest.approx([17 / 3, 4.5])


def test_a_still_beside_clips_is_seen_only_as_long_as_the_clip_of_its_row_goes_on() -> None:
    """So that what a row holds does not depend on how long another clip of its batch is."""
    specs = {"clip": FeatureSpec("clip", 1, (1,), (16,)), "image": FeatureSpec("grid", 1, (1,), (16,))}
    fusion = WeightedFusion(specs, mode="fixed")
    clip = clips(specs["clip"], [[2, 4, 6], [2], []])
    image = constant(specs["image"], [8], (16, 16)).select(torch.tensor([0, 0, 0]))
    fused = fusion({"clip": clip, "image": image})["fused"]
    assert fused.mask.tolist() == [[True] * 3, [True, False, False], [True, False, False]]
    assert fused.tokens[fused.mask, 0].tolist() == [5, 6, 7, 5, 8]
    shares = fusion.explain({"clip": clip, "image": image})["stride 16"]  # by frame, then by modality
    assert shares[:, 0].tolist() == [0.5, 0.5, 0.5, 0.5, 0, 0, 0, 0, 0]


def test_strides_are_refused_where_nothing_has_maps() -> None:
    with pytest.raises(ValueError, match=r"no level of stride \[4\] to fuse; there are \[\]"):
        WeightedFusion({"words": FeatureSpec("sequence", 4)}, strides=(4,))
