"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    name: str
    rounds: int  # turns of every case of a comparison
    rows: tuple[int, ...]  # chunks of a collection
    chunks: int  # that are embedded and ingested
    peer_texts: int  # that sentence-transformers encodes
    same_chunks: int  # among which both precisions' vectors look for the nearest others
    pairs: int  # of those, that are queries
    part_chunks: int  # of one file of embeddings that are kept
    queries: int
    more_chunks: int  # that are put into a collection that is there already
    posts: int
    clients: int
    sample: int  # posted documents that are searched for by their own text
    rest_seconds: int  # most that the housekeeping after the posts is waited for


FULL = Plan(
    name="full",
    rounds=2,
    rows=(10_000, 100_000, 1_000_000),
    chunks=50_000,
    peer_texts=2_000,
    same_chunks=10_000,
    pairs=2_000,
    part_chunks=50_000,
    queries=500,
    more_chunks=2_000,
    posts=10_000,
    clients=16,
    sample=500,
    rest_seconds=300,
)
QUICK = Plan(
    name="quick",
    rounds=1,
    rows=(2_000, 4_000),
    chunks=2_000,
    peer_texts=300,
    same_chunks=2_000,
    pairs=500,
    part_chunks=2_000,
    queries=100,
    more_chunks=500,
    posts=500,
    clients=16,
    sample=100,
    rest_seconds=150,
)
NEIGHBOURS = 2
RECALL = 0.97  # that a search is tuned to
# What a search of the index is tried with.
NPROBES = (5, 10, 20, 40, 56, 72, 80)
REFINE = (1, 2, 4)
