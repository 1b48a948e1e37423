"""Clips frame by frame: what becomes of the frames, of the recurrent network over them, and of streams."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from weft.encoders.base import Encoder
from weft.encoders.frames import FrameMapsEncoder, FramesEncoder
from weft.encoders.pooling import AttentionPool, MaxPool, MeanPool, build_pool
from weft.encoders.timm import TimmEncoder
from weft.registry import Part
from weft.types import Memory

TINY = {"type": "timm", "name": "test_resnet"}
LENGTHS = torch.tensor([2, 5, 1])


def assert_close(one: Tensor, other: Tensor) -> None:
    """The same network on rows in one batch or another: sums in another order."""
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def clips() -> Tensor:
    return torch.randn(3, 5, 3, 48, 64, generator=torch.Generator().manual_seed(0))


def frames_encoder(**options: Any) -> FramesEncoder:
    torch.manual_seed(1)
    encoder = Part("encoder", "frames", {"backbone": TINY, **options})(3)
    assert isinstance(encoder, FramesEncoder)
    return encoder.eval()


def real_frames() -> Tensor:
    return torch.arange(5) < LENGTHS[:, None]


def test_the_mean_over_frames_is_the_mean_of_what_the_backbone_gives_for_each_as_a_still() -> None:
    encoder = frames_encoder()
    features = encoder(clips(), LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        stills = encoder.backbone(clips()[row, :length]).pooled
        assert_close(features.tokens[row, :length], stills)
        assert_close(features.pooled[row], stills.mean(0))
    assert torch.equal(features.mask, real_frames())


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("causal", [True, False])
def test_the_recurrent_network_is_torchs_on_packed_sequences(cell: str, causal: bool) -> None:
    encoder = frames_encoder(cell=cell, hidden=4, layers=2, causal=causal, pooling="max")
    build = {"gru": nn.GRU, "lstm": nn.LSTM}[cell]
    reference = build(encoder.backbone.spec.dim, 4, 2, batch_first=True, bidirectional=not causal)
    assert encoder.recurrent is not None
    reference.load_state_dict(encoder.recurrent.state_dict())
    features = encoder(clips(), LENGTHS)
    averages = encoder.extract(clips(), LENGTHS).tokens
    packed = pack_padded_sequence(averages, LENGTHS, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(reference(packed)[0], batch_first=True)
    assert torch.equal(features.tokens, expected)
    assert encoder.spec.dim == (4 if causal else 8)
    largest = [expected[row, :length].amax(0) for row, length in enumerate(LENGTHS.tolist())]
    assert torch.equal(features.pooled, torch.stack(largest))


def test_only_the_causal_network_knows_nothing_of_later_frames() -> None:
    later = clips()
    later[:, 3:] += 1
    for causal in (True, False):
        encoder = frames_encoder(cell="gru", hidden=4, causal=causal)
        one, two = (encoder(inputs).tokens[:, :3] for inputs in (clips(), later))
        assert torch.equal(one, two) == causal


@pytest.mark.parametrize(
    "options",
    [
        {"pooling": "mean"},
        {"cell": "lstm", "hidden": 4, "layers": 2, "causal": True, "pooling": "attention"},
        {"cell": "gru", "hidden": 4, "causal": True, "pooling": "max"},
    ],
    ids=lambda options: options["pooling"],
)
def test_a_stream_says_at_each_frame_what_the_clip_up_to_there_says(options: dict[str, Any]) -> None:
    encoder = frames_encoder(**options)
    whole = encoder(clips())
    memory: Memory | None = None
    for frame in range(5):
        handed = memory
        before = {name: tensor.clone() for name, tensor in (handed or {}).items()}
        step, memory = encoder.step(clips()[:, frame : frame + 1], handed)
        assert all(torch.equal(before[name], tensor) for name, tensor in (handed or {}).items())
        assert_close(step.tokens[:, 0], whole.tokens[:, frame])
        assert_close(step.pooled, encoder(clips()[:, : frame + 1]).pooled)


def test_what_reads_from_both_ends_cannot_stream_and_says_what_to_do() -> None:
    encoder = frames_encoder(cell="gru")
    assert encoder.cannot_stream is not None
    with pytest.raises(ValueError, match="causal: true"):
        encoder.step(clips()[:, :1], None)


def test_the_maps_of_a_clip_are_those_of_its_frames() -> None:
    encoder = Part("encoder", "frame_maps", {"backbone": TINY})(3).eval()
    assert isinstance(encoder, FrameMapsEncoder)
    features, real = encoder(clips(), LENGTHS), real_frames()
    stills = encoder.backbone(clips()[real])
    assert encoder.spec.layout == "clip"
    assert torch.equal(features.frames, real)
    for level, still in zip(features.pyramid, stills.pyramid, strict=True):
        assert torch.equal(level[real.flatten()], still)
        assert not level[~real.flatten()].any()
    step, memory = encoder.step(clips()[:, 1:2], None)
    assert_close(step.tokens[1], features.tokens.unflatten(1, (5, -1))[1, 1])
    assert memory == {}


@pytest.mark.parametrize("name", ["frames", "frame_maps"])
def test_batch_normalisation_sees_real_frames_only(name: str) -> None:
    encoder = Part("encoder", name, {"backbone": TINY})(3).train()
    alone = TimmEncoder(3, name="test_resnet").train()
    alone.load_state_dict(encoder.backbone.state_dict())
    dirty = clips()
    dirty[~real_frames()] = float("nan")
    encoder(dirty, LENGTHS)
    alone(clips()[real_frames()])
    assert all(torch.equal(a, b) for a, b in zip(encoder.backbone.buffers(), alone.buffers(), strict=True))


def test_pooling_by_hand() -> None:
    tokens = torch.tensor([[[1.0, 4.0], [3.0, 0.0], [float("nan"), 9.0]]])
    mask = torch.tensor([[True, True, False]])
    assert MeanPool()(tokens, mask).tolist() == [[2, 2]]
    assert MaxPool()(tokens, mask).tolist() == [[3, 4]]
    attention = build_pool("attention", 2)
    assert isinstance(attention, AttentionPool)
    first, last = attention.score[0], attention.score[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    with torch.no_grad():  # the score is log(3) · tanh of a large number, 0 for the second token
        first.weight.copy_(torch.tensor([[0.0, 99.0], [0.0, 0.0]]))
        first.bias.zero_()
        last.weight.copy_(torch.tensor([[3.0, 0.0]]).log().nan_to_num(neginf=0))
    assert_close(attention(tokens, mask), torch.tensor([[1.5, 3.0]]))  # weights 3/4 and 1/4


def test_a_backbone_that_sees_no_pictures_or_gives_no_maps_is_refused() -> None:
    with pytest.raises(ValueError, match="reads text"):
        Part("encoder", "frames", {"backbone": {"type": "text_bag"}})(9)
    with pytest.raises(ValueError, match="leave out its `vector`, or choose frames"):
        Part("encoder", "frame_maps", {"backbone": {**TINY, "vector": 4}})(3)


@pytest.mark.parametrize("options", [{}, {"vector": 4}])
def test_a_picture_lends_its_encoder_to_a_clip_but_not_to_a_text(options: dict[str, Any]) -> None:
    image = TimmEncoder(3, name="test_resnet", **options).eval()
    clip: Encoder = image.lent_to("video", 3).eval()
    assert {id(p) for p in clip.parameters()} == {id(p) for p in image.parameters()}
    assert_close(clip(clips()[:, :1]).pooled, image(clips()[:, 0]).pooled)
    with pytest.raises(ValueError, match="this modality is text; give it its own"):
        image.lent_to("text", 3)
