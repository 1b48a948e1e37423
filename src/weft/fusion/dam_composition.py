"""Dual-modal attention, `composition`: four kinds of attention, mixed token by token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.fusion.dam_part import Part
from weft.fusion.levels import masked_softmax
from weft.fusion.places import Places
from weft.fusion.positions import sinusoids

#: The kinds that are mixed, in the order of the gate's numbers.
KINDS = ("dot_product", "additive", "location", "global")

#: Width of the hidden layer of the additive scores; memory grows with it times the square of the number of tokens.
_ADDITIVE = 8


class CompositionAttention(Part):
    """Tokens attend to all tokens of all modalities by four kinds of scores, mixed by a gate of each token's own.

    For a token x_i that looks at x_j with place code l_j, and the softmax of each kind's scores over j:

    - dot product: (Q x_i) · (K x_j) / sqrt(D);
    - additive: u · tanh(P x_i + R x_j);
    - location: (W x_i) · l_j / sqrt(D), whatever stands there; l_j are sinusoids of the slot (`Places.slot`) and a
      learned vector of the modality;
    - global: v · x_j, the same for every token that looks.

    The answer is O (sum_k g_ik sum_j w^k_ij V x_j) with g_i = softmax(G x_i).

    Args:
        dim: width D of the tokens.
        num_modalities: M.
        causal: see `Places.within_reach`.

    Reference: dot product, location and global as Luong et al., EMNLP 2015, arXiv:1508.04025, section 3.1, tell them
    apart; additive: Bahdanau et al., ICLR 2015, arXiv:1409.0473, appendix A.1.2.
    """

    def __init__(self, dim: int, *, num_modalities: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)  # a constant on all keys changes no softmax
        self.asked = nn.Linear(dim, _ADDITIVE)
        self.offered = nn.Linear(dim, _ADDITIVE, bias=False)
        self.additive = nn.Linear(_ADDITIVE, 1, bias=False)
        self.place = nn.Linear(dim, dim)
        self.modality = nn.Embedding(num_modalities, dim)
        self.everywhere = nn.Linear(dim, 1, bias=False)
        self.gate = nn.Linear(dim, len(KINDS))
        self.value = nn.Linear(dim, dim)
        self.project = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, places: Places) -> Tensor:
        """See `Part.forward`."""
        weights = self.weights(tokens, places).to(tokens.dtype)
        answer: Tensor = self.project(torch.bmm(weights, self.value(tokens).to(tokens.dtype)))
        return answer

    def weights(self, tokens: Tensor, places: Places) -> Tensor:
        """See `Part.weights`: the kinds mixed."""
        reach = places.within_reach(causal=self.causal)
        gate = self.gate(tokens).float().softmax(2)
        parts = [masked_softmax(scores, reach, dim=2) for scores in self._scores(tokens, places)]
        mixed = gate[:, :, :1] * parts[0]
        for number, part in enumerate(parts[1:], start=1):
            mixed = mixed + gate[:, :, number : number + 1] * part
        return mixed

    def _scores(self, tokens: Tensor, places: Places) -> tuple[Tensor, ...]:
        """(B, N, N) of each kind; those that do not depend on who looks are (B, 1, N)."""
        dim = tokens.shape[2]
        codes = sinusoids(places.slot, dim) + self.modality(places.modality)
        hidden = (self.asked(tokens)[:, :, None] + self.offered(tokens)[:, None]).tanh()
        return (
            self.query(tokens) @ self.key(tokens).transpose(1, 2) / dim**0.5,
            self.additive(hidden).squeeze(3),
            self.place(tokens) @ codes.T.to(tokens.dtype) / dim**0.5,
            self.everywhere(tokens).transpose(1, 2),
        )
