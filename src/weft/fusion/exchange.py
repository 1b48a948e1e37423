"""The exchange of features: tokens of two modalities that are alike take something over from each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.fusion.levels import masked_softmax
from weft.fusion.places import Places

#: The gate begins here, at a share of about 0.12: tokens stay mostly what they are until training says otherwise.
_GATE_AT_FIRST = -2.0


class Exchange(nn.Module):
    """A part of every token is replaced by the tokens of another modality that are most like it.

    With tokens a_i of one modality and b_j of another, w_ij = softmax_j(cos(a_i, b_j) / temperature) over the real
    tokens of the other, p_i = sum_j w_ij b_j, g_i = sigmoid(u [a_i; p_i] + c), one number a token:

        a_i becomes (1 - g_i) a_i + g_i p_i.

    Every ordered pair of modalities is treated so, with one gate for all, from the tokens as they were before; of more
    than two modalities a token gets the mean over the others that it can reach. Without any it stays as it is.

    Args:
        dim: width D of the tokens.
        temperature: of the softmax; the smaller, the more the single most alike token counts.
        causal: a token reaches what is known and what is of its own step; see `Places.within_reach`.
    """

    def __init__(self, dim: int, *, temperature: float, causal: bool) -> None:
        super().__init__()
        self.temperature, self.causal = temperature, causal
        self.gate = nn.Linear(2 * dim, 1)
        nn.init.constant_(self.gate.bias, _GATE_AT_FIRST)

    def forward(self, tokens: Tensor, places: Places) -> Tensor:
        """(B, N, D) from the joined tokens (B, N, D)."""
        changed = torch.zeros_like(tokens)
        for weights, share in self._pairs(tokens, places):
            gate, partner = self._gate(tokens, weights)
            changed = changed + share * gate * (partner - tokens)
        return tokens + changed

    def weights(self, tokens: Tensor, places: Places) -> Tensor:
        """(B, N, N) float32: how much of each token is, after the exchange, which token before it; rows sum to 1."""
        matrix = torch.eye(tokens.shape[1], device=tokens.device).expand(len(tokens), -1, -1)
        changed = torch.zeros_like(matrix)
        for weights, share in self._pairs(tokens, places):
            gate = self._gate(tokens, weights)[0]
            changed = changed + (share * gate).float() * (weights - matrix)
        return matrix + changed

    def _pairs(self, tokens: Tensor, places: Places) -> list[tuple[Tensor, Tensor]]:
        """Per modality as a partner: the weights (B, N, N) of its tokens, and its share (B, N, 1) among partners."""
        alike = F.normalize(tokens.float(), dim=2)
        scores = torch.bmm(alike, alike.transpose(1, 2)) / self.temperature
        reach = places.within_reach(causal=self.causal) & (places.modality[:, None] != places.modality)
        allowed = [reach & partner for partner in places.of_modality]
        partners = torch.stack([one.any(2, keepdim=True) for one in allowed])
        shares = partners / partners.sum(0).clamp(min=1)  # clamp: nobody to exchange with
        return [
            (masked_softmax(scores, one, dim=2), share.to(tokens.dtype))
            for one, share in zip(allowed, shares, strict=True)
        ]

    def _gate(self, tokens: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The gate (B, N, 1) and the attended partner (B, N, D)."""
        partner = torch.bmm(weights.to(tokens.dtype), tokens)
        return self.gate(torch.cat([tokens, partner], dim=2)).sigmoid(), partner
