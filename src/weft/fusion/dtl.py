"""Dual-task learning: exchange of features, a recurrent network over the joined tokens, and dual-modal attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from weft.fusion.dam import PartName, below
from weft.fusion.dam_hierarchy import HierarchicalAttention
from weft.fusion.dtl_block import BlockSizes, DualModalBlock
from weft.fusion.places import Places
from weft.fusion.recurrence import Cell
from weft.fusion.tokens import TokenFusion
from weft.registry import Range, register
from weft.types import Features, FeatureSpec, Memory

Count = Annotated[int, Range(1)]


@register("fusion", "dtl")
class DtlFusion(TokenFusion):
    """Dual-task learning with dual-modal attention, for two or more modalities (docs/dtl.md has the formulas).

    Tokens of different modalities that are alike exchange a part of themselves; a recurrent network reads all of them
    in order of time; then come the parts of dual-modal attention, each with a switch of its own. Frames of clips and
    tokens of sequences are steps of time; pictures and vectors are known before the first.

    Args:
        dim: width of the tokens and of the view.
        heads: of every attention; they divide the width.
        exchange: mix tokens of two modalities that are alike.
        temperature: of the exchange; the smaller, the more the single most alike token counts.
        rnn: the recurrent network over the joined tokens.
        inter: attention between the modalities, both ways.
        composition: dot-product, additive, location-based and global attention, mixed by a gate.
        hierarchical: a summary of tokens, segments and modalities, added to the view's vector.
        short_memory: attention to the last steps.
        long_memory: attention to learned slots and to a record of older steps.
        window: how many steps the short memory has; older ones are the long memory's.
        slots: learned slots of the long memory.
        records: vectors that hold what is left of older steps.
        segment: steps of a segment of the hierarchical attention.
        causal: let nothing see what comes later, so that a stream gives what the whole clip gives. The recurrent
            network reads forwards only, the exchange and attention between modalities stay within a step and what is
            known, and tokens are not told the number of their step.
        known: modalities of sequences that are given whole before the first step, such as a sentence about a clip.
        pool: what the view's vector is made of: the mean of all real tokens, or of those of the last step.
        tokens: where no modality has maps, what the view's tokens are: all of all modalities, or one for each step, the
            mean of what it holds, for tasks that answer every frame.
        dropout: probability of hiding a number in training, in what each part adds.

    Reference: after the outline of an article (docs/dtl.md); what each part is built after is said in its class.
    """

    block: DualModalBlock

    def __init__(
        self,
        specs: Mapping[str, FeatureSpec],
        *,
        dim: Annotated[int, Range(4)] = 256,
        heads: Count = 8,
        exchange: bool = True,
        temperature: Annotated[float, Range(0, open_low=True)] = 0.1,
        rnn: Literal["gru", "lstm", "none"] = "gru",
        inter: bool = True,
        composition: bool = True,
        hierarchical: bool = True,
        short_memory: bool = True,
        long_memory: bool = True,
        window: Count = 4,
        slots: Count = 4,
        records: Count = 4,
        segment: Count = 4,
        causal: bool = False,
        known: tuple[str, ...] = (),
        pool: Literal["mean", "last"] = "mean",
        tokens: Literal["all", "steps"] = "all",
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.1,
    ) -> None:
        super().__init__(specs, dim=dim, heads=heads, pool="class", known=known, told_time=not causal)
        if tokens == "steps" and (not self.timed or self.specs["fused"].has_maps):
            lack = "a view with maps has its frames as it is" if self.timed else "none of the modalities comes in steps"
            raise ValueError(f"tokens is steps, and {lack}; leave it out")
        self._by_step = tokens == "steps"
        cells: dict[str, Cell | None] = {"gru": "gru", "lstm": "lstm", "none": None}
        switches: dict[PartName, bool] = {
            "inter": inter,
            "composition": composition,
            "short_memory": short_memory,
            "long_memory": long_memory,
        }
        self.causal = causal
        self.block = DualModalBlock(
            dim,
            num_modalities=len(specs),
            exchange=exchange,
            cell=cells[rnn],
            parts=[name for name, wanted in switches.items() if wanted],
            sizes=BlockSizes(heads, temperature, window, slots, records, dropout),
            in_steps=bool(self.timed),
            causal=causal,
        )
        several = any(spec.layout != "vector" for spec in specs.values())
        self.summary = Summary(
            dim,
            last=pool == "last",
            hierarchy=HierarchicalAttention(dim, segment=segment, of_several_tokens=several, in_steps=bool(self.timed))
            if hierarchical
            else None,
        )

    def attend(
        self, tokens: dict[str, Tensor], masks: dict[str, Tensor], places: Places
    ) -> tuple[dict[str, Tensor], Tensor]:
        """See `TokenFusion.attend`: the tokens have attended to each other in the block."""
        return tokens, self.summary(self.joined(tokens), places)

    def trace(self, tokens: dict[str, Tensor], masks: dict[str, Tensor], places: Places) -> dict[str, Tensor]:
        """See `TokenFusion.trace`."""
        weights = self.summary.weights(self.joined(tokens), places)
        return self.split(weights, tokens)

    @property
    def cannot_stream(self) -> str | None:
        """See `Fusion.cannot_stream`."""
        if not self.causal:
            return "this fusion sees later frames; train it with `causal: true`"
        if not self.timed:
            return "none of its modalities comes in steps; give one whose encoder gives frames"
        return None

    def step(self, features: dict[str, Features], memory: Memory | None) -> tuple[dict[str, Features], Memory]:
        """See `Fusion.step`."""
        if self.cannot_stream is not None:
            raise ValueError(self.cannot_stream)
        embedded, _, places = self.embedded(features)
        if places.num_steps != 1:
            raise ValueError(f"a step is one frame, and {places.num_steps} were given; give them one after the other")
        joined = self.joined(embedded)
        tokens, after_block = self.block.step(joined, places, None if memory is None else below(memory, "block"))
        vector, after = self.summary.step(tokens, places, None if memory is None else below(memory, "summary"))
        carried = {f"block/{key}": value for key, value in after_block.items()}
        carried |= {f"summary/{key}": value for key, value in after.items()}
        return {"fused": self.view(self.split(tokens, embedded), vector, places, features)}, carried

    def sequence(self, tokens: Tensor, places: Places) -> tuple[Tensor, Tensor]:
        """See `TokenFusion.sequence`; a row in which nothing comes in steps has what is known in the first alone."""
        if not self._by_step:
            return super().sequence(tokens, places)
        held = places.of_step & places.mask[:, None]  # (B, S, N)
        first = torch.arange(places.num_steps, device=tokens.device)[:, None] == 0
        alone = first & places.known & places.mask[:, None]
        held = torch.where(held.flatten(1).any(1)[:, None, None], held, alone)
        count = held.sum(2, keepdim=True)
        return (held / count.clamp(min=1)).to(tokens.dtype) @ tokens, count.squeeze(2) > 0  # clamp: an empty step

    def seen_from(self, tokens: Tensor, vector: Tensor, places: Places, num_frames: int) -> tuple[Tensor, Tensor]:
        """See `TokenFusion.seen_from`: with `causal`, of each frame what is known and what is of its step."""
        if not self.causal:
            return super().seen_from(tokens, vector, places, num_frames)
        step = torch.arange(num_frames, device=tokens.device)[:, None]
        now = places.mask[:, None] & (places.known | (places.step == step))  # (B, T, N)
        weights = now / now.sum(2, keepdim=True).clamp(min=1)  # clamp: a frame without anything real
        mean = weights.to(tokens.dtype) @ tokens
        keys = torch.cat([mean[:, :, None], tokens[:, None].expand(-1, num_frames, -1, -1)], dim=2)
        real = torch.cat([torch.ones_like(now[:, :, :1]), now], dim=2)
        return keys.flatten(0, 1), real.flatten(0, 1)


class Summary(nn.Module):
    """The vector of a view: the mean of its tokens, to which hierarchical attention adds what it found.

    Args:
        dim: width D of the tokens.
        last: of those of the last step with anything real alone, or where nothing came in steps of what is known.
        hierarchy: the attention, if any.
    """

    def __init__(self, dim: int, *, last: bool, hierarchy: HierarchicalAttention | None) -> None:
        super().__init__()
        self.last = last
        self.hierarchy = hierarchy
        self.norm = None if hierarchy is None else nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, places: Places) -> Tensor:
        """(B, D) from the joined tokens (B, N, D)."""
        mean = (self._mean_weights(places)[:, None].to(tokens.dtype) @ tokens)[:, 0]
        if self.hierarchy is None or self.norm is None:
            return mean
        top: Tensor = self.hierarchy(self.norm(tokens), places)
        return mean + top

    def weights(self, tokens: Tensor, places: Places) -> Tensor:
        """(B, N) float32: how much of the vector is each token, half by the mean and half by hierarchical attention."""
        mean = self._mean_weights(places)
        if self.hierarchy is None or self.norm is None:
            return mean
        return (mean + self.hierarchy.weights(self.norm(tokens), places)) / 2

    def step(self, tokens: Tensor, places: Places, memory: Memory | None) -> tuple[Tensor, Memory]:
        """The vector of a stream up to a step; see `Part.step`. Sums and counts are carried, or the last mean."""
        timed = places.mask & ~places.known
        total, count = torch.where(timed[:, :, None], tokens, 0).sum(1).float(), timed.sum(1, keepdim=True).float()
        if memory is not None:
            again = self.last & (count > 0)
            total = torch.where(again, total, memory["total"] + total)
            count = torch.where(again, count, memory["count"] + count)
        carried: dict[str, Tensor] = {"total": total, "count": count}
        at_hand = places.mask & places.known & ((count == 0) if self.last else torch.ones_like(count > 0))
        known = torch.where(at_hand[:, :, None], tokens, 0).sum(1).float()
        number = (count + at_hand.sum(1, keepdim=True)).clamp(min=1)  # clamp: a row without anything real
        mean = ((total + known) / number).to(tokens.dtype)
        if self.hierarchy is None or self.norm is None:
            return mean, carried
        before = None if memory is None else below(memory, "hierarchy")
        top, after = self.hierarchy.step(self.norm(tokens), places, before)
        return mean + top, carried | {f"hierarchy/{key}": value for key, value in after.items()}

    def _mean_weights(self, places: Places) -> Tensor:
        """(B, N) float32: of the plain mean."""
        counted = places.mask
        if self.last:
            when = torch.where(places.known, -1, places.step).expand_as(counted)
            latest = torch.where(counted, when, -1).max(1, keepdim=True).values
            counted = counted & (when == latest)
        return counted / counted.sum(1, keepdim=True).clamp(min=1)  # clamp: a row without anything real
