"""Fusion by a Transformer encoder over the tokens of all modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.fusion.attention import attended, encoder_layer, learned_tokens, prepended, traced
from weft.fusion.dam import PartName
from weft.fusion.dtl_block import BlockSizes, DualModalBlock
from weft.fusion.places import Places
from weft.fusion.tokens import Pool, TokenFusion
from weft.registry import Range, register
from weft.types import FeatureSpec


@register("fusion", "transformer")
class TransformerFusion(TokenFusion):
    """A Transformer encoder in which every token of every modality attends to all of them.

    It costs the square of the number of all tokens. Layers normalise first; a class token stands before the others.

    Args:
        dim: width of the tokens and of the view.
        layers: number of layers.
        heads: of every attention; they divide the width.
        dropout: probability of hiding a number in training, in what attention and hidden layers add.
        pool: what the view's vector is: the class token, or the mean of all tokens. With tasks that read only maps
            nothing trains the class token.
        exchange: before the layers, mix tokens of two modalities that are alike, as the fusion `dtl` does.
        dam: parts of dual-modal attention, with the defaults of `dtl`, to put before the layers.

    Reference: Vaswani et al., NeurIPS 2017, arXiv:1706.03762; the class token is that of Devlin et al., NAACL 2019,
    arXiv:1810.04805; joint attention over two modalities as in Kim et al., ICML 2021, arXiv:2102.03334.
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
        exchange: bool = False,
        dam: tuple[PartName, ...] = (),
    ) -> None:
        super().__init__(specs, dim=dim, heads=heads, pool=pool)
        if exchange or dam:
            self.block = DualModalBlock(
                dim,
                num_modalities=len(specs),
                exchange=exchange,
                cell=None,
                parts=dam,
                sizes=BlockSizes(heads=heads, dropout=dropout),
                in_steps=bool(self.timed),
                causal=False,
            )
        self.class_token = learned_tokens(1, dim)
        self.layers = nn.ModuleList(encoder_layer(dim, heads=heads, dropout=dropout) for _ in range(layers))

    def attend(
        self, tokens: dict[str, Tensor], masks: dict[str, Tensor], places: Places
    ) -> tuple[dict[str, Tensor], Tensor]:
        """See `TokenFusion.attend`."""
        last = self._states(tokens, self._joined_mask(masks))[-1]
        sizes = [tokens[m].shape[1] for m in self.modalities]
        return dict(zip(self.modalities, last[:, 1:].split(sizes, dim=1), strict=True)), last[:, 0]

    def trace(self, tokens: dict[str, Tensor], masks: dict[str, Tensor], places: Places) -> dict[str, Tensor]:
        """See `TokenFusion.trace`."""
        mask = self._joined_mask(masks)
        states = self._states(tokens, mask)
        relevance = self.traced_from(mask[:, 1:])
        for layer, state in zip(
            reversed(cast(Sequence[nn.TransformerEncoderLayer], self.layers)), states[-2::-1], strict=True
        ):
            normalised = layer.norm1(state)
            kept, handed = traced(relevance, attended(layer.self_attn, normalised, normalised, mask)[1])
            relevance = kept + handed
        relevance = torch.where(mask, relevance, 0)[:, 1:]
        return dict(
            zip(self.modalities, relevance.split([tokens[m].shape[1] for m in self.modalities], 1), strict=True)
        )

    def _joined_mask(self, masks: dict[str, Tensor]) -> Tensor:
        """(B, 1 + N) bool: the class token is always there."""
        return F.pad(torch.cat([masks[m] for m in self.modalities], dim=1), (1, 0), value=True)

    def _states(self, tokens: dict[str, Tensor], mask: Tensor) -> list[Tensor]:
        """All tokens, (B, 1 + N, D), before the first layer and after each."""
        states = [prepended(self.class_token, torch.cat([tokens[m] for m in self.modalities], dim=1))]
        for layer in self.layers:
            states.append(layer(states[-1], src_key_padding_mask=~mask))
        return states
