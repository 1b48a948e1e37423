"""What the fusions by attention share: their layers, and how relevance is traced back through them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: The hidden layer of a block is this many times as wide as the tokens, as in Vaswani et al., arXiv:1706.03762.
_WIDENING = 4

#: Standard deviation of learned tokens and embeddings at the start.
_SPREAD = 0.02


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


class MaskedAttention(nn.Module):
    """Attention with several heads, in which each query has its own keys that it may attend to.

    Beside them every query can attend to a learned token that stands for nobody.

    Args:
        dim: width D of queries, keys and answers.
        heads: they divide the width.

    Reference: Vaswani et al., NeurIPS 2017, arXiv:1706.03762, section 3.2.
    """

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)  # a constant on all keys changes no softmax
        self.value = nn.Linear(dim, dim)
        self.project = nn.Linear(dim, dim)
        self.nobody = learned_tokens(1, dim)

    def forward(self, queries: Tensor, keys: Tensor, allowed: Tensor) -> Tensor:
        """(B, Q, D) answers to queries (B, Q, D) from keys (B, K, D); `allowed` (B, Q, K) bool says which see which."""
        query, key, value, mask = self._parts(queries, keys, allowed)
        answer = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None])
        projected: Tensor = self.project(answer.transpose(1, 2).flatten(2))
        return projected

    def weights(self, queries: Tensor, keys: Tensor, allowed: Tensor) -> Tensor:
        """(B, Q, K) float32 averaged over the heads; what a row lacks to 1 went to nobody. Arguments of `forward`."""
        query, key, _, mask = self._parts(queries, keys, allowed)
        scores = query.float() @ key.float().transpose(2, 3) / query.shape[-1] ** 0.5
        return scores.masked_fill(~mask[:, None], -torch.inf).softmax(3).mean(1)[:, :, 1:]

    def _parts(self, queries: Tensor, keys: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys and values by head, (B, heads, N, d), and the mask (B, Q, 1 + K), nobody before the others."""
        keys = prepended(self.nobody, keys)
        query, key, value = (
            one.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for one in (self.query(queries), self.key(keys), self.value(keys))
        )
        return query, key, value, F.pad(allowed, (1, 0), value=True)


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


def learned_tokens(*shape: int) -> nn.Parameter:
    """Tokens, or what is added to tokens, that start as small noise."""
    return nn.Parameter(torch.randn(*shape) * _SPREAD)


def prepended(first: Tensor, tokens: Tensor) -> Tensor:
    """(B, K + N, D) from learned tokens (K, D) and tokens (B, N, D)."""
    return torch.cat([first.to(tokens.dtype).expand(len(tokens), -1, -1), tokens], dim=1)
