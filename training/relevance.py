"""The relevance gate: does a neighbour overlap the text of its chunk?

A model of this size gains nothing from neighbours that are merely similar, and cannot tell from within one token's
attention whether a match is chance: trained with covering windows half of the time, it trusts every neighbour half way,
and an unrelated one costs 10 to 20 % of perplexity. Whether a neighbour repeats its chunk is easy to see from all 64 tokens at
once, so one number in (0, 1) is computed for each neighbour and scales the values that cross-attention reads:

    g = sigmoid(b + sum over the chunk's tokens i of [ max over the neighbour's tokens t of (P h_i) . (Q e_t) + u . h_i + c ])

with h_i the hidden state the encoder is conditioned on, normalised, and e_t the embedding. A term is the evidence of one
token: large if a rare token is found again, negative if it is not. Not part of arXiv 2112.04426.
"""

import torch
from torch import Tensor, nn

from training.layers import MASKED


class RelevanceGate(nn.Module):
    def __init__(self, hidden_size: int, rank: int):
        super().__init__()
        self.chunk = nn.Linear(hidden_size, rank, bias=False)  # P
        self.token = nn.Linear(hidden_size, rank, bias=False)  # Q
        self.offset = nn.Linear(hidden_size, 1)  # u, and c
        self.bias = nn.Parameter(torch.zeros(1))

    def evidence(self, chunk: Tensor, chunk_mask: Tensor, embedded: Tensor, mask: Tensor) -> Tensor:
        """Log odds that a neighbour overlaps, [C, K].

        chunk [C, m, d] normalised, chunk_mask float [C, m], embedded [C, K, R, d], mask float [C, K, R].
        """
        found = self.chunk(chunk)[:, None] @ self.token(embedded).transpose(-1, -2)  # [C, K, m, R]
        found = (found + ((mask - 1.0) * -MASKED)[:, :, None, :]).amax(-1)
        return ((found + self.offset(chunk)[:, None, :, 0]) * chunk_mask[:, None]).sum(-1) + self.bias

    def forward(self, chunk: Tensor, chunk_mask: Tensor, embedded: Tensor, mask: Tensor) -> Tensor:
        return self.evidence(chunk, chunk_mask, embedded, mask).sigmoid()
