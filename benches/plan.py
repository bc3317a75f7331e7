"""What is measured, and how often."""

from dataclasses import dataclass

CHUNK = 64
SEED = 0


@dataclass(frozen=True)
class Plan:
    """`rounds` are turns of every case of a group. Of the figures that are compared with a bar there are more: `bar_rounds`."""

    name: str
    rounds: int
    bar_rounds: int
    tokens: int  # new tokens of a completion
    fills: tuple[int, ...]  # contexts that a completion fills from a prompt of one chunk, with and without caches
    batches: tuple[int, ...]
    prompts: tuple[int, ...]
    long_prompts: tuple[int, ...]  # on the model with the long context
    long_context: int
    neighbours: tuple[int, ...]
    streams: int  # that are compared with one
    limit_seconds: float
    corpus_bytes: int


FULL = Plan(
    name="full",
    rounds=3,
    bar_rounds=5,
    tokens=256,
    fills=(128, 256, 512),
    batches=(1, 2, 4, 8, 16, 32),
    prompts=(64, 256, 448),
    long_prompts=(64, 256, 512, 1024, 1920),
    long_context=2048,
    neighbours=(0, 1, 2, 4, 8),
    streams=8,
    limit_seconds=2.0,
    corpus_bytes=4_000_000,
)
QUICK = Plan(
    name="quick",
    rounds=1,
    bar_rounds=2,
    tokens=64,
    fills=(96, 128),
    batches=(1, 8),
    prompts=(64, 256),
    long_prompts=(64, 512),
    long_context=1024,
    neighbours=(0, 2),
    streams=8,
    limit_seconds=0.3,
    corpus_bytes=0,
)
