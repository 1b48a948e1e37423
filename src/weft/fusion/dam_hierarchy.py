"""Dual-modal attention, `hierarchical`: from tokens to segments, to modalities, to one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.fusion.levels import masked_softmax
from weft.fusion.places import Places
from weft.fusion.running import Running
from weft.types import Memory


class HierarchicalAttention(nn.Module):
    """A summary by attention in three levels: of the tokens of a segment, of a modality's segments, of the modalities.

    A segment is so many steps of a modality, or all of it where it is known at once. At each level a part p weighs in
    proportion to exp(u · tanh(W p + b)), and the mean so weighted stands for the whole one level up. The three levels
    have weights of their own, which all modalities share.

    Args:
        dim: width D of the tokens.
        segment: steps of a segment.
        of_several_tokens: whether any modality has more than one token; else there is nothing to weigh below.
        in_steps: whether any comes in steps; else every modality is one segment.

    Reference: Yang et al., NAACL 2016, N16-1174, section 2.2, with a third level.
    """

    def __init__(self, dim: int, *, segment: int, of_several_tokens: bool, in_steps: bool) -> None:
        super().__init__()
        self.segment = segment
        self.token_score = _score(dim) if of_several_tokens else Alike()
        self.segment_score = _score(dim) if in_steps else Alike()
        self.modality_score = _score(dim)
        self.project = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, places: Places) -> Tensor:
        """(B, D) from the joined tokens (B, N, D)."""
        within, between, there = self._within_and_between(tokens, places)
        return self._top(_modalities(tokens, within, between), there)

    def weights(self, tokens: Tensor, places: Places) -> Tensor:
        """(B, N) float32: how much of the summary is each token; rows sum to 1 where anything is real."""
        within, between, there = self._within_and_between(tokens, places)
        across = self._across(_modalities(tokens, within, between), there)
        return torch.einsum("bm,bms,bmsn->bn", across, between, within)

    def step(self, tokens: Tensor, places: Places, memory: Memory | None) -> tuple[Tensor, Memory]:
        """The summary of a stream up to a step: sums over the segment that goes on and those that are over are carried.

        Args:
            tokens: (B, N, D) of what is known, and of this step.
            places: theirs; all of one step.
            memory: what the last step gave back; None in the first.
        """
        shape = (len(tokens), places.num_modalities, tokens.shape[2])
        nothing = Running.empty(*shape, like=tokens)
        going_on = over = nothing
        steps = torch.zeros((), dtype=torch.int64, device=tokens.device)
        if memory is not None:
            going_on = Running(memory["segment_weight"], memory["segment_mean"])
            over, steps = Running(memory["modality_weight"], memory["modality_mean"]), memory["steps"]
        scores = self.token_score(tokens).squeeze(2)[:, None].expand(-1, shape[1], -1)
        real = places.of_modality & places.mask[:, None]
        now = going_on.and_more(scores, tokens[:, None].expand(-1, shape[1], -1, -1), real)
        whole = over.and_more(self.segment_score(now.mean.to(tokens.dtype)), now.mean[:, :, None], now.any[:, :, None])
        timed = (places.of_modality & ~places.known).any(1).expand(shape[:2])
        steps = steps + 1
        ended = timed & (steps % self.segment == 0)
        carried_segment = now.where(timed & ~ended, nothing)
        carried_modality = whole.where(ended, over)
        return self._top(whole.mean.to(tokens.dtype), whole.any), {
            "segment_weight": carried_segment.weight,
            "segment_mean": carried_segment.mean,
            "modality_weight": carried_modality.weight,
            "modality_mean": carried_modality.mean,
            "steps": steps,
        }

    def _within_and_between(self, tokens: Tensor, places: Places) -> tuple[Tensor, Tensor, Tensor]:
        """Weights of tokens in segments (B, M, S, N), of segments in modalities (B, M, S); (B, M) which are there."""
        num_segments = max(1, -(-places.num_steps // self.segment))
        number = torch.arange(num_segments, device=tokens.device)
        member = places.of_modality[:, None] & (places.step // self.segment == number[:, None])
        real = member & places.mask[:, None, None]
        within = masked_softmax(self.token_score(tokens).squeeze(2)[:, None, None], real, dim=3)
        segments = torch.einsum("bmsn,bnd->bmsd", within.to(tokens.dtype), tokens)
        between = masked_softmax(self.segment_score(segments).squeeze(3), real.any(3), dim=2)
        return within, between, real.flatten(2).any(2)

    def _across(self, modalities: Tensor, there: Tensor) -> Tensor:
        """(B, M) weights of the modalities, (B, M, D), that are there, (B, M) bool."""
        return masked_softmax(self.modality_score(modalities).squeeze(2), there)

    def _top(self, modalities: Tensor, there: Tensor) -> Tensor:
        across = self._across(modalities, there).to(modalities.dtype)
        top: Tensor = self.project(torch.einsum("bm,bmd->bd", across, modalities))
        return top


class Alike(nn.Module):
    """The same score for all."""

    def forward(self, parts: Tensor) -> Tensor:
        """(..., 1) zeros for parts (..., D)."""
        return torch.zeros_like(parts[..., :1])


def _score(dim: int) -> nn.Module:
    # a bias on the scores would change no softmax
    return nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1, bias=False))


def _modalities(tokens: Tensor, within: Tensor, between: Tensor) -> Tensor:
    """(B, M, D) means of the modalities' tokens."""
    weights = torch.einsum("bms,bmsn->bmn", between, within)
    return weights.to(tokens.dtype) @ tokens
