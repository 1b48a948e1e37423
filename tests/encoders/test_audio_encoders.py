"""What the encoders of sounds do that the contract of all encoders does not say."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file

from weft.encoders.conv_rnn import ConvRnnEncoder
from weft.encoders.spectrogram import SpectrogramEncoder

MELS = 40


def spectrograms(num_frames: int, num_rows: int = 2) -> torch.Tensor:
    return torch.randn(num_rows, 1, MELS, num_frames, generator=torch.Generator().manual_seed(0))


def spectrogram(**options) -> SpectrogramEncoder:
    torch.manual_seed(0)
    return SpectrogramEncoder(MELS, **{"name": "test_resnet", "segment": 64, **options}).eval()


def test_a_token_is_a_column_of_the_deepest_map_averaged_over_frequency():
    encoder = spectrogram()
    inputs = spectrograms(64)
    deepest = encoder.backbone(inputs).pyramid[-1]
    expected = torch.stack([deepest[..., column].mean(2) for column in range(deepest.shape[3])], 1)
    torch.testing.assert_close(encoder(inputs).tokens, expected)


def test_segments_are_seen_each_by_itself():
    encoder = spectrogram()
    inputs = spectrograms(128)
    changed = torch.cat([inputs[..., :64], inputs[..., 64:] + 1], 3)
    before, after = encoder(inputs).tokens, encoder(changed).tokens
    half = before.shape[1] // 2
    assert torch.equal(before[:, :half], after[:, :half])
    assert not torch.isclose(before[:, half:], after[:, half:]).all()


@pytest.mark.parametrize(
    ("stride", "lengths", "tokens"), [(32, [150, 65, 1], [5, 3, 1]), (16, [150, 65, 1], [10, 5, 1])]
)
def test_as_many_tokens_as_strides_begin_before_the_end(stride, lengths, tokens):
    encoder = spectrogram(name="test_efficientnet", output_stride=stride)
    features = encoder(spectrograms(150, 3), torch.tensor(lengths))
    assert features.mask.sum(1).tolist() == tokens


def test_segments_beyond_the_end_of_their_row_cost_nothing():
    encoder = spectrogram()
    seen = []
    encoder.backbone.network.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    encoder(spectrograms(64 * 5, 4), torch.tensor([320, 64, 65, 1]))
    assert seen == [5 + 1 + 2 + 1]


def test_pretrained_filters_see_the_spectrogram_as_a_grey_picture(tmp_path):
    torch.manual_seed(1)
    published = timm.create_model("test_resnet", pretrained=False)
    save_file(published.state_dict(), tmp_path / "weights.safetensors")
    encoder = spectrogram(weights=str(tmp_path / "weights.safetensors"))
    inputs = spectrograms(64)
    with torch.no_grad():
        expected = published.eval().forward_features(inputs.expand(-1, 3, -1, -1))
        torch.testing.assert_close(encoder(inputs).tokens, expected.mean(2).transpose(1, 2), rtol=1e-4, atol=1e-5)


def test_a_vector_is_the_projected_mean_of_the_real_tokens():
    plain, encoder = spectrogram(), spectrogram(vector=6)
    encoder.backbone.load_state_dict(plain.backbone.state_dict())
    inputs, lengths = spectrograms(150), torch.tensor([150, 70])
    features = encoder(inputs, lengths)
    assert encoder.spec.layout == "vector"
    torch.testing.assert_close(features.pooled, encoder.project(plain(inputs, lengths).pooled))


def test_the_first_stages_alone_can_be_frozen():
    encoder = spectrogram(freeze_stages=2).train()
    encoder(spectrograms(64)).tokens.sum().backward()
    stages = encoder.layers()
    assert all(p.grad is None for stage in stages[:2] for p in stage.parameters())
    assert all(p.grad is not None for stage in stages[2:] for p in stage.parameters())
    assert not encoder.extract_frozen


def conv_rnn(**options) -> ConvRnnEncoder:
    torch.manual_seed(0)
    return ConvRnnEncoder(MELS, **{"channels": (8, 8), "hidden": 6, **options}).eval()


@pytest.mark.parametrize(("stride", "tokens"), [(1, [9, 5]), (2, [5, 3]), (4, [3, 2])])
def test_the_stride_says_how_many_frames_a_token_stands_for(stride, tokens):
    features = conv_rnn(stride=stride)(spectrograms(9), torch.tensor([9, 5]))
    assert features.mask.sum(1).tolist() == tokens


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_summary_is_the_last_state_of_each_direction(cell):
    features = conv_rnn(cell=cell, layers=2)(spectrograms(20), torch.tensor([20, 12]))
    for row, last in enumerate((9, 5)):
        expected = torch.cat([features.tokens[row, last, :6], features.tokens[row, 0, 6:]])
        torch.testing.assert_close(features.pooled[row], expected)


def test_one_direction_hears_nothing_of_the_future():
    encoder = conv_rnn(bidirectional=False)
    inputs = spectrograms(40)
    later = torch.cat([inputs[..., :30], inputs[..., 30:] + 1], 3)
    before, after = encoder(inputs).tokens, encoder(later).tokens
    assert torch.equal(before[:, :13], after[:, :13])  # the convolutions reach a little ahead
    assert not torch.isclose(before[:, -1], after[:, -1]).all()


def test_dropout_is_for_training():
    encoder = conv_rnn(dropout=0.5)
    inputs = spectrograms(20)
    assert torch.equal(encoder(inputs).tokens, encoder(inputs).tokens)
    encoder.train()
    assert not torch.equal(encoder(inputs).tokens, encoder(inputs).tokens)


def test_too_few_convolutions_for_the_stride_are_refused():
    with pytest.raises(ValueError, match="a stride of 8 needs 3 convolutions"):
        conv_rnn(stride=8)
    with pytest.raises(ValueError, match="at least one"):
        conv_rnn(channels=(), stride=1)


ENCODERS = pytest.mark.parametrize("build", [spectrogram, conv_rnn], ids=lambda build: build.__name__)


@ENCODERS
@pytest.mark.parametrize("training", [True, False])
def test_nan_after_the_end_of_a_row_changes_no_bit(build, training):
    inputs, lengths = spectrograms(130, 3), torch.tensor([130, 1, 97])
    dirty = inputs.masked_fill(torch.arange(130) >= lengths.view(-1, 1, 1, 1), torch.nan)
    clean = build().train(training)(inputs, lengths)
    again = build().train(training)(dirty, lengths)
    assert torch.equal(clean.tokens[clean.mask], again.tokens[again.mask])
    assert torch.equal(clean.pooled, again.pooled)


@ENCODERS
def test_without_lengths_all_of_a_row_is_real(build):
    inputs = spectrograms(130)
    ours, theirs = build()(inputs), build()(inputs, torch.tensor([130, 130]))
    assert torch.equal(ours.tokens, theirs.tokens)
    assert torch.equal(ours.mask, theirs.mask)


@ENCODERS
def test_they_train_in_half_precision(build):
    encoder = build().train()
    with torch.autocast("cpu", torch.bfloat16):
        features = encoder(spectrograms(130, 3), torch.tensor([130, 1, 97]))
    features.pooled.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
