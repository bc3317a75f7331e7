"""The parts that decoder and encoder share. Shapes: B rows, S tokens, H heads, D head size."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MASKED = -1e9  # finite, so that a wholly masked row gives numbers, not NaN


def widen(x: Tensor) -> Tensor:
    """bfloat16 (of autocast) to float32; float32 and float64 as they are."""
    return x.float() if x.dtype == torch.bfloat16 else x


class RMSNorm(nn.Module):
    def __init__(self, size: int, epsilon: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        x = widen(x)
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon) * self.weight


def rope_tables(positions: int, head_size: int, base: float) -> tuple[Tensor, Tensor]:
    """cos and sin, float32 [positions, head_size / 2] (RoFormer, arXiv 2104.09864)."""
    rates = base ** (-torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)
    angles = torch.arange(positions, dtype=torch.float64)[:, None] * rates
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions, the two halves of a head rotated against each other. x [..., S, D]; cos, sin [S, D/2]."""
    first, second = widen(x).chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, S, H*D] -> [B, H, S, D]."""
    return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """[B, H, S, D] -> [B, S, H*D]."""
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1)


class Attention(nn.Module):
    """Queries of width `size` onto keys and values of width `source_size`; inner width heads * head_size.

    With `norms`, each head's query and key are normalised (RMSNorm over the head) before positions are rotated in.
    """

    def __init__(self, size: int, source_size: int, heads: int, head_size: int, norms: float | None = None):
        super().__init__()
        self.heads = heads
        inner = heads * head_size
        self.query = nn.Linear(size, inner, bias=False)
        self.key = nn.Linear(source_size, inner, bias=False)
        self.value = nn.Linear(source_size, inner, bias=False)
        self.output = nn.Linear(inner, size, bias=False)
        self.query_norm = RMSNorm(head_size, norms) if norms else nn.Identity()
        self.key_norm = RMSNorm(head_size, norms) if norms else nn.Identity()

    def sharpness(self) -> Tensor:
        """About the score of a perfect match, of an attention with norms: a scalar."""
        return (self.query_norm.weight * self.key_norm.weight).mean() * self.query_norm.weight.numel() ** 0.5

    def keys_values(self, source: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        key = rotate(self.key_norm(split_heads(self.key(source), self.heads)), cos, sin)
        return key, split_heads(self.value(source), self.heads)

    def queries(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return rotate(self.query_norm(split_heads(self.query(x), self.heads)), cos, sin)

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        causal: bool = False,
        sink: Tensor | None = None,
    ) -> Tensor:
        """`bias` [B, 1, 1, keys] is added to the scores, which are scaled by 1/sqrt(D); or None with `causal`.

        `sink` [B, S, H]: the score of one more key for each query and head, whose value is 0.
        """
        value = value.to(query.dtype)
        if causal:
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            # Spelt out: for these short and many key sets it is three times as fast on a processor as the fused kernel.
            scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + bias.to(query.dtype)
            if sink is not None:
                scores = torch.cat([scores, sink.transpose(1, 2)[..., None].to(scores.dtype)], dim=-1)
            shares = scores.softmax(dim=-1).to(query.dtype)
            mixed = shares[..., : key.shape[-2]] @ value
        return self.output(merge_heads(mixed))


def mask_bias(mask: Tensor) -> Tensor:
    """1 for real and 0 for padding, float [B, keys] -> score bias [B, 1, 1, keys]."""
    return ((mask - 1.0) * -MASKED)[:, None, None, :]


class FeedForward(nn.Module):
    """SwiGLU (arXiv 2002.05202)."""

    def __init__(self, size: int, inner: int):
        super().__init__()
        self.gate = nn.Linear(size, inner, bias=False)
        self.up = nn.Linear(size, inner, bias=False)
        self.down = nn.Linear(inner, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))
