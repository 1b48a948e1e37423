"""Logarithms of probabilities that stay finite, whatever float32 has rounded to 0 or 1."""

from __future__ import annotations

import torch
from torch import Tensor


def log_probabilities(probabilities: Tensor) -> Tensor:
    """log p; where it has vanished, that of the smallest number: all but ruled out, and nothing infinite."""
    return probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()


def log_odds(probabilities: Tensor) -> Tensor:
    """log p / (1 − p), within what floating point can tell from 0 and 1."""
    return probabilities.logit(eps=torch.finfo(probabilities.dtype).eps)
