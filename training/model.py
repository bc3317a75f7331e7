"""RETRO (arXiv 2112.04426): a decoder that reads retrieved neighbours by chunked cross-attention (CCA).

The forward pass takes whole sequences; it is what training runs, and the reference that cached decode is held to.
Symbols as in docs/model-format.md: B rows, N tokens, U chunks, K neighbours, R neighbour tokens, m chunk length.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import Config
from training.encoder import NeighbourEncoder
from training.grid import gather_rows, grid_indices, token_slots, window_indices
from training.layers import Attention, FeedForward, RMSNorm, mask_bias, rope_tables, split_heads, widen

# As a share of the score of a perfect match.
SINK_AT_FIRST = 0.7
# Of a normalised query and key: the score of a perfect match is then at most 1.6^2 * sqrt(32) = 14.
SHARPNESS_AT_FIRST = 1.6


class DecoderLayer(nn.Module):
    def __init__(self, config: Config, cca: bool):
        super().__init__()
        size, epsilon = config.hidden_size, config.norm_epsilon
        self.attention_norm = RMSNorm(size, epsilon)
        self.attention = Attention(size, size, config.heads, config.head_size)
        self.cca_norm = RMSNorm(size, epsilon) if cca else None
        self.cca = Attention(size, config.encoder_size, config.heads, config.head_size, norms=epsilon) if cca else None
        self.copy = nn.Linear(size, config.heads * config.head_size, bias=False) if cca else None
        self.sink = nn.Linear(size, config.heads) if cca else None
        self.feed_forward_norm = RMSNorm(size, epsilon)
        self.feed_forward = FeedForward(size, config.feed_forward)


class Retro(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.hidden_size)  # tied to the output
        self.layers = nn.ModuleList(
            DecoderLayer(config, number in config.cca_layers) for number in range(1, config.layers + 1)
        )
        self.final_norm = RMSNorm(config.hidden_size, config.norm_epsilon)
        self.encoder = NeighbourEncoder(config)
        # CCA queries stand at m-1 .. 2m-2 against neighbour positions 0 .. R-1.
        rows = max(config.context, 2 * config.chunk_length, config.retrieved_length)
        cos, sin = rope_tables(rows, config.head_size, config.rope_base)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.initialise()

    def initialise(self) -> None:
        depth = 2 * self.config.layers
        for name, parameter in self.named_parameters():
            if name.endswith("sink.bias"):
                nn.init.constant_(parameter, SINK_AT_FIRST)
            if name.endswith(("query_norm.weight", "key_norm.weight")):
                nn.init.constant_(parameter, SHARPNESS_AT_FIRST)
            if parameter.dim() < 2:
                continue
            deviation = 0.02 if name.startswith("embedding") else 0.5 / math.sqrt(parameter.shape[1])
            if name.endswith(("output.weight", "down.weight")):
                deviation /= math.sqrt(depth)
            nn.init.normal_(parameter, std=deviation)

    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def hidden_states(self, tokens: Tensor, first_chunk: Tensor, neighbours: Tensor | None) -> Tensor:
        """After the last norm, float32 [B, N, d].

        tokens int64 [B, N]; first_chunk int64 [B]; neighbours int64 [B, U, K, R] padded with 0, one set for each
        complete chunk of the grid, or None for retrieval off.
        """
        x = self.embedding(tokens)
        n = tokens.shape[1]
        cos, sin = self.cos[:n], self.sin[:n]
        read = None
        for layer in self.layers:
            normed = layer.attention_norm(x)
            key, value = layer.attention.keys_values(normed, cos, sin)
            query = layer.attention.queries(normed, cos, sin)
            x = x + layer.attention.attend(query, key, value, None, causal=True)
            if layer.cca is not None and neighbours is not None:
                if read is None:
                    read = self.encode(x, first_chunk, neighbours)
                x = x + self.chunked_cross_attention(layer, x, first_chunk, *read)
            x = x + layer.feed_forward(layer.feed_forward_norm(x))
        return self.final_norm(x)

    def encode(self, x: Tensor, first_chunk: Tensor, neighbours: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """E [B*U, K*R, encoder_size], the tokens' embeddings [B*U, K*R, d] and their mask, float [B*U, K*R], given hidden
        states x [B, N, d]."""
        rows, chunks, k, r = neighbours.shape
        m = self.config.chunk_length
        index, real = grid_indices(first_chunk, chunks, x.shape[1], m)
        real = real.to(x.dtype)
        chunk_hidden = (gather_rows(x, index) * real[..., None]).view(rows * chunks, m, -1)
        neighbours = neighbours.view(rows * chunks, k, r)
        mask = (neighbours != 0).to(x.dtype)
        embedded = self.embedding(neighbours)
        encoded = self.encoder(embedded, mask, chunk_hidden, real.view(rows * chunks, m))
        return encoded.view(rows * chunks, k * r, -1), embedded.flatten(1, 2), mask.view(rows * chunks, k * r)

    def chunked_cross_attention(
        self, layer: DecoderLayer, x: Tensor, first_chunk: Tensor, encoded: Tensor, embedded: Tensor, mask: Tensor
    ) -> Tensor:
        """What CCA adds to x [B, N, d]; 0 for tokens that attend nothing, and where every neighbour is padding.

        The sink is what a token attends if no neighbour has anything for it. Values carry the token's embedding itself
        beside what the encoder makes of it: half of it would not fit through the encoder's width, and a word that
        was hardly ever seen in training could not be copied.
        """
        rows, n, size = x.shape
        m, r = self.config.chunk_length, self.config.retrieved_length
        chunks = encoded.shape[0] // rows
        window = window_indices(first_chunk, chunks, n, m)
        normed = gather_rows(layer.cca_norm(x), window).view(rows * chunks, m, size)
        query = layer.cca.queries(normed, self.cos[m - 1 : 2 * m - 1], self.sin[m - 1 : 2 * m - 1])
        k = encoded.shape[1] // r
        key, value = layer.cca.keys_values(encoded, self.cos[:r].repeat(k, 1), self.sin[:r].repeat(k, 1))
        value = value + split_heads(layer.copy(embedded), layer.cca.heads)
        sink = layer.sink(normed) * layer.cca.sharpness()
        read = widen(layer.cca.attend(query, key, value, mask_bias(mask), sink=sink))
        slots, attends = token_slots(first_chunk, chunks, n, m)
        return gather_rows(read.view(rows, chunks * m, size), slots) * attends[..., None]

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.embedding.weight)

    def forward(self, tokens: Tensor, first_chunk: Tensor, neighbours: Tensor | None) -> Tensor:
        """Logits, float [B, N, V]."""
        return self.logits(self.hidden_states(tokens, first_chunk, neighbours))
