"""Corruptions do what their names say, to the raw values."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as T

from weft.engine.corruptions import SEVERITIES, corrupt


@pytest.mark.parametrize("kind", SEVERITIES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_type_and_shape_stay_and_the_same_seed_gives_the_same(kind: str, dtype: torch.dtype) -> None:
    picture = (torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(0)) * 200).to(dtype)
    first, second = (corrupt(picture, kind, 2, unknown=None, seed=5) for _ in range(2))
    assert first.dtype == dtype
    assert first.shape == picture.shape
    assert torch.equal(first, second)
    assert not torch.equal(first, picture)


@pytest.mark.parametrize("kind", SEVERITIES)
def test_harder_is_further_from_the_picture(kind: str) -> None:
    picture = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 100
    distances = [
        float((corrupt(picture, kind, severity, unknown=None, seed=1) - picture).abs().mean()) for severity in (1, 2, 3)
    ]
    assert distances[0] < distances[2]


def test_unknown_pixels_stay_unknown_under_noise_and_blur() -> None:
    depth = torch.full((1, 1, 16, 16), 3.0)
    depth[..., :4] = 0
    for kind in ("noise", "blur"):
        assert torch.equal(corrupt(depth, kind, 3, unknown=0.0, seed=0)[..., :4], depth[..., :4])


def test_a_lost_pixel_becomes_unknown() -> None:
    depth = torch.full((1, 1, 100, 100), 3.0)
    lost = corrupt(depth, "pixel_dropout", 2, unknown=0.0, seed=0)
    assert float((lost == 0).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert set(lost.unique().tolist()) == {0.0, 3.0}


def test_a_shift_moves_right_by_its_share() -> None:
    row = torch.arange(50.0).expand(1, 1, 4, 50)
    shifted = corrupt(row, "shift", 2, unknown=None, seed=0)  # 5 % of 50 is 2.5, to the nearest even: 2 pixels
    assert shifted[0, 0, 0, :5].tolist() == [0, 0, 0, 1, 2]


@pytest.mark.parametrize("size", [(48, 64), (9, 7), (1, 5)])
def test_a_blur_is_the_gaussian_one_of_torchvision(size: tuple[int, int]) -> None:
    picture = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    shorter = min(size)
    for severity, strength in enumerate(SEVERITIES["blur"], start=1):
        reach = min(int(3 * strength * shorter), (shorter - 1) // 2)
        sides, sigmas = [2 * reach + 1] * 2, [strength * shorter] * 2
        expected = T.gaussian_blur(picture, sides, sigmas)
        torch.testing.assert_close(
            corrupt(picture, "blur", severity, unknown=None, seed=0), expected, rtol=0, atol=1e-6
        )
