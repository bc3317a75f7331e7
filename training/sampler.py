"""Training batches: sequences of the stream, a chunk grid for each, and neighbours for each chunk of the grid.

A neighbour is a half-open range of the stream, so that a whole batch of them is one gather. Kinds of neighbour:

* covering: a window of the chunk's own document that holds the chunk and what comes after it. This is what a database
  that knows the text returns, and it teaches copying. It is shifted against the chunk by up to +-32 tokens, for a
  database's chunks do not begin where the grid's do. The range of the shift grows from 0 while the model keeps up (see
  Curriculum): copying is learned first at a fixed distance, then by content.
* retrieved: one of the nearest chunks of other documents (training.neighbours), where they are known.
* random: a chunk of another document. It and `retrieved` teach to ignore what does not help.
* empty.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.neighbour_table import NeighbourTable
from training.stream import TokenStream

CHUNK = 64
RETRIEVED = 128
NEIGHBOURS = 2
MAX_SHIFT = 32


@dataclass(frozen=True)
class Mix:
    """Shares of the training mix."""

    covering: float = 0.5  # of chunks
    covering_at_first: float = 0.7  # of chunks, while the curriculum goes on
    both_empty: float = 0.1  # of chunks
    without: float = 0.05  # of sequences
    full_first_chunk: float = 0.5  # of sequences; the others begin with a chunk of 1 to 64 tokens
    retrieved: float = 0.75  # of the neighbours that are not covering, where the nearest are known
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
    def __init__(self, stream: TokenStream, length: int = 512, seed: int = 0, mix: Mix | None = None):
        self.stream, self.length, self.seed, self.mix = stream, length, seed, mix or Mix()
        self.table: NeighbourTable | None = None
        self.sequences = (len(stream.tokens) - 1) // length

    def load_neighbours(self, path: Path) -> bool:
        """Use the retrieved neighbours in `path`; False if there are none yet."""
        if self.table is None and path.exists():
            self.table = NeighbourTable.open(path)
        return self.table is not None

    def starts(self, first: int, rows: int) -> np.ndarray:
        """Stream places of sequences `first` to `first + rows - 1` of the run, each once an epoch: int64 [rows]."""
        places = []
        for number in range(first, first + rows):
            epoch, rank = divmod(number, self.sequences)
            order = np.random.default_rng([self.seed, 1, epoch]).permutation(self.sequences)
            places.append(order[rank] * self.length)
        return np.asarray(places)

    def batch(self, step: int, rows: int, shift: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """tokens int64 [rows, length + 1], first_chunk int64 [rows], neighbours int64 [rows, U, 2, 128], and which
        of them are covering windows, bool like the neighbours' first three axes. `shift` is the curriculum's."""
        rng = np.random.default_rng([self.seed, 2, step])
        begin = self.starts(step * rows, rows)
        tokens = self.stream.tokens[begin[:, None] + np.arange(self.length + 1)].astype(np.int64)
        full = rng.random(rows) < self.mix.full_first_chunk
        first_chunk = np.where(full, CHUNK, rng.integers(1, CHUNK + 1, rows))
        starts, ends, covering = self.neighbour_ranges(rng, begin, first_chunk, shift)
        return tokens, first_chunk, self.stream.windows(starts, ends, RETRIEVED), covering

    def neighbour_ranges(
        self, rng: np.random.Generator, begin: np.ndarray, first_chunk: np.ndarray, shift: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bounds in the stream of each chunk's neighbours, int64 [rows, U, 2] each, empty where start == end; and which
        are covering windows, bool of the same shape."""
        rows, chunks = len(begin), self.length // CHUNK
        grid = begin[:, None] - CHUNK + first_chunk[:, None] + CHUNK * np.arange(chunks)  # start of each chunk
        # What follows a chunk is to be copied, so its document is that of its last token.
        document = self.stream.document_of(grid + CHUNK - 1)
        starts, ends = self.unrelated(rng, grid, document)

        mix, shape = self.mix, (rows, chunks)
        low, high = covering_ranges(self.stream, grid, document, first_chunk, begin, shift, rng)
        share = mix.covering if shift == MAX_SHIFT else mix.covering_at_first
        row, column = np.nonzero(rng.random(shape) < share)
        slot = rng.integers(0, NEIGHBOURS, len(row))
        starts[row, column, slot], ends[row, column, slot] = low[row, column], high[row, column]
        covering = np.zeros(starts.shape, bool)
        covering[row, column, slot] = True
        nothing = (rng.random(shape) < mix.both_empty) | (rng.random(rows) < mix.without)[:, None]
        ends[nothing] = starts[nothing]
        return starts, ends, covering & ~nothing[..., None]

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
