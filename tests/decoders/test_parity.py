"""Our decoders against segmentation_models.pytorch with the same weights."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPDecoder
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import Tensor, nn

from weft.decoders.base import Decoder
from weft.decoders.deeplabv3plus import DeepLabV3Plus
from weft.decoders.fpn import FPN
from weft.decoders.pspnet import PSPNet
from weft.decoders.segformer import SegFormer
from weft.decoders.unet import Unet
from weft.decoders.upernet import UPerNet
from weft.types import FeatureSpec


def encoded(network: torch.nn.Module, images: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return network.encoder(images)


def test_deeplabv3plus_is_that_of_the_library() -> None:
    torch.manual_seed(0)
    network = smp.DeepLabV3Plus("resnet18", encoder_weights=None, decoder_atrous_rates=(6, 12, 18)).eval()
    levels = encoded(network, torch.randn(2, 3, 96, 96))
    channels = tuple(level.shape[1] for level in levels)
    spec = FeatureSpec("grid", channels[-1], (channels[1], channels[2], channels[3], channels[-1]), (2, 4, 8, 16))
    ours = DeepLabV3Plus(spec).eval()
    renamed = {
        # the image-wide branch is (pool, convolution, norm, activation) there, and has names here
        key.replace("convs.4.1.", "convs.4.conv.").replace("convs.4.2.", "convs.4.norm."): tensor
        for key, tensor in network.decoder.state_dict().items()
    }
    ours.decoder.load_state_dict(renamed)
    with torch.no_grad():
        decoded = ours((levels[1], levels[2], levels[3], levels[-1]))
        torch.testing.assert_close(decoded, network.decoder(levels), rtol=1e-5, atol=1e-6)


def test_unet_is_that_of_the_library() -> None:
    torch.manual_seed(0)
    network = smp.Unet("resnet18", encoder_weights=None).eval()
    levels = encoded(network, torch.randn(2, 3, 64, 96))
    channels = tuple(level.shape[1] for level in levels[1:])
    ours = Unet(FeatureSpec("grid", channels[-1], channels, (2, 4, 8, 16, 32)), stride=1).eval()
    ours.load_state_dict(network.decoder.state_dict())
    with torch.no_grad():
        assert torch.equal(ours(tuple(levels[1:])), network.decoder(levels))


PYRAMID = FeatureSpec("grid", 24, (8, 12, 16, 20, 24), (2, 4, 8, 16, 32))


def library_levels(size: tuple[int, int] = (64, 96)) -> list[Tensor]:
    """The image and five levels, as the library's decoders are given them."""
    generator = torch.Generator().manual_seed(2)
    sizes = [size, *(PYRAMID.level_size(level, size) for level in range(5))]
    return [torch.randn(2, c, *one, generator=generator) for c, one in zip((3, *PYRAMID.channels), sizes, strict=True)]


CHANNELS = (3, *PYRAMID.channels)
#: (ours, theirs, our name of one of their tensors)
SAME: dict[str, tuple[Decoder, nn.Module, Callable[[str], str]]] = {
    "pspnet": (PSPNet(PYRAMID, channels=16), PSPDecoder(CHANNELS, out_channels=16, dropout=0), lambda key: key),
    "upernet": (
        UPerNet(PYRAMID, channels=16),
        UPerNetDecoder(CHANNELS, decoder_channels=16),
        lambda key: f"decoder.{key}",
    ),
    "segformer": (
        SegFormer(PYRAMID, channels=16),
        SegformerDecoder((3, 0, *CHANNELS[2:]), segmentation_channels=16),
        lambda key: f"decoder.{key}",
    ),
    "fpn": (
        FPN(PYRAMID, pyramid_channels=16, channels=64),
        FPNDecoder(CHANNELS, pyramid_channels=16, segmentation_channels=64, dropout=0),
        lambda key: re.sub(
            r"seg_blocks\.(\d)\.block\.",
            lambda found: f"branches.{3 - int(found[1])}.block.",
            re.sub(r"^p(\d)\.(skip_conv\.)?", lambda found: f"laterals.{int(found[1]) - 2}.", key),
        ),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_a_decoder_is_that_of_the_library(name: str) -> None:
    ours, theirs, our_name = SAME[name]
    ours.load_state_dict({our_name(key): tensor for key, tensor in theirs.state_dict().items()})
    levels = library_levels()
    with torch.no_grad():
        given = [levels[0], levels[1][:, :0], *levels[2:]] if name == "segformer" else levels
        torch.testing.assert_close(ours.eval()(tuple(levels[1:])), theirs.eval()(given), rtol=1e-5, atol=1e-6)


def test_atrous_rates_follow_the_stride() -> None:
    def rates(stride: int) -> list[int]:
        decoder = DeepLabV3Plus(FeatureSpec("grid", 8, (8, 8), (4, stride)))
        convolutions = decoder.decoder.aspp[0].convs
        return [next(m.dilation[0] for m in c.modules() if isinstance(m, torch.nn.Conv2d)) for c in convolutions[1:4]]

    assert rates(16) == [6, 12, 18]
    assert rates(8) == [12, 24, 36]
    assert rates(32) == [3, 6, 9]


def test_a_single_row_is_normalised_by_running_statistics_and_leaves_them_alone() -> None:
    decoder = DeepLabV3Plus(FeatureSpec("grid", 8, (8, 8), (4, 16))).train()
    pooling = decoder.decoder.aspp[0].convs[-1]
    before = pooling.norm.running_mean.clone()
    decoder((torch.randn(1, 8, 16, 16), torch.randn(1, 8, 4, 4)))
    assert torch.equal(pooling.norm.running_mean, before)
    decoder((torch.randn(2, 8, 16, 16), torch.randn(2, 8, 4, 4)))
    assert not torch.equal(pooling.norm.running_mean, before)


def test_attention_on_too_few_channels_is_refused_with_the_number() -> None:
    with pytest.raises(ValueError, match="16 channels or more"):
        Unet(FeatureSpec("grid", 32, (8, 32), (4, 16)), channels=(32, 8), attention="scse")
