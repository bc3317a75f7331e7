"""The neighbours of every chunk: the nearest chunks of other documents, by the embedder's keys.

`train.neighbours.npz` has `document_first` int64 [documents + 1], the first chunk id of each document in the database;
`starts` and `ends` int64 [chunks], the bounds of a chunk *and its continuation* in the training stream; and `nearest` int32
[chunks, 4], -1 where there are fewer. `valid.neighbours.npz` holds `nearest` for the chunks of the held-out sequences,
looked up in the same database. Neighbours of a chunk's own document are not here: the sampler takes those from the document.

The keys lie in `train.keys`, float16, in the order of the chunks. The file grows as they are made, so a stop loses only
the last part, and a larger database goes on where a smaller one ended.
"""

import time
from pathlib import Path
from typing import Protocol

import faiss
import numpy as np
from tokenizers import Tokenizer

from training.files import replacing
from training.held_out import HELD_OUT_CHUNKS, held_out_starts
from training.progress import Progress
from training.stream import TokenStream

CHUNK = 64
KEPT = 4
CANDIDATES = 64
# Up to here every key is compared with every other, in minutes on two cores; beyond, only with those of the nearest lists.
EXACT_CHUNKS = 100_000
LISTS_SEARCHED = 64
PART_SECONDS = 10
QUERIES = 4096


class Embed(Protocol):
    """As training.embedder: texts to float32 [texts, size]."""

    size: int

    def __call__(self, texts: list[str]) -> np.ndarray: ...


def find(work: Path, tokenizer: Tokenizer, embed: Embed, limit: int) -> dict:
    """Writes the two files, from the first `limit` chunks of the training stream, or from all with 0. Says what they hold."""
    train, valid = (TokenStream.open(work, split) for split in ("train", "valid"))
    starts, first = document_chunks(train, limit)
    documents = train.document_of(starts)
    ends = train.ends[documents]
    keys = make_keys(work / "train.keys", train, starts, np.minimum(starts + CHUNK, ends), tokenizer, embed)
    index = build(keys)
    # A search started meanwhile must not find held-out neighbours of another database.
    (work / "valid.neighbours.npz").unlink(missing_ok=True)
    with replacing(work / "train.neighbours.npz") as path, open(path, "wb") as file:
        nearest = nearest_elsewhere(index, keys, first[documents], first[documents + 1])
        np.savez(file, document_first=first, starts=starts, ends=np.minimum(starts + 2 * CHUNK, ends), nearest=nearest)
    places = (held_out_starts(valid)[:, None] + CHUNK * np.arange(HELD_OUT_CHUNKS)).reshape(-1)
    queries = embed([tokenizer.decode(valid.tokens[p : p + CHUNK].tolist()) for p in places])
    nowhere = np.zeros(len(places), np.int64)
    with replacing(work / "valid.neighbours.npz") as path, open(path, "wb") as file:
        np.savez(file, nearest=nearest_elsewhere(index, queries, nowhere, nowhere))
    return {"chunks": len(starts), "documents": len(first) - 1}


def document_chunks(stream: TokenStream, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts of the chunks of the first documents (int64 [chunks]) and `document_first` (int64 [documents + 1])."""
    starts, first = [], [0]
    for begin, end in zip(stream.starts, stream.ends, strict=True):
        if limit and first[-1] >= limit:
            break
        starts.append(np.arange(begin, end, CHUNK))
        first.append(first[-1] + len(starts[-1]))
    return np.concatenate(starts), np.asarray(first)


def make_keys(
    path: Path, stream: TokenStream, starts: np.ndarray, ends: np.ndarray, tokenizer: Tokenizer, embed: Embed
) -> np.ndarray:
    """The keys of the chunks, float16 [chunks, size]; those that `path` holds already are not made again."""
    row = 2 * embed.size
    done = min(len(starts), path.stat().st_size // row) if path.exists() else 0
    part = 256  # chunks at a time, as many as take some seconds
    progress = Progress("embedding", "chunks", len(starts), done)
    with open(path, "r+b" if path.exists() else "w+b") as file:
        file.seek(done * row)  # what a stop left of a row is written over
        while done < len(starts):
            begun = time.monotonic()
            places = zip(starts[done : done + part], ends[done : done + part], strict=True)
            vectors = embed(tokenizer.decode_batch([stream.tokens[s:e].tolist() for s, e in places]))
            file.write(vectors.astype(np.float16).tobytes())
            file.flush()
            done += len(vectors)
            if time.monotonic() - begun < PART_SECONDS / 2:
                part = min(2 * part, 1 << 15)
            progress.show(done)
    return np.memmap(path, np.float16, "r", shape=(len(starts), embed.size))


def build(keys: np.ndarray) -> faiss.Index:
    """An index of the keys by inner product."""
    count, size = keys.shape
    if count <= EXACT_CHUNKS:
        index = faiss.IndexFlatIP(size)
    else:
        lists = int(4 * count**0.5)
        index = faiss.index_factory(size, f"IVF{lists},SQfp16", faiss.METRIC_INNER_PRODUCT)
        index.nprobe = LISTS_SEARCHED
        sample = np.random.default_rng(0).permutation(count)[: 64 * lists]
        print(f"search: sorting the keys into {lists} lists", flush=True)
        index.train(keys[np.sort(sample)].astype(np.float32))
    for at in range(0, count, 1 << 16):
        index.add(keys[at : at + (1 << 16)].astype(np.float32))
    return index


def nearest_elsewhere(index: faiss.Index, queries: np.ndarray, own_first: np.ndarray, own_end: np.ndarray) -> np.ndarray:
    """The KEPT nearest chunks, nearest first, whose ids are not in [own_first, own_end): int32 [queries, KEPT]."""
    found = np.full((len(queries), KEPT), -1, np.int32)
    progress = Progress("search", "chunks", len(queries))
    for at in range(0, len(queries), QUERIES):
        rows = slice(at, at + QUERIES)
        _, candidates = index.search(queries[rows].astype(np.float32), CANDIDATES)
        found[rows] = first_kept(candidates, own_first[rows, None], own_end[rows, None])
        progress.show(min(at + QUERIES, len(queries)))
    # A long document's own chunks can fill the candidates. Then they are left out of the search itself, which is slower.
    wanted = np.minimum(KEPT, index.ntotal - (own_end - own_first))
    crowded = np.nonzero((found >= 0).sum(1) < wanted)[0]
    progress = Progress("search within long documents", "chunks", len(crowded))
    for number, at in enumerate(range(0, len(crowded), QUERIES), start=1):
        some = crowded[at : at + QUERIES]
        for first in np.unique(own_first[some]):
            rows = some[own_first[some] == first]
            others = faiss.IDSelectorNot(faiss.IDSelectorRange(int(first), int(own_end[rows[0]])))
            if isinstance(index, faiss.IndexIVF):
                search = faiss.SearchParametersIVF(sel=others, nprobe=LISTS_SEARCHED)
            else:
                search = faiss.SearchParameters(sel=others)
            found[rows] = index.search(queries[rows].astype(np.float32), KEPT, params=search)[1]
        progress.show(min(number * QUERIES, len(crowded)))
    return found


def first_kept(candidates: np.ndarray, own_first: np.ndarray, own_end: np.ndarray) -> np.ndarray:
    """The first KEPT candidates of each row that are there (not -1) and not its own; -1 after them."""
    other = (candidates >= 0) & ((candidates < own_first) | (candidates >= own_end))
    order = np.argsort(~other, axis=1, kind="stable")[:, :KEPT]
    return np.where(np.take_along_axis(other, order, 1), np.take_along_axis(candidates, order, 1), -1)
