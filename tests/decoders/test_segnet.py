"""SegNet puts values where the encoder's maxima were, of whatever it is that is decoded."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from timm.models import FeatureListNet
from timm.models.vgg import VGG

from weft.decoders.segnet import SegNet, unpooled
from weft.registry import Part
from weft.types import Features, FeatureSpec


def test_a_value_goes_where_the_maximum_of_its_window_was() -> None:
    level = torch.tensor([[1.0, 5, 0, 0], [2, 3, 0, 9], [7, 0, 1, 1], [0, 0, 1, 2]])[None, None]
    values = torch.tensor([[10.0, 20], [30, 40]])[None, None]
    assert unpooled(values, level, 2)[0, 0].tolist() == [[0, 10, 0, 0], [0, 0, 0, 20], [30, 0, 0, 0], [0, 0, 0, 40]]


@pytest.mark.parametrize("size", [(6, 8), (5, 7), (1, 1)])
def test_it_is_the_unpooling_of_torch_at_odd_sizes_too(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    level = torch.randn(2, 3, *size, generator=generator)
    pooled, indices = F.max_pool2d(level, 2, ceil_mode=True, return_indices=True)
    expected = F.max_unpool2d(pooled, indices, 2, output_size=level.shape)
    assert torch.equal(unpooled(pooled, level, 2), expected)


def test_the_indices_are_those_of_the_poolings_of_a_vgg() -> None:
    torch.manual_seed(0)
    thin = VGG(cfg=[4, "M", 8, 8, "M", 8, "M"], num_classes=0, mlp_ratio=1e-3, norm_layer=torch.nn.BatchNorm2d)
    network = FeatureListNet(thin, out_indices=(0, 1, 2, 3), flatten_sequential=True).eval()
    seen = []
    for module in network.modules():
        if isinstance(module, torch.nn.MaxPool2d):
            module.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0].clone(), output)))
    with torch.no_grad():
        *finer, _ = network(torch.randn(1, 3, 32, 48))
    assert network.feature_info.reduction() == [1, 2, 4, 8]
    for level, (pooled_from, pooled) in zip(finer, seen, strict=True):
        _, indices = F.max_pool2d(pooled_from, 2, return_indices=True)
        assert torch.equal(unpooled(pooled, level, 2), F.max_unpool2d(pooled, indices, 2))


def test_its_widths_on_a_vgg_are_the_mirrored_ones_of_the_article() -> None:
    vgg = FeatureSpec("grid", 512, (64, 128, 256, 512, 512, 512), (1, 2, 4, 8, 16, 32))
    decoder = SegNet(vgg)
    assert isinstance(decoder.enter, torch.nn.Identity)
    ends = [(step[0][0].in_channels, step[-1][0].out_channels) for step in decoder.steps]
    assert ends == [(512, 512), (512, 256), (256, 128), (128, 64), (64, 64)]
    assert (decoder.out_channels, decoder.output_stride) == (64, 1)


def test_of_a_finer_level_it_reads_only_where_the_maxima_are() -> None:
    decoder = SegNet(FeatureSpec("grid", 4, (4, 4), (2, 4))).eval()
    fine, deep = torch.rand(1, 4, 8, 8, requires_grad=True), torch.rand(1, 4, 4, 4, requires_grad=True)
    decoded = decoder((fine, deep))
    assert torch.equal(decoder((fine * 3 + 1, deep)), decoded)
    assert not torch.equal(decoder((-fine, deep)), decoded)
    decoded.sum().backward()
    assert fine.grad is None
    assert deep.grad is not None


def test_fused_modalities_are_unpooled_by_the_maxima_of_what_is_present() -> None:
    spec = FeatureSpec("grid", 2, (2, 2), (2, 4))
    fusion = Part("fusion", "weighted", {"mode": "fixed"})({"image": spec, "depth": spec})
    generator = torch.Generator().manual_seed(1)
    image, depth = (
        [torch.rand(2, 2, 4, 4, generator=generator), torch.rand(2, 2, 2, 2, generator=generator)] for _ in range(2)
    )
    only_first = torch.tensor([True, False])
    both = fusion({"image": Features.of_pyramid(image), "depth": Features.of_pyramid(depth, only_first)})["fused"]
    decoder = SegNet(fusion.specs["fused"]).eval()
    decoded = decoder(both.pyramid)
    mean = decoder(tuple((a + b) / 2 for a, b in zip(image, depth, strict=True)))
    torch.testing.assert_close(decoded[0], mean[0])  # the maxima of the mean of both
    torch.testing.assert_close(decoded[1], decoder(tuple(image))[1])  # of the image alone


def test_a_level_that_is_no_pooling_of_the_next_is_refused() -> None:
    with pytest.raises(ValueError, match="stride 14 is no pooling of one of stride 4"):
        SegNet(FeatureSpec("grid", 8, (4, 8), (4, 14)))
