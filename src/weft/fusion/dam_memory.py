"""Dual-modal attention, `short_memory` and `long_memory`: the last steps themselves, and what is left of older ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.fusion.attention import MaskedAttention, learned_tokens, prepended
from weft.fusion.dam_part import Part
from weft.fusion.levels import masked_softmax
from weft.fusion.places import Places
from weft.fusion.running import Running
from weft.types import Memory


class ShortMemory(Part):
    """Every token attends to the tokens of the last steps, its own step among them; what is known to what is known.

    Args:
        dim: width D of the tokens.
        heads: of the attention.
        window: k, how many steps are the last ones: those after t - k up to t.
    """

    def __init__(self, dim: int, *, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attention = MaskedAttention(dim, heads=heads)

    def forward(self, tokens: Tensor, places: Places) -> Tensor:
        """See `Part.forward`."""
        answer: Tensor = self.attention(tokens, tokens, self._recent(places))
        return answer

    def weights(self, tokens: Tensor, places: Places) -> Tensor:
        """See `Part.weights`."""
        return self.attention.weights(tokens, tokens, self._recent(places))

    def step(self, tokens: Tensor, places: Places, memory: Memory | None) -> tuple[Tensor, Memory]:
        """See `Part.step`: the tokens of the last k - 1 steps are carried on, and how many steps ago they were."""
        memory = memory or {"tokens": tokens[:, :0], "mask": places.mask[:, :0], "age": places.step[:0]}
        old = memory["mask"][:, None] & ~places.known[:, None]
        allowed = torch.cat([old, self._recent(places)], dim=2)
        answer = self.attention(tokens, torch.cat([memory["tokens"], tokens], dim=1), allowed)
        timed = ~places.known
        age = torch.cat([memory["age"], torch.zeros_like(places.step[timed])]) + 1
        kept = age < self.window
        carried = {
            "tokens": torch.cat([memory["tokens"], tokens[:, timed]], dim=1)[:, kept],
            "mask": torch.cat([memory["mask"], places.mask[:, timed]], dim=1)[:, kept],
            "age": age[kept],
        }
        return answer, carried

    def _recent(self, places: Places) -> Tensor:
        """(B, N, N) bool: the real tokens that each may look at."""
        ago = places.step[:, None] - places.step
        recent = (ago >= 0) & (ago < self.window) & (places.known[:, None] == places.known)
        return places.mask[:, None] & recent


class LongMemory(Part):
    """Every token attends to a bank: learned slots, and a `Record` of all steps older than the short memory's.

    What is known before the first step has the slots alone.

    Args:
        dim: width D of the tokens.
        heads: of the attention.
        window: k, the steps that are not yet old.
        slots: Z, number of learned slots.
        records: R, entries of the record; 0 where nothing comes in steps.
    """

    def __init__(self, dim: int, *, heads: int, window: int, slots: int, records: int) -> None:
        super().__init__()
        self.slots = learned_tokens(slots, dim)
        self.record = Record(dim, entries=records, window=window) if records else None
        self.attention = MaskedAttention(dim, heads=heads)

    def forward(self, tokens: Tensor, places: Places) -> Tensor:
        """See `Part.forward`."""
        answer: Tensor = self.attention(tokens, *self._bank(tokens, places))
        return answer

    def weights(self, tokens: Tensor, places: Places) -> Tensor:
        """See `Part.weights`: through the record to the tokens of older steps; what went to the slots is lacking."""
        if self.record is None:
            return torch.zeros_like(places.mask[:, :, None] & places.mask[:, None], dtype=torch.float32)
        at_records = self.attention.weights(tokens, *self._bank(tokens, places))[:, :, len(self.slots) :]
        of_records = self.record.weights(*_summaries(tokens, places))
        at_steps = at_records @ of_records.flatten(1, 2)  # (B, N, S)
        of_step = (places.of_step & places.mask[:, None]).float()
        return at_steps @ (of_step / of_step.sum(2, keepdim=True).clamp(min=1))  # clamp: a step without anything real

    def step(self, tokens: Tensor, places: Places, memory: Memory | None) -> tuple[Tensor, Memory]:
        """See `Part.step`: what the record carries on."""
        if self.record is None:
            return self(tokens, places), {}
        entries, there, carried = self.record.step(*_summaries(tokens, places), memory)
        there = there[:, None] & ~places.known[:, None]
        return self.attention(tokens, *self._with_slots(entries, there, tokens)), carried

    def _bank(self, tokens: Tensor, places: Places) -> tuple[Tensor, Tensor]:
        """(B, Z + S R, D) slots and the record as it is at each of S steps; (B, N, Z + S R) who may look at what."""
        if self.record is None:
            nothing = tokens[:, :0]
            return self._with_slots(nothing, places.mask[:, :, None][:, :, :0], tokens)
        entries, there = self.record(*_summaries(tokens, places))
        own = places.of_step.T[:, :, None] & there[:, None]  # (B, N, S, R)
        return self._with_slots(entries.flatten(1, 2), own.flatten(2), tokens)

    def _with_slots(self, entries: Tensor, there: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The bank and who may look at what: the slots all."""
        return prepended(self.slots, entries.to(tokens.dtype)), F.pad(there, (len(self.slots), 0), value=True)


class Record(nn.Module):
    """What is left of old steps, in a few vectors.

    A step s is told by the mean r_s of its real tokens. For a token of step t the record has R entries,

        rho_j(t) = sum_s w_js V r_s,   w_js = exp(u_j · r_s) / sum_s' exp(u_j · r_s'),   over the steps s <= t - k,

    each gathered by a learned score u_j of its own: what matters is kept for as long as nothing matters more. A stream
    carries the sums, whose size is fixed, and the k steps that are not yet old.

    Args:
        dim: width D of the tokens.
        entries: R.
        window: k, the steps that are not yet old.

    Reference: a compressed memory of what leaves the window is that of Rae et al., ICLR 2020, arXiv:1911.05507; here
    the compression is attention by learned queries, as in Lee et al., ICML 2019, arXiv:1810.00825, section 3.2.
    """

    def __init__(self, dim: int, *, entries: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.score = nn.Linear(dim, entries, bias=False)  # a constant on all steps would change no softmax
        self.value = nn.Linear(dim, dim)

    def forward(self, steps: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """The entries as they are at each step, (B, S, R, D), and (B, S, R) bool whether there are any.

        Args:
            steps: (B, S, D), what tells each step.
            there: (B, S) bool, those that hold anything real.
        """
        weights = self.weights(steps, there)
        entries = torch.einsum("bsro,bod->bsrd", weights, self.value(steps).float())
        return entries, weights.sum(3) > 0

    def weights(self, steps: Tensor, there: Tensor) -> Tensor:
        """(B, S, R, S) float32: how much of each entry, as it is at each step, is each older step."""
        step = torch.arange(steps.shape[1], device=steps.device)
        old = (step[:, None] - step >= self.window) & there[:, None]  # (B, S, S)
        scores = self.score(steps).transpose(1, 2)[:, None].expand(-1, len(step), -1, -1)
        return masked_softmax(scores, old[:, :, None], dim=3)

    def step(self, summary: Tensor, there: Tensor, memory: Memory | None) -> tuple[Tensor, Tensor, Memory]:
        """The entries at one step, (B, R, D), and (B, R) bool whether there are any; and what is carried on.

        Args:
            summary: (B, 1, D), what tells the step.
            there: (B, 1) bool, whether it holds anything real.
            memory: what the last step gave back; None in the first.
        """
        if memory is None:
            entries = Running.empty(len(summary), self.score.out_features, summary.shape[2], like=summary)
            waiting, real = summary[:, :0], there[:, :0]
        else:
            entries, waiting, real = Running(memory["weight"], memory["mean"]), memory["waiting"], memory["real"]
        if waiting.shape[1] == self.window:
            scores = self.score(waiting[:, :1]).transpose(1, 2)
            values = self.value(waiting[:, :1])[:, None].expand(-1, scores.shape[1], -1, -1)
            entries = entries.and_more(scores, values, real[:, None, :1].expand_as(scores))
            waiting, real = waiting[:, 1:], real[:, 1:]
        waiting, real = torch.cat([waiting, summary], dim=1), torch.cat([real, there], dim=1)
        carried = {"weight": entries.weight, "mean": entries.mean, "waiting": waiting, "real": real}
        return entries.mean, entries.any, carried


def _summaries(tokens: Tensor, places: Places) -> tuple[Tensor, Tensor]:
    """The mean of the real tokens of each step, (B, S, D), and (B, S) bool whether there are any."""
    real = places.of_step & places.mask[:, None]
    count = real.sum(2, keepdim=True)
    weights = real / count.clamp(min=1)  # clamp: a step without anything real
    return weights.to(tokens.dtype) @ tokens, count.squeeze(2) > 0
