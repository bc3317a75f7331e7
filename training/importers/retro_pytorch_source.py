"""The parameters of a `retro-pytorch` model, and its shape, which is read off them."""

import re
from dataclasses import dataclass

import numpy as np

HEADS = 8  # the constructor's `heads` reaches neither encoder nor decoder
CHUNK = 64
RETRIEVED = 2 * CHUNK


class Unsupported(ValueError):
    """What the checkpoint holds cannot be had as a model folder."""


@dataclass(frozen=True)
class Shape:
    """The names are those of `retro.json`; layers are counted from 1."""

    vocabulary: int
    context: int
    pad_token: int
    hidden_size: int
    layers: int
    cca_layers: tuple[int, ...]
    head_size: int
    rotary_size: int
    encoder_size: int
    encoder_layers: int
    encoder_cross_layers: tuple[int, ...]

    @property
    def lower_layers(self) -> int:
        return self.cca_layers[0]


class Source:
    """Arrays by their names in the checkpoint; `unused` are those that nobody asked for yet."""

    def __init__(self, arrays: dict[str, np.ndarray], arguments: dict):
        self.arrays, self.unused = arrays, set(arrays)
        self.shape = shape_of(self, arguments)

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.arrays:
            raise Unsupported(f"the checkpoint has no {name}: is it the state_dict of a RETRO of retro-pytorch 0.3.9?")
        self.unused.discard(name)
        return self.arrays[name]

    def layers(self, stack: str, block: int) -> tuple[int, ...]:
        """The layers of the encoder or the decoder that have the block: 0 self-attention, 1 cross-attention."""
        found = (re.match(rf"{stack}\.layers\.(\d+)\.{block}\.", name) for name in self.arrays)
        return tuple(sorted({int(match[1]) + 1 for match in found if match}))

    def rotary_tables(self, stack: str) -> tuple[np.ndarray, np.ndarray]:
        """cos and sin, float32 [positions, rotary_size / 2]."""
        rates = self[f"{stack}.rotary_pos_emb.inv_freq"].astype(np.float64)
        angles = np.arange(max(self.shape.context, RETRIEVED))[:, None] * rates
        return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    def parameter_count(self) -> int:
        return sum(array.size for name, array in self.arrays.items() if not name.endswith("inv_freq"))


def shape_of(source: Source, arguments: dict) -> Shape:
    vocabulary, encoder_size = source["token_emb.weight"].shape
    inner, hidden_size = source["decoder.layers.0.0.fn.to_q.weight"].shape
    if arguments.get("chunk_size", CHUNK) != CHUNK:
        raise Unsupported(f"chunk_size is {arguments['chunk_size']}; the server's chunks have {CHUNK} tokens")
    # Post-norm divides where nothing is read as well, so that a token before its first neighbours differs from one without
    # retrieval. A model folder has one result for both.
    if not any(name.startswith("decoder.norm_out.") for name in source.arrays):
        raise Unsupported("the model was made with use_deepnet: its retrieval off is not what a token gets that reads nothing")
    cca_layers = source.layers("decoder", 1)
    if not cca_layers:
        raise Unsupported("no decoder layer has cross-attention")
    return Shape(
        vocabulary=vocabulary,
        context=len(source["pos_emb.weight"]),
        pad_token=arguments.get("pad_id", 0),
        hidden_size=hidden_size,
        layers=len(source.layers("decoder", 0)),
        cca_layers=cca_layers,
        head_size=inner // HEADS,
        rotary_size=2 * len(source["decoder.rotary_pos_emb.inv_freq"]),
        encoder_size=encoder_size,
        encoder_layers=len(source.layers("encoder", 0)),
        encoder_cross_layers=source.layers("encoder", 1),
    )
