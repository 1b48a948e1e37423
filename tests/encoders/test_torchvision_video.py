"""torchvision's networks over space and time: the same numbers as torchvision's own, and windows over long clips."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models
from torchvision.models.video import MViT
from torchvision.models.video.mvit import MSBlockConfig

from weft.encoders.torchvision_video import Name, TorchvisionVideoEncoder
from weft.encoders.windows import at_size
from weft.errors import WeftError


@pytest.mark.parametrize("name", ["r3d_18", "s3d", "swin3d_t"])
def test_what_comes_before_the_classifier_is_torchvisions(name: Name, tmp_path: Path) -> None:
    """The network as published, with its classifier taken off, gives the average over all of the map."""
    torch.manual_seed(0)
    reference = models.get_model(name).eval()
    file = tmp_path / "weights.safetensors"
    save_file(reference.state_dict(), file)
    encoder = TorchvisionVideoEncoder(3, name=name, weights=str(file), window=8).eval()
    clip = torch.randn(1, 8, 3, 32, 32)
    last = "classifier" if name == "s3d" else "head" if name == "swin3d_t" else "fc"
    averages: list[torch.Tensor] = []
    getattr(reference, last).register_forward_pre_hook(lambda _, inputs: averages.append(inputs[0].flatten(1)))
    if name == "s3d":  # its pooling is made for pictures of 224 pixels
        reference.avgpool = nn.AdaptiveAvgPool3d(1)
    with torch.no_grad():
        reference(clip.transpose(1, 2))
        features = encoder(clip)
    assert features.tokens.shape[2] == encoder.spec.dim
    torch.testing.assert_close(features.pooled, averages[0], rtol=1e-4, atol=1e-5)


def test_long_clips_are_seen_in_windows_and_the_last_is_filled_up_with_its_last_frame() -> None:
    torch.manual_seed(0)
    encoder = TorchvisionVideoEncoder(3, name="s3d", window=8).eval()
    clip = torch.randn(1, 11, 3, 32, 32)
    with torch.no_grad():
        features = encoder(clip)
        windows = [clip[:, :8], torch.cat([clip[:, 8:], clip[:, 10:].expand(-1, 5, -1, -1, -1)], 1)]
        expected = torch.cat([encoder(window).tokens for window in windows], 1)
    assert features.mask.all()
    torch.testing.assert_close(features.tokens, expected, rtol=1e-4, atol=1e-5)


def test_wrong_weights_and_channels_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"stem.0.weight": torch.zeros(1)}, file)
    with pytest.raises(WeftError, match="does not hold the weights of r3d_18"):
        TorchvisionVideoEncoder(3, name="r3d_18", weights=str(file))
    with pytest.raises(WeftError, match=r"nowhere.pth of encoder r3d_18 are not there"):
        TorchvisionVideoEncoder(3, name="r3d_18", weights="nowhere.pth")
    with pytest.raises(ValueError, match="these have 2; choose `frames`"):
        TorchvisionVideoEncoder(2, name="r3d_18")


@pytest.fixture
def small_mvit(monkeypatch: pytest.MonkeyPatch) -> MViT:
    """An MViT of two blocks for 8 frames of 32 x 32 pixels, in the place of torchvision's."""
    torch.manual_seed(0)
    blocks = [
        MSBlockConfig(1, 8, 8, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 2, 2]),
        MSBlockConfig(2, 8, 16, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 1, 1]),
    ]
    network = MViT((32, 32), 8, blocks, True, False, rel_pos_embed=True, proj_after_attn=True, num_classes=5)
    nn.init.normal_(network.pos_encoding.class_token)
    monkeypatch.setattr(models, "get_model", lambda name: copy.deepcopy(network))
    return network.eval()


def test_the_vector_of_an_mvit_is_what_torchvision_s_classifier_reads(small_mvit: MViT) -> None:
    encoder = TorchvisionVideoEncoder(3, name="mvit_v2_s", window=8).eval()
    assert encoder.spec.dim == 16
    assert encoder.notes == ("mvit_v2_s sees every frame at 32 x 32 pixels, whatever its shape",)
    clip = torch.randn(2, 8, 3, 32, 32)
    with torch.no_grad():
        features = encoder(clip)
        expected = small_mvit(clip.transpose(1, 2))
    assert features.tokens.shape == (2, 4, 16)
    torch.testing.assert_close(small_mvit.head(features.pooled), expected, rtol=1e-5, atol=1e-6)


def test_an_mvit_sees_frames_of_any_shape_at_its_own_size_and_no_other_window(small_mvit: MViT) -> None:
    encoder = TorchvisionVideoEncoder(3, name="mvit_v2_s", window=8).eval()
    clip = torch.randn(1, 10, 3, 48, 64)
    small = at_size(clip, (32, 32))
    with torch.no_grad():
        features, alone = encoder(clip), encoder(small)
        last = encoder(small[:, [8, *[9] * 7]])
    torch.testing.assert_close(features.tokens, alone.tokens)
    assert features.mask.tolist() == [[*[True] * 5, *[False] * 3]]  # a step is two frames: the last two are one
    torch.testing.assert_close(features.tokens[:, 4:5], last.tokens[:, :1])
    torch.testing.assert_close(features.pooled, (8 * encoder(small[:, :8]).pooled + 2 * last.pooled) / 10)
    with pytest.raises(ValueError, match="sees 8 frames at once, and window is 16"):
        TorchvisionVideoEncoder(3, name="mvit_v2_s")
