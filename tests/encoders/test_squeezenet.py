"""SqueezeNet against torchvision, and its weights from a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import squeezenet1_1

from weft.encoders.squeezenet import SqueezeNet
from weft.errors import WeftError


def test_the_deepest_map_is_torchvisions(tmp_path: Path) -> None:
    torch.manual_seed(2)
    reference = squeezenet1_1(weights=None).eval()
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    encoder = SqueezeNet(3, weights=str(tmp_path / "weights.pth")).eval()
    images = torch.randn(2, 3, 95, 95)  # poolings that divide without remainder
    deepest = reference.features(images)
    theirs = torch.nn.functional.interpolate(deepest, (6, 6), mode="bilinear") if deepest.shape[-1] != 6 else deepest
    assert torch.equal(encoder(images).pyramid[-1], theirs)
    assert encoder.spec.strides == (2, 4, 8, 16)
    assert encoder.input_spec.mean == (0.485, 0.456, 0.406)


def test_a_single_channel_gets_the_summed_stem(tmp_path: Path) -> None:
    reference = squeezenet1_1(weights=None)
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    stem = SqueezeNet(1, weights=str(tmp_path / "weights.pth")).network[0].weight
    torch.testing.assert_close(stem, reference.features[0].weight.sum(1, keepdim=True))


def test_weights_of_another_version_are_refused(tmp_path: Path) -> None:
    torch.save(squeezenet1_1(weights=None).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(WeftError, match="does not hold the weights of squeezenet 1_0"):
        SqueezeNet(3, version="1_0", weights=str(tmp_path / "weights.pth"))
