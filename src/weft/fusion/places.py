"""Where the joined tokens of all modalities stand: of which modality each is, and at which step of time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from weft.types import Features


@dataclass(frozen=True)
class Places:
    """The N tokens of all modalities, one modality after the other, each in its own order.

    A step is a frame of a clip or a token of a sequence: step t holds the t-th frame of every clip and the t-th token
    of every sequence. What has no time (a picture, a vector), or is given whole (a sentence about a clip), is known
    before the first step.

    Attributes:
        modality: (N,) its number.
        step: (N,) int64; 0 of what is known.
        known: (N,) bool.
        slot: (N,) int64, the place among the tokens of its modality in its step, or of what is known among all of them.
        mask: (B, N) bool, the tokens that are real.
        num_modalities: M.
        num_steps: how many steps there are; 0 where everything is known.
    """

    modality: Tensor
    step: Tensor
    known: Tensor
    slot: Tensor
    mask: Tensor
    num_modalities: int
    num_steps: int

    @classmethod
    def of(cls, features: Mapping[str, Features], timed: Collection[str]) -> Places:
        """The places of the tokens of some modalities; those in `timed` come in steps."""
        parts: dict[str, list[Tensor]] = {"modality": [], "step": [], "known": [], "slot": [], "mask": []}
        num_steps = 0
        for number, (name, one) in enumerate(features.items()):
            index = torch.arange(one.tokens.shape[1], device=one.tokens.device)
            at_once = len(index) if name not in timed else 1 if one.grid is None else one.grid[1] * one.grid[2]
            num_steps = max(num_steps, len(index) // at_once if name in timed else 0)
            parts["modality"].append(torch.full_like(index, number))
            parts["step"].append(index // at_once)
            parts["known"].append(torch.full_like(index, name not in timed, dtype=torch.bool))
            parts["slot"].append(index % at_once)
            parts["mask"].append(one.mask & one.present[:, None])
        joined = {name: torch.cat(part, dim=-1) for name, part in parts.items()}
        return cls(**joined, num_modalities=len(features), num_steps=num_steps)

    @property
    def of_step(self) -> Tensor:
        """(S, N) bool: the tokens of each step."""
        steps = torch.arange(self.num_steps, device=self.step.device)
        return (self.step == steps[:, None]) & ~self.known

    @property
    def of_modality(self) -> Tensor:
        """(M, N) bool: the tokens of each modality."""
        return self.modality == torch.arange(self.num_modalities, device=self.modality.device)[:, None]

    def within_reach(self, *, causal: bool) -> Tensor:
        """(B, N, N) bool: the real tokens (last axis) that each token may attend to.

        All of them; with `causal` what is known and what is of its own step. What is known sees only the like.
        """
        if not causal:
            return self.mask[:, None].expand(-1, self.mask.shape[1], -1)
        same = (self.step[:, None] == self.step) & ~self.known[:, None]
        return self.mask[:, None] & (self.known | same)
