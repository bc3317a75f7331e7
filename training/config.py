"""Sizes of the model; the names are those of `retro.json`."""

from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Config:
    vocabulary: int = 16384
    hidden_size: int = 256
    layers: int = 6
    cca_layers: tuple[int, ...] = field(default=(3, 5))  # counted from 1, as in the paper
    heads: int = 8
    head_size: int = 32
    feed_forward: int = 688
    encoder_size: int = 128
    encoder_layers: int = 2
    encoder_heads: int = 4
    encoder_feed_forward: int = 344
    context: int = 512
    chunk_length: int = 64
    neighbours: int = 2
    neighbour_length: int = 64
    continuation_length: int = 64
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-6

    @property
    def retrieved_length(self) -> int:
        """R: a neighbour and its continuation."""
        return self.neighbour_length + self.continuation_length

    @property
    def lower_layers(self) -> int:
        """Layers whose self-attention runs in `lower.onnx`: up to the first CCA layer."""
        return self.cca_layers[0]

    def to_dict(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_dict(values: dict) -> "Config":
        return Config(**{**values, "cca_layers": tuple(values["cca_layers"])})


SIZES = {
    # Trainable on two processor cores.
    "nano": Config(),
    # Meant for a GPU.
    "small": Config(
        hidden_size=640,
        layers=12,
        cca_layers=(4, 7, 10),
        heads=10,
        head_size=64,
        feed_forward=1712,
        encoder_size=256,
        encoder_heads=4,
        encoder_feed_forward=688,
        context=1024,
    ),
    # As the paper's smallest (172 million parameters without embeddings; arXiv 2112.04426, table 2), but for 14 heads in its encoder: to measure with.
    "paper": Config(
        hidden_size=896,
        layers=12,
        cca_layers=(6, 9, 12),
        heads=16,
        head_size=64,
        feed_forward=2400,
        encoder_size=896,
        encoder_heads=14,
        encoder_feed_forward=2400,
        context=1024,
    ),
}
