"""What several decoders are made of: convolutions whose BatchNorm also trains on a single value, and resizing."""

from __future__ import annotations

from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class BatchNorm(nn.BatchNorm2d):
    """BatchNorm that also trains where a channel has a single value: one row of a map of one pixel.

    A single value has no variance, so it is normalised by the running statistics, which stay as they are. Batches of
    one come about when one row of a batch has the view that is decoded; maps of one pixel where a decoder looks at the
    image as a whole, and in images no larger than the deepest stride.
    """

    def forward(self, level: Tensor) -> Tensor:
        """(B, C, h, w) from (B, C, h, w)."""
        if self.training and level.shape[0] * level.shape[2] * level.shape[3] == 1:
            return F.batch_norm(level, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(level)


def with_steady_norms(module: M) -> M:
    """The module with every BatchNorm2d in it replaced by `BatchNorm`; names and values of its tensors stay."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                steady = BatchNorm(child.num_features, eps=child.eps, momentum=child.momentum)
                steady.load_state_dict(child.state_dict())
                setattr(parent, name, steady)
    return module


def convolution(in_channels: int, out_channels: int, *, kernel_size: int = 3) -> nn.Sequential:
    """A convolution that keeps the size (odd kernels), BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        BatchNorm(out_channels),
        nn.ReLU(inplace=True),
    )


def resized(level: Tensor, size: tuple[int, ...]) -> Tensor:
    """(B, C, *size) from (B, C, h, w), bilinearly; itself where it is so large already."""
    if level.shape[-2:] == size:
        return level
    return F.interpolate(level, size, mode="bilinear", align_corners=False)
