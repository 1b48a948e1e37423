"""What the fusions by attention share: their layers, and how relevance is traced back through them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: The hidden layer of a block is this many times as wide as the tokens, as in Vaswani et al., arXiv:1706.03762.
_WIDENING = 4


def encoder_layer(dim: int, *, heads: int, dropout: float) -> nn.TransformerEncoderLayer:
    """Self-attention and a hidden layer, each with its normalisation before it."""
    layer = nn.TransformerEncoderLayer(
        dim, heads, _WIDENING * dim, dropout, activation="gelu", batch_first=True, norm_first=True
    )
    _keep_linear(layer.self_attn)
    return layer


def decoder_layer(dim: int, *, heads: int, dropout: float) -> nn.TransformerDecoderLayer:
    """Self-attention, attention to others, and a hidden layer, each with its normalisation before it."""
    layer = nn.TransformerDecoderLayer(
        dim, heads, _WIDENING * dim, dropout, activation="gelu", batch_first=True, norm_first=True
    )
    _keep_linear(layer.self_attn)
    _keep_linear(layer.multihead_attn)
    return layer


def _keep_linear(attention: nn.MultiheadAttention) -> None:
    """Drop no attention weights: on a processor torch would then hold all of them, the square of the tokens."""
    attention.dropout = 0.0


def attended(attention: nn.MultiheadAttention, queries: Tensor, keys: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """What an attention answers, and how much each query attends to each key.

    Args:
        attention: the attention.
        queries: (B, Q, D).
        keys: (B, K, D).
        mask: (B, K) bool, the keys that are real.

    Returns:
        (B, Q, D), and (B, Q, K) float32 averaged over the heads.
    """
    answer, weights = attention(queries, keys, keys, key_padding_mask=~mask, need_weights=True)
    return answer, weights.float()


def traced(relevance: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Relevance before an attention with a residual path, from that after it: half stays, half goes along the weights.

    Args:
        relevance: (B, Q), of what the queries became.
        weights: (B, Q, K).

    Returns:
        (B, Q) of the queries, and (B, K) of the keys.

    Reference: attention rollout, Abnar and Zuidema, ACL 2020, arXiv:2005.00928, section 3.
    """
    half = relevance / 2
    return half, torch.bmm(half[:, None], weights)[:, 0]
