"""The chunk grid: where a token stands, and which chunk's neighbours it attends.

With `f` (1 to m) the length of the first chunk, token `i` has place `p = i + m - f`; chunk `u` holds `m*u <= p < m*(u+1)`.
The last token of chunk u and the first m-1 of chunk u+1 attend E_u (arXiv 2112.04426, section 2.4): they are the
*attending window* of u, its m places counted by `cross_position`. In tokens, window slot `w = m*u + cross_position` is
token `w + f - 1`. All functions take `f` as int64 [B] and give index tensors whose shapes do not depend on it.
"""

import torch
from torch import Tensor


def grid_indices(first_chunk: Tensor, chunks: int, tokens: int, m: int = 64) -> tuple[Tensor, Tensor]:
    """Token at each grid place, int64 [B, chunks*m], clamped, and whether it is a real one, bool of that shape."""
    places = torch.arange(chunks * m, device=first_chunk.device)
    index = places[None, :] - m + first_chunk[:, None]
    return index.clamp(0, tokens - 1), (index >= 0) & (index < tokens)


def window_indices(first_chunk: Tensor, chunks: int, tokens: int, m: int = 64) -> Tensor:
    """Token at each slot of the attending windows, int64 [B, chunks*m], clamped."""
    slots = torch.arange(chunks * m, device=first_chunk.device)
    return (slots[None, :] + first_chunk[:, None] - 1).clamp(0, tokens - 1)


def token_slots(first_chunk: Tensor, chunks: int, tokens: int, m: int = 64) -> tuple[Tensor, Tensor]:
    """The window slot of each token, int64 [B, tokens], clamped, and whether it attends anything, bool."""
    index = torch.arange(tokens, device=first_chunk.device)[None, :] - first_chunk[:, None] + 1
    return index.clamp(0, chunks * m - 1), (index >= 0) & (index < chunks * m)


def complete_chunks(tokens: int, first_chunk: int, m: int = 64) -> int:
    """Chunks that are complete, each of which has neighbours."""
    return (tokens + m - first_chunk) // m


def gather_rows(states: Tensor, index: Tensor) -> Tensor:
    """`states` [B, S, d] at `index` [B, J]: [B, J, d]."""
    return torch.gather(states, 1, index[..., None].expand(-1, -1, states.shape[-1]))
