"""What makes FCN and recursive pyramid pooling what they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from weft.decoders.blocks import BatchNorm, with_steady_norms
from weft.decoders.fcn import FCN
from weft.decoders.fpn import FPN
from weft.decoders.pspnet import PSPNet
from weft.decoders.rspp import RSPP
from weft.types import FeatureSpec

SPEC = FeatureSpec("grid", 16, (4, 6, 8, 10, 16), (2, 4, 8, 16, 32))


def pyramid() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    sizes = [SPEC.level_size(level, (64, 96)) for level in range(5)]
    return tuple(torch.randn(2, c, *size, generator=generator) for c, size in zip(SPEC.channels, sizes, strict=True))


@pytest.mark.parametrize(("stride", "levels"), [(32, (4,)), (16, (3, 4)), (8, (2, 3, 4))])
def test_fcn_reads_as_many_levels_as_its_name_says(stride: int, levels: tuple[int, ...]) -> None:
    decoder = FCN(SPEC, stride=stride, channels=4, hidden=8).eval()
    assert SPEC.levels_for(FCN.strides_read({"stride": stride})) == levels
    assert decoder.output_stride == stride
    assert decoder(pyramid()).shape == (2, 4, 64 // stride, 96 // stride)


def test_fcn_adds_the_scores_of_its_levels() -> None:
    torch.manual_seed(0)
    decoder, head = FCN(SPEC, channels=4, hidden=8).eval(), torch.nn.Conv2d(4, 3, 1, bias=False)
    levels = pyramid()

    def doubled(score: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(score, scale_factor=2, mode="bilinear", align_corners=False)

    deep, middle, fine = decoder.context(levels[4]), decoder.scores[1](levels[3]), decoder.scores[0](levels[2])
    scores = doubled(doubled(head(deep)) + head(middle)) + head(fine)
    torch.testing.assert_close(head(decoder(levels)), scores)


def test_the_rounds_of_rspp_share_their_weights_and_read_each_other() -> None:
    torch.manual_seed(0)
    one, three = RSPP(SPEC, channels=16, rounds=1).eval(), RSPP(SPEC, channels=16, rounds=3).eval()
    three.load_state_dict(one.state_dict())
    first = one(pyramid())
    torch.testing.assert_close(three(pyramid()), three.block(three.block(first)))
    assert not torch.allclose(three(pyramid()), first)


def test_what_a_grid_of_one_cell_sees_is_the_whole_image() -> None:
    torch.manual_seed(0)
    decoder = PSPNet(SPEC, channels=4, bins=(1,)).eval()
    *finer, deep = pyramid()
    changed = deep.clone()
    changed[:, :, 0, 0] += 10
    difference = (decoder((*finer, changed)) - decoder((*finer, deep))).abs().amax(1)
    assert (difference[:, -1, -1] > 0).any()


def test_a_single_value_is_normalised_by_running_statistics_and_leaves_them_alone() -> None:
    norm = BatchNorm(2).train()
    norm.running_mean.fill_(1.0)
    norm.running_var.fill_(4.0)
    single = torch.tensor([3.0, 5.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(norm(single).flatten(), torch.tensor([1.0, 2.0]), rtol=1e-4, atol=0)
    assert norm.running_mean.tolist() == [1, 1]
    norm(torch.randn(2, 2, 1, 1))
    assert norm.running_mean.tolist() != [1, 1]


def test_norms_are_replaced_with_what_they_hold() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Sequential(torch.nn.BatchNorm2d(4, eps=0.1)))
    network(torch.randn(5, 3, 4, 4))
    inputs, expected = torch.randn(2, 3, 4, 4), network.state_dict()
    before = network.eval()(inputs)
    steady = with_steady_norms(network).eval()
    assert isinstance(steady[1][0], BatchNorm)
    assert torch.equal(steady(inputs), before)
    assert steady.state_dict().keys() == expected.keys()


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: FCN(SPEC, kernel_size=4), "odd number"),
        (lambda: PSPNet(SPEC, bins=()), "give one or more"),
        (lambda: RSPP(SPEC, channels=20), "multiple of 8"),
        (lambda: RSPP(SPEC, bins=()), "give one or more"),
        (lambda: FPN(SPEC, channels=80), "multiple of 32"),
    ],
)
def test_options_that_cannot_be_are_refused_with_what_to_give(build, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        build()
