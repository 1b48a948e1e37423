"""How a modality is spoilt to see what the answers owe to it: noise, blur, lost pixels, a shift."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

#: Severities 1 to 3 of each, in the units of its function.
SEVERITIES: dict[str, tuple[float, float, float]] = {
    "noise": (0.1, 0.25, 0.5),
    "blur": (0.01, 0.02, 0.04),
    "pixel_dropout": (0.1, 0.3, 0.6),
    "shift": (0.02, 0.05, 0.1),
}


def corrupt(inputs: Tensor, kind: str, severity: int, *, unknown: float | None, seed: int) -> Tensor:
    """A corrupted copy of raw image-like inputs.

    Args:
        inputs: (P, C, H, W) as collated.
        kind: one of `SEVERITIES`.
        severity: 1, 2 or 3.
        unknown: the value that means "not known", which stays and which lost pixels take; or None.
        seed: of what is random.
    """
    generator = torch.Generator(inputs.device).manual_seed(seed)
    values = inputs.float()
    spoilt = _KINDS[kind](values, SEVERITIES[kind][severity - 1], unknown, generator)
    if unknown is not None and kind in ("noise", "blur"):
        spoilt = torch.where(values == unknown, values, spoilt)
    if not inputs.dtype.is_floating_point:
        limits = torch.iinfo(inputs.dtype)
        spoilt = spoilt.round().clamp(limits.min, limits.max)
    return spoilt.to(inputs.dtype)


def _noise(values: Tensor, strength: float, unknown: float | None, generator: torch.Generator) -> Tensor:
    """Gaussian noise of `strength` times the spread of each row's known values."""
    spread = _spread(values, unknown)
    return values + strength * spread * torch.randn(values.shape, generator=generator, device=values.device)


def _blur(values: Tensor, strength: float, unknown: float | None, generator: torch.Generator) -> Tensor:
    """A Gaussian blur whose sigma is `strength` times the shorter side, cut off at 3 sigma; edges are mirrored."""
    shorter = min(values.shape[-2:])
    sigma = strength * shorter
    reach = min(int(3 * sigma), (shorter - 1) // 2)  # a kernel cannot be larger than the picture
    places = torch.arange(-reach, reach + 1, device=values.device)
    kernel = torch.exp(-0.5 * (places / sigma) ** 2)
    # one axis after the other: 2 k numbers to a pixel instead of k²
    num_channels = values.shape[1]
    across = (kernel / kernel.sum()).expand(num_channels, 1, 1, -1)
    mirrored = F.pad(values, (reach, reach, reach, reach), mode="reflect")
    blurred = F.conv2d(mirrored, across, groups=num_channels)
    return F.conv2d(blurred, across.transpose(2, 3), groups=num_channels)


def _pixel_dropout(values: Tensor, share: float, unknown: float | None, generator: torch.Generator) -> Tensor:
    """A share of the pixels set to unknown, or to 0."""
    lost = torch.rand((len(values), 1, *values.shape[-2:]), generator=generator, device=values.device) < share
    return torch.where(lost, 0.0 if unknown is None else unknown, values)


def _shift(values: Tensor, share: float, unknown: float | None, generator: torch.Generator) -> Tensor:
    """Moved right by a share of the width, as a sensor out of register is; the left edge is repeated."""
    pixels = max(1, round(share * values.shape[-1]))
    return torch.cat([values[..., :1].expand(*values.shape[:-1], pixels), values[..., :-pixels]], dim=-1)


def _spread(values: Tensor, unknown: float | None) -> Tensor:
    known = torch.ones_like(values, dtype=torch.bool) if unknown is None else values != unknown
    count = known.sum((1, 2, 3), keepdim=True).clamp(min=1)  # clamp: a row without a known pixel
    mean = torch.where(known, values, 0).sum((1, 2, 3), keepdim=True) / count
    return (torch.where(known, values - mean, 0).square().sum((1, 2, 3), keepdim=True) / count).sqrt()


_KINDS: dict[str, Callable[[Tensor, float, float | None, torch.Generator], Tensor]] = {
    "noise": _noise,
    "blur": _blur,
    "pixel_dropout": _pixel_dropout,
    "shift": _shift,
}
