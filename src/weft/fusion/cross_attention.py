"""Fusion by attention across modalities: each asks the others, both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.fusion.attention import attended, decoder_layer, learned_tokens, prepended, traced
from weft.fusion.places import Places
from weft.fusion.tokens import Pool, TokenFusion, mean_of_present
from weft.registry import Range, register
from weft.types import FeatureSpec


@register("fusion", "cross_attention")
class CrossAttentionFusion(TokenFusion):
    """Every modality's tokens attend to their own, then to those of all the others, each modality with its own weights.

    A class token stands before each modality's tokens; the view's is the mean over the modalities that are present.
    Beside the others' tokens there is a learned one that stands for nobody, for a modality that is alone.

    Args:
        dim: width of the tokens and of the view.
        layers: number of layers.
        heads: of every attention; they divide the width.
        dropout: probability of hiding a number in training, in what attention and hidden layers add.
        pool: what the view's vector is: the class token, or the mean of all tokens. With tasks that read only maps
            nothing trains the class token.

    Reference: as between two modalities in Lu et al., ViLBERT, NeurIPS 2019, arXiv:1908.02265, and Tsai et al., ACL
    2019, arXiv:1906.00295; the order within a layer is that of the decoder of Vaswani et al., arXiv:1706.03762.
    """

    def __init__(
        self,
        specs: Mapping[str, FeatureSpec],
        *,
        dim: Annotated[int, Range(4)] = 256,
        layers: Annotated[int, Range(1)] = 2,
        heads: Annotated[int, Range(1)] = 8,
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.1,
        pool: Pool = "class",
    ) -> None:
        super().__init__(specs, dim=dim, heads=heads, pool=pool)
        self.class_tokens = nn.ParameterDict({m: learned_tokens(1, dim) for m in specs})
        self.layers = nn.ModuleList(
            CrossLayer(self.modalities, dim, heads=heads, dropout=dropout) for _ in range(layers)
        )

    def attend(
        self, tokens: dict[str, Tensor], masks: dict[str, Tensor], places: Places
    ) -> tuple[dict[str, Tensor], Tensor]:
        """See `TokenFusion.attend`."""
        last = self._states(tokens, masks)[-1]
        present = [masks[m].any(1) for m in self.modalities]
        class_token = mean_of_present([last[m][:, 0] for m in self.modalities], present)
        return {m: last[m][:, 1:] for m in self.modalities}, class_token

    def trace(self, tokens: dict[str, Tensor], masks: dict[str, Tensor], places: Places) -> dict[str, Tensor]:
        """See `TokenFusion.trace`."""
        relevance = {m: self.traced_from(masks[m]) for m in self.modalities}
        layers = cast(Sequence[CrossLayer], self.layers)
        for layer, state in zip(reversed(layers), self._states(tokens, masks)[-2::-1], strict=True):
            relevance = layer.trace(relevance, state, masks)
        return {m: torch.where(masks[m], relevance[m][:, 1:], 0) for m in self.modalities}

    def _states(self, tokens: dict[str, Tensor], masks: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """{modality: (B, 1 + N_m, D)} before the first layer and after each."""
        states = [{m: prepended(self.class_tokens[m], tokens[m]) for m in self.modalities}]
        for layer in self.layers:
            states.append(layer(states[-1], masks))
        return states


class CrossLayer(nn.Module):
    """One layer of every modality.

    States are {modality: (B, 1 + N_m, D)}, a class token and the modality's own; masks {modality: (B, N_m)} are of the
    latter.
    """

    def __init__(self, modalities: tuple[str, ...], dim: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        self.modalities = modalities
        self.nobody = learned_tokens(1, dim)
        self.norm = nn.LayerNorm(dim)
        self.layers = nn.ModuleDict({m: decoder_layer(dim, heads=heads, dropout=dropout) for m in modalities})

    def forward(self, state: dict[str, Tensor], masks: dict[str, Tensor]) -> dict[str, Tensor]:
        """The next state."""
        changed = {}
        for m in self.modalities:
            others, real = self._others(m, state, masks)
            own_padding, padding = ~_with_class(masks[m]), ~real
            changed[m] = self.layers[m](
                state[m], others, tgt_key_padding_mask=own_padding, memory_key_padding_mask=padding
            )
        return changed

    def trace(
        self, relevance: dict[str, Tensor], state: dict[str, Tensor], masks: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """{modality: (B, 1 + N_m)} relevance of the tokens of a state, from that of the next state's."""
        before = {m: torch.zeros_like(relevance[m]) for m in self.modalities}
        for m in self.modalities:
            layer = cast(nn.TransformerDecoderLayer, self.layers[m])
            normalised = layer.norm1(state[m])
            answer, own_weights = attended(layer.self_attn, normalised, normalised, _with_class(masks[m]))
            others, real = self._others(m, state, masks)
            weights = attended(layer.multihead_attn, layer.norm2(state[m] + answer), others, real)[1]
            kept, handed = traced(relevance[m], weights)
            kept, own = traced(kept, own_weights)
            before[m] = before[m] + kept + own
            names = [other for other in self.modalities if other != m]
            parts = handed[:, 1:].split([state[other].shape[1] for other in names], dim=1) if names else ()
            before |= {other: before[other] + part for other, part in zip(names, parts, strict=True)}
        return before

    def _others(self, own: str, state: dict[str, Tensor], masks: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Whom a modality can ask: nobody, and the others' class tokens and tokens, (B, K, D); (B, K) who is there."""
        names = [m for m in self.modalities if m != own]
        like = state[own]
        nobody = self.nobody.to(like.dtype).expand(len(like), 1, -1)
        real = [torch.cat([masks[m].any(1, keepdim=True), masks[m]], dim=1) for m in names]
        anyway = masks[own].new_ones(len(like), 1)
        return self.norm(torch.cat([nobody, *(state[m] for m in names)], dim=1)), torch.cat([anyway, *real], dim=1)


def _with_class(mask: Tensor) -> Tensor:
    """(B, 1 + N) from (B, N): a modality's own class token is always there for it."""
    return F.pad(mask, (1, 0), value=True)
