"""Matrices as blocks of small integers, in the layout of ONNX Runtime's MatMulNBits and GatherBlockQuantized.

A row of a matrix [N, K] is cut into blocks of BLOCK numbers, the last one filled up with zeros. A block has one scale, and
a number is stored as `round(number / scale) + 2 ** (bits - 1)`; both operators take that middle for zero where they are
given no zero points. Of 4-bit numbers two share a byte, the first one in its low half.
"""

import numpy as np

BLOCK = 64


def quantise(matrix: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N, blocks, BLOCK * bits / 8] and float32 scales [N, blocks] of a matrix [N, K]."""
    rows, width = matrix.shape
    padded = np.pad(matrix.astype(np.float32), [(0, 0), (0, -width % BLOCK)]).reshape(rows, -1, BLOCK)
    middle = 2 ** (bits - 1)
    scales = np.abs(padded).max(axis=-1) / np.float32(middle - 1)
    scales[scales == 0] = 1
    stored = (np.rint(padded / scales[..., None]) + middle).astype(np.uint8)
    if bits == 4:
        stored = stored[..., 0::2] | stored[..., 1::2] << 4
    return stored, scales


def dequantise(stored: np.ndarray, scales: np.ndarray, bits: int, width: int) -> np.ndarray:
    """float32 [N, width]: what the operators compute with."""
    if bits == 4:
        stored = np.stack([stored & 15, stored >> 4], axis=-1).reshape(*stored.shape[:-1], -1)
    numbers = stored.astype(np.float32) - np.float32(2 ** (bits - 1))
    return (numbers * scales[..., None]).reshape(len(stored), -1)[:, :width]
