"""The neighbour encoder: a bidirectional transformer over one neighbour and its continuation, conditioned on the chunk.

arXiv 2112.04426, section 2.4 and algorithm 1 (ENCODER). Three departures, all for the sake of a model this small, which
otherwise learns no copying within a few million tokens: the embedding table is the decoder's, projected to the
encoder's width; a token's input also carries the two tokens *before* it, so that "what followed these tokens" can be
read in one step of cross-attention; two layers of width 128 suffice.
"""

import torch
from torch import Tensor, nn

from training.config import Config
from training.layers import Attention, FeedForward, RMSNorm, mask_bias, rope_tables, widen


class EncoderLayer(nn.Module):
    def __init__(self, config: Config, conditioned: bool):
        super().__init__()
        size, heads, epsilon = config.encoder_size, config.encoder_heads, config.norm_epsilon
        self.attention_norm = RMSNorm(size, epsilon)
        self.attention = Attention(size, size, heads, config.head_size)
        self.cross_norm = RMSNorm(size, epsilon) if conditioned else None
        self.cross = Attention(size, config.hidden_size, heads, config.head_size) if conditioned else None
        self.feed_forward_norm = RMSNorm(size, epsilon)
        self.feed_forward = FeedForward(size, config.encoder_feed_forward)


class NeighbourEncoder(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.token = nn.Linear(config.hidden_size, config.encoder_size, bias=False)
        self.previous = nn.Linear(config.hidden_size, config.encoder_size, bias=False)
        self.before_previous = nn.Linear(config.hidden_size, config.encoder_size, bias=False)
        self.chunk_norm = RMSNorm(config.hidden_size, config.norm_epsilon)
        self.layers = nn.ModuleList(EncoderLayer(config, i == 0) for i in range(config.encoder_layers))
        self.final_norm = RMSNorm(config.encoder_size, config.norm_epsilon)
        cos, sin = rope_tables(config.retrieved_length, config.head_size, config.rope_base)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, embedded: Tensor, mask: Tensor, chunk_hidden: Tensor, chunk_mask: Tensor) -> Tensor:
        """[C*K, R, encoder_size] from the neighbours' embeddings.

        embedded [C, K, R, d], mask float [C, K, R], chunk_hidden [C, m, d], chunk_mask float [C, m].
        """
        chunks, neighbours, length, size = embedded.shape
        # Padding must carry nothing into the token after it (a neighbour shorter than 64 tokens has padding inside).
        embedded = (embedded * mask[..., None]).view(chunks * neighbours, length, size)
        once = torch.nn.functional.pad(embedded[:, :-1], (0, 0, 1, 0))
        twice = torch.nn.functional.pad(embedded[:, :-2], (0, 0, 2, 0))
        x = widen(self.token(embedded) + self.previous(once) + self.before_previous(twice))
        bias = mask_bias(mask.view(chunks * neighbours, length))
        chunk = self.chunk_norm(chunk_hidden)
        chunk_bias = mask_bias(chunk_mask)
        m = chunk.shape[1]
        for layer in self.layers:
            normed = layer.attention_norm(x)
            key, value = layer.attention.keys_values(normed, self.cos, self.sin)
            x = x + layer.attention.attend(layer.attention.queries(normed, self.cos, self.sin), key, value, bias)
            if layer.cross is not None:
                # Keys and values once a chunk; its K neighbours are laid along the query axis.
                key, value = layer.cross.keys_values(chunk, self.cos[:m], self.sin[:m])
                query = layer.cross.queries(layer.cross_norm(x), self.cos, self.sin)  # [C*K, H, R, D]
                query = query.view(chunks, neighbours, *query.shape[1:]).transpose(1, 2).flatten(2, 3)
                read = layer.cross.attend(query, key, value, chunk_bias)  # [C, K*R, encoder_size]
                x = x + read.view(chunks * neighbours, length, -1)
            x = x + layer.feed_forward(layer.feed_forward_norm(x))
        return self.final_norm(x)
