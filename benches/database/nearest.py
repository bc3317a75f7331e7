"""Whether two kinds of vectors of the same texts find the same nearest others, by exact search."""

import numpy as np

BLOCK = 256  # queries at a time


def places(count: int, most: int) -> np.ndarray:
    """Of queries, spread over all vectors."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def nearest_others(vectors: np.ndarray, queries: np.ndarray, neighbours: int) -> np.ndarray:
    """Places of the nearest ones but the query itself, in rising order."""
    found = []
    for at in range(0, len(queries), BLOCK):
        own = queries[at : at + BLOCK]
        near = vectors[own] @ vectors.T
        near[np.arange(len(own)), own] = -np.inf
        found.append(np.sort(np.argpartition(-near, neighbours - 1, 1)[:, :neighbours], 1))
    return np.concatenate(found)


def first_of_each(texts: list[str]) -> np.ndarray:
    """Places of the texts that were not there before: which of two equal vectors is nearer says nothing."""
    seen: dict[str, int] = {}
    for place, text in enumerate(texts):
        seen.setdefault(text, place)
    return np.fromiter(seen.values(), np.int64)


def same_share(some: np.ndarray, others: np.ndarray, texts: list[str], most: int, neighbours: int) -> dict:
    """The share of queries for which both find the same."""
    kept = first_of_each(texts)
    some, others = some[kept], others[kept]
    queries = places(len(kept), most)
    same = (nearest_others(some, queries, neighbours) == nearest_others(others, queries, neighbours)).all(1)
    return {"queries": len(queries), "chunks": len(kept), "neighbours": neighbours, "share": float(same.mean())}
