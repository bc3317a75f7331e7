"""Training batches: sequences of the stream, a chunk grid for each, and neighbours for each chunk of the grid.

A neighbour is a half-open range of the stream, so that a whole batch of them is one gather. Kinds of neighbour:

* covering: a window of the chunk's own document that holds the chunk and what comes after it. This is what a database
  that knows the text returns, and it teaches copying. It is shifted against the chunk by up to +-32 tokens, for a
  database's chunks do not begin where the grid's do. The range of the shift grows from 0 while the model keeps up (see
  Curriculum): copying is learned first at a fixed distance, then by content.
* own: a chunk of the same document that does not cover: a search in a database that knows the text finds such ones too.
* retrieved: one of the nearest chunks of other documents (training.neighbours), where they are known.
* random: a chunk of another document. It and `retrieved` teach to ignore what does not help.
* empty.

In a part of the sequences numbers, names and dates are replaced by others, the same in text and covering windows
(training.counterfactual), so that they have to be read.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from training.counterfactual import Counterfactual
from training.neighbour_table import NeighbourTable
from training.stream import TokenStream

CHUNK = 64
RETRIEVED = 128
NEIGHBOURS = 2
MAX_SHIFT = 32


@dataclass(frozen=True)
class Mix:
    """Shares of the training mix."""

    covering: float = 0.35  # of chunks
    covering_twice: float = 0.25  # of those: both neighbours cover, as the entries on either side of a boundary do
    own: float = 0.3  # of the other covered chunks: the second neighbour is of the same document
    counterfactual: float = 0.3  # of sequences
    known: float = 0.6  # of sequences are from the part of the stream whose nearest neighbours are known
    covering_at_first: float = 0.7  # of chunks, while the curriculum goes on
    both_empty: float = 0.06  # of chunks
    without: float = 0.05  # of sequences
    full_first_chunk: float = 0.5  # of sequences; the others begin with a chunk of 1 to 64 tokens
    retrieved: float = 0.85  # of the neighbours that are not covering, where the nearest are known
    empty: float = 0.05  # likewise


class Curriculum:
    """The range of a covering window's shift, widened only as fast as copying holds.

    A fixed schedule is fragile: widened before copying is learned at a fixed distance, it is lost altogether. So the
    losses of the tokens that attend a covering window and of those that do not are compared as training goes.
    """

    def __init__(self, shift: int = 0):
        self.shift = shift

    def update(self, covered: float, uncovered: float) -> None:
        """After some steps with mean losses `covered` and `uncovered`."""
        if covered < 0.8 * uncovered:
            self.shift = min(MAX_SHIFT, self.shift + (4 if covered < 0.6 * uncovered else 2))


class Sampler:
    """`number`s count the sequences of a run; those of process `rank` of `world` are taken alternately."""

    def __init__(
        self,
        stream: TokenStream,
        length: int = 512,
        seed: int = 0,
        mix: Mix | None = None,
        counterfactual: Counterfactual | None = None,
    ):
        self.stream, self.length, self.seed, self.mix = stream, length, seed, mix or Mix()
        self.counterfactual = counterfactual
        self.table: NeighbourTable | None = None
        self.sequences = (len(stream.tokens) - 1) // length
        self.known = 0  # sequences at the start of the stream whose nearest neighbours are known

    def load_neighbours(self, path: Path) -> bool:
        """Use the retrieved neighbours in `path`; False if there are none yet."""
        if self.table is None and path.exists():
            self.table = NeighbourTable.open(path)
            self.known = int(self.stream.ends[len(self.table.first) - 2]) // self.length
        return self.table is not None

    def starts(self, numbers: np.ndarray) -> np.ndarray:
        """Stream places of the sequences: int64 like `numbers`. Of the whole stream, and of its known part, each sequence comes once an epoch."""
        return np.asarray([self.start(int(number)) for number in numbers])

    def start(self, number: int) -> int:
        share = self.mix.known if 0 < self.known < self.sequences else 0.0
        from_known = int((number + 1) * share) - int(number * share)  # 1 for that share of the numbers, evenly spread
        before = int(number * share)
        pool, rank = (self.known, before) if from_known else (self.sequences, number - before)
        epoch, rank = divmod(rank, pool)
        return int(self.order(pool, epoch)[rank]) * self.length

    @lru_cache(maxsize=4)  # noqa: B019: a sampler lives as long as its run
    def order(self, pool: int, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 1, pool, epoch]).permutation(pool)

    def batch(self, first: int, rows: int, shift: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Sequences `first` to `first + rows - 1`: tokens int64 [rows, length + 1], first_chunk int64 [rows], neighbours
        int64 [rows, U, 2, 128], and which of them are covering windows, bool like the neighbours' first three axes.
        `shift` is the curriculum's."""
        rng = np.random.default_rng([self.seed, 2, first])
        begin = self.starts(np.arange(first, first + rows))
        tokens = self.stream.tokens[begin[:, None] + np.arange(self.length + 1)].astype(np.int64)
        full = rng.random(rows) < self.mix.full_first_chunk
        first_chunk = np.where(full, CHUNK, rng.integers(1, CHUNK + 1, rows))
        starts, ends, covering, own = self.neighbour_ranges(rng, begin, first_chunk, shift)
        neighbours = self.stream.windows(starts, ends, RETRIEVED)
        if self.counterfactual is not None:
            for row in np.nonzero(rng.random(rows) < self.mix.counterfactual)[0]:
                table = self.counterfactual.permutation(rng)
                tokens[row] = table[tokens[row]]
                neighbours[row] = np.where((covering | own)[row][..., None], table[neighbours[row]], neighbours[row])
        return tokens, first_chunk, neighbours, covering

    def neighbour_ranges(
        self, rng: np.random.Generator, begin: np.ndarray, first_chunk: np.ndarray, shift: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Bounds in the stream of each chunk's neighbours, int64 [rows, U, 2] each, empty where start == end; and which
        are covering windows, and which are others of the same document, bool of the same shape."""
        rows, chunks = len(begin), self.length // CHUNK
        grid = begin[:, None] - CHUNK + first_chunk[:, None] + CHUNK * np.arange(chunks)  # start of each chunk
        # What follows a chunk is to be copied, so its document is that of its last token.
        document = self.stream.document_of(grid + CHUNK - 1)
        starts, ends = self.unrelated(rng, grid, document)
        mix, shape = self.mix, (rows, chunks)
        covering, own = np.zeros(starts.shape, bool), np.zeros(starts.shape, bool)

        share = mix.covering if shift == MAX_SHIFT else mix.covering_at_first
        row, column = np.nonzero(rng.random(shape) < share)
        slot = rng.integers(0, NEIGHBOURS, len(row))
        second = rng.random(len(row))
        twice = second < mix.covering_twice
        for which, place in [(np.ones(len(row), bool), slot), (twice, 1 - slot)]:
            low, high = covering_ranges(self.stream, grid, document, first_chunk, begin, shift, rng)
            at = (row[which], column[which], place[which])
            starts[at], ends[at] = low[at[:2]], high[at[:2]]
            covering[at] = True
        elsewhere = ~twice & (second < mix.covering_twice + mix.own * (1 - mix.covering_twice))
        low, high = own_ranges(self.stream, grid, document, rng)
        at = (row[elsewhere], column[elsewhere], 1 - slot[elsewhere])
        starts[at], ends[at] = low[at[:2]], high[at[:2]]
        own[at] = True

        nothing = (rng.random(shape) < mix.both_empty) | (rng.random(rows) < mix.without)[:, None]
        ends[nothing] = starts[nothing]
        return starts, ends, covering & ~nothing[..., None], own & ~nothing[..., None]

    def unrelated(self, rng: np.random.Generator, grid: np.ndarray, document: np.ndarray):
        """Neighbours from other documents: retrieved where known, else random, sometimes empty."""
        shape = (*grid.shape, NEIGHBOURS)
        starts, ends = random_ranges(self.stream, rng, np.broadcast_to(document[..., None], shape))
        if self.table is not None:
            nearest_starts, nearest_ends = self.table.lookup(self.stream, grid + CHUNK // 2, document, rng)
            use = (nearest_ends > nearest_starts) & (rng.random(shape) < self.mix.retrieved)
            starts, ends = np.where(use, nearest_starts, starts), np.where(use, nearest_ends, ends)
        ends = np.where(rng.random(shape) < self.mix.empty, starts, ends)
        return starts, ends


def own_ranges(
    stream: TokenStream, grid: np.ndarray, document: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A chunk of the same document with its continuation, clear of the chunk and of what follows it; else empty."""
    length = np.maximum(1, stream.ends[document] - stream.starts[document])
    start = stream.starts[document] + rng.integers(0, 2**31, grid.shape) % length // CHUNK * CHUNK
    end = np.minimum(start + RETRIEVED, stream.ends[document])
    clear = (end <= grid) | (start >= grid + RETRIEVED)
    return start, np.where(clear, end, start)


def covering_ranges(
    stream: TokenStream,
    grid: np.ndarray,
    document: np.ndarray,
    first_chunk: np.ndarray,
    begin: np.ndarray,
    shift: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """For each chunk that starts at `grid` [rows, U] a window of its `document` that covers it, shifted."""
    start = grid - rng.integers(-shift, shift + 1, grid.shape)
    # A short first chunk stands at the right end of its grid cell, but may stand anywhere in a database chunk.
    anywhere = begin - rng.integers(0, np.maximum(1, CHUNK + 1 - first_chunk)) * shift // MAX_SHIFT
    moved = (first_chunk < CHUNK) & (rng.random(len(begin)) < 0.5) & (shift > 0)
    start[:, 0] = np.where(moved, anywhere, start[:, 0])
    start = np.maximum(start, stream.starts[document])
    return start, np.maximum(start, np.minimum(start + RETRIEVED, stream.ends[document]))


def random_ranges(
    stream: TokenStream, rng: np.random.Generator, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A random chunk and its continuation for each entry of `own`, from a document that is not `own`; else empty."""
    places = rng.integers(0, len(stream.tokens), own.shape)
    document = stream.document_of(places)
    start = places - (places - stream.starts[document]) % CHUNK
    end = np.maximum(start, np.minimum(start + RETRIEVED, stream.ends[document]))
    return start, np.where(document == own, start, end)
