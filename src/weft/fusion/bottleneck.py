"""Fusion through a bottleneck: modalities keep to themselves and exchange through a few tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.fusion.attention import attended, encoder_layer, learned_tokens, prepended, traced
from weft.fusion.places import Places
from weft.fusion.tokens import Pool, TokenFusion, mean_of_present
from weft.registry import Range, register
from weft.types import FeatureSpec

State = tuple[dict[str, Tensor], Tensor]


@register("fusion", "bottleneck")
class BottleneckFusion(TokenFusion):
    """Each modality has layers of its own; a few bottleneck tokens are in all of them and carry what is exchanged.

    After every layer the bottleneck tokens are the mean of what they became in the modalities that are present, so the
    cost is that of the modalities one by one. What one layer collects the next one reads: two are the least. A class
    token stands before each modality's tokens; the view's is the mean over the modalities that are present.

    Args:
        tokens: number of bottleneck tokens.
        dim: width of the tokens and of the view.
        layers: number of layers.
        heads: of every attention; they divide the width.
        dropout: probability of hiding a number in training, in what attention and hidden layers add.
        pool: what the view's vector is: the class token, or the mean of all tokens. With tasks that read only maps
            nothing trains the class token.

    Reference: Nagrani et al., NeurIPS 2021, arXiv:2107.00135, section 3.3, with every layer a fusion layer: what goes
    before is the encoders.
    """

    def __init__(
        self,
        specs: Mapping[str, FeatureSpec],
        *,
        tokens: Annotated[int, Range(1)] = 4,
        dim: Annotated[int, Range(4)] = 256,
        layers: Annotated[int, Range(2)] = 2,
        heads: Annotated[int, Range(1)] = 8,
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.1,
        pool: Pool = "class",
    ) -> None:
        super().__init__(specs, dim=dim, heads=heads, pool=pool)
        self.class_tokens = nn.ParameterDict({m: learned_tokens(1, dim) for m in specs})
        self.bottleneck = learned_tokens(tokens, dim)
        self.layers = nn.ModuleList(
            nn.ModuleDict({m: encoder_layer(dim, heads=heads, dropout=dropout) for m in specs}) for _ in range(layers)
        )

    def attend(
        self, tokens: dict[str, Tensor], masks: dict[str, Tensor], places: Places
    ) -> tuple[dict[str, Tensor], Tensor]:
        """See `TokenFusion.attend`."""
        last, _ = self._states(tokens, masks)[-1]
        present = [masks[m].any(1) for m in self.modalities]
        class_token = mean_of_present([last[m][:, 0] for m in self.modalities], present)
        return {m: last[m][:, 1:] for m in self.modalities}, class_token

    def trace(self, tokens: dict[str, Tensor], masks: dict[str, Tensor], places: Places) -> dict[str, Tensor]:
        """See `TokenFusion.trace`."""
        num_shared = len(self.bottleneck)
        relevance = {m: self.traced_from(masks[m]) for m in self.modalities}
        present = {m: masks[m].any(1, keepdim=True).float() for m in self.modalities}
        num_present = torch.stack(list(present.values())).sum(0).clamp(min=1)  # clamp: nothing is present
        shared = num_present.new_zeros(len(num_present), num_shared)
        for layer, (state, bottleneck) in zip(reversed(self.layers), self._states(tokens, masks)[-2::-1], strict=True):
            collected = torch.zeros_like(shared)
            for m in self.modalities:
                block = cast(nn.TransformerEncoderLayer, cast(nn.ModuleDict, layer)[m])
                normalised = block.norm1(torch.cat([state[m], bottleneck], dim=1))
                weights = attended(block.self_attn, normalised, normalised, self._real(masks[m]))[1]
                after = torch.cat([relevance[m], shared * present[m] / num_present], dim=1)
                kept, handed = traced(after, weights)
                relevance[m], part = (kept + handed).tensor_split([-num_shared], dim=1)
                collected = collected + part
            shared = collected
        return {m: torch.where(masks[m], relevance[m][:, 1:], 0) for m in self.modalities}

    def _states(self, tokens: dict[str, Tensor], masks: dict[str, Tensor]) -> list[State]:
        """{modality: (B, 1 + N_m, D)} and the bottleneck (B, S, D), before the first layer and after each."""
        own = {m: prepended(self.class_tokens[m], tokens[m]) for m in self.modalities}
        like = own[self.modalities[0]]
        states = [(own, self.bottleneck.to(like.dtype).expand(len(like), -1, -1))]
        present = [masks[m].any(1) for m in self.modalities]
        for layer in self.layers:
            own, bottleneck = states[-1]
            blocks = cast(nn.ModuleDict, layer)
            joined = {
                m: blocks[m](torch.cat([own[m], bottleneck], dim=1), src_key_padding_mask=~self._real(masks[m]))
                for m in self.modalities
            }
            num_shared = bottleneck.shape[1]
            shared = mean_of_present([joined[m][:, -num_shared:] for m in self.modalities], present)
            states.append(({m: joined[m][:, :-num_shared] for m in self.modalities}, shared))
        return states

    def _real(self, mask: Tensor) -> Tensor:
        """(B, 1 + N + S) bool: a class token and the bottleneck are always there."""
        return F.pad(mask, (1, len(self.bottleneck)), value=True)
