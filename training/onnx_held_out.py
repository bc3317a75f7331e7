"""Perplexity of an exported variant on the held-out text of training/held_out.py."""

import numpy as np

from training.held_out import HeldOut
from training.onnx_decode import OnnxRetro, Sequence

# Without neighbours, and with those that change the predictions most.
KINDS = ("none", "covering")


def perplexities(graphs: OnnxRetro, held_out: HeldOut) -> dict[str, float]:
    """By kind of neighbours, over all positions of all rows."""
    tokens = held_out.tokens.numpy()
    result = {}
    for kind in KINDS:
        given, total = held_out.neighbours[kind], 0.0
        for row, known in enumerate(tokens):
            sequence = Sequence(graphs, int(held_out.first_chunk[row]), None if given is None else given[row])
            logits = sequence.logits(known[:-1], prefill=len(known) - 1)
            logits -= logits.max(axis=-1, keepdims=True)
            right = logits[np.arange(len(logits)), known[1:]]
            total += float((np.log(np.exp(logits).sum(axis=-1, dtype=np.float64)) - right).sum())
        result[kind] = float(np.exp(total / tokens[:, 1:].size))
    return result
