"""faiss over the same vectors and queries: IVF-PQ whose candidates are compared exactly, and HNSW.

It gives numbers of vectors only, no texts.
"""

import time
from pathlib import Path

import faiss
import numpy as np

from benches.database.figures import quickest, smallest, times

BLOCK = 1 << 16  # vectors that all queries are compared with at a time
ROUNDING = 1e-5  # between products that were summed in another order
LINKS = 32  # of a vector in HNSW
PART = 4  # numbers of a vector that one byte of PQ stands for
NPROBES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CANDIDATES = (4, 16, 64)  # for each neighbour, that are compared exactly
EF_SEARCH = (8, 16, 32, 64, 128, 256, 512)


class Peer:
    """`parts` are files of float32 with the number of vectors to take from each; `folder` is for the files of an index."""

    def __init__(self, threads: int, parts: list, dimension: int, queries: str, neighbours: int, folder: str):
        faiss.omp_set_num_threads(threads)
        self.dimension, self.neighbours, self.folder = dimension, neighbours, Path(folder)
        loaded = [np.fromfile(file, np.float32, rows * dimension).reshape(-1, dimension) for file, rows in parts]
        self.vectors = np.concatenate(loaded)
        self.queries = np.fromfile(queries, np.float32).reshape(-1, dimension)
        self.last = self.exact()
        self.indexes: dict[str, faiss.Index] = {}
        self.about = {"version": faiss.__version__, "vectors": len(self.vectors), "queries": len(self.queries)}

    def exact(self) -> np.ndarray:
        """Of each query, how near the last of its neighbours is, as a product."""
        best = np.full((len(self.queries), self.neighbours), -np.inf, np.float32)
        for at in range(0, len(self.vectors), BLOCK):
            near = np.concatenate([best, self.queries @ self.vectors[at : at + BLOCK].T], 1)
            best = np.partition(near, near.shape[1] - self.neighbours, 1)[:, -self.neighbours :]
        return best.min(1)

    def measure(self, what: str, **request) -> dict:
        return getattr(self, what)(**request)

    def build(self, kind: str) -> dict:
        begin = time.perf_counter()
        index = self.hnsw() if kind == "hnsw" else self.ivf_pq()
        seconds = time.perf_counter() - begin
        self.indexes[kind] = index
        file = self.folder / "index.faiss"
        faiss.write_index(index, str(file))
        size = file.stat().st_size
        file.unlink()
        return {"seconds": seconds, "bytes": size}

    def ivf_pq(self) -> faiss.Index:
        lists = max(1, round(len(self.vectors) ** 0.5))
        # `np` is no polysemous training, which takes longer than all else and serves a kind of search that is not used here.
        inner = faiss.index_factory(self.dimension, f"IVF{lists},PQ{self.dimension // PART}np")
        index = faiss.IndexRefineFlat(inner)
        index.train(self.vectors)
        index.add(self.vectors)
        return index

    def hnsw(self) -> faiss.Index:
        index = faiss.IndexHNSWFlat(self.dimension, LINKS)
        index.add(self.vectors)
        return index

    def tune(self, kind: str, recall: float) -> dict:
        """The quickest settings, each no larger than is needed for the recall."""
        if kind == "hnsw":
            return smallest(EF_SEARCH, lambda ef: self.search(kind, {"ef_search": ef}), recall)
        found = []
        for candidates in CANDIDATES:
            given = {"candidates": candidates}
            found.append(smallest(NPROBES, lambda nprobe, given=given: self.search(kind, {"nprobe": nprobe, **given}), recall))
        return quickest(found, recall)

    def search(self, kind: str, settings: dict) -> dict:
        """One query after the other."""
        index = self.indexes[kind]
        if kind == "hnsw":
            index.hnsw.efSearch = settings["ef_search"]
        else:
            faiss.extract_index_ivf(index.base_index).nprobe = settings["nprobe"]
            index.k_factor = settings["candidates"]
        index.search(self.queries[:1], self.neighbours)
        taken, found = [], np.empty((len(self.queries), self.neighbours), np.int64)
        for number in range(len(self.queries)):
            begin = time.perf_counter()
            found[number] = index.search(self.queries[number : number + 1], self.neighbours)[1][0]
            taken.append(1000 * (time.perf_counter() - begin))
        return {"settings": settings, "recall": self.recall(found)} | times(taken)

    def recall(self, found: np.ndarray) -> float:
        """What is as near as the last neighbour counts as well; -1 is none."""
        products = np.einsum("qd,qnd->qn", self.queries, self.vectors[found])
        return float(((products >= self.last[:, None] - ROUNDING) & (found >= 0)).mean())
