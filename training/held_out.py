"""Held-out measures: losses on the beginnings of documents that were not trained on, with five kinds of neighbours, and how
many values of invented facts are read from the facts' documents."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from training.device import Device
from training.fact_rows import FactRows, Tokens
from training.facts import evaluation_facts
from training.model import Retro
from training.neighbour_table import NeighbourTable
from training.sampler import CHUNK, MAX_SHIFT, RETRIEVED, covering_ranges, random_ranges
from training.stream import TokenStream

KINDS = ["none", "random", "retrieved", "covering", "covering_shifted"]
FACTS = ["facts_same", "facts_other"]
HELD_OUT_ROWS = 64  # sequences with known neighbours
HELD_OUT_CHUNKS = 8
HELD_OUT_FACTS = 160


def held_out_starts(stream: TokenStream) -> np.ndarray:
    """Starts of the held-out sequences: the beginnings of documents long enough, int64 [rows]."""
    return stream.beginnings(HELD_OUT_CHUNKS * CHUNK + 1)[:HELD_OUT_ROWS]


class HeldOut:
    """`rows` sequences of 512 tokens on the paper's grid (first chunk full)."""

    def __init__(self, work: Path, rows: int, tokenizer: Tokenizer, seed: int = 7):
        self.work = work
        self.valid, self.train = TokenStream.open(work, "valid"), TokenStream.open(work, "train")
        rng = np.random.default_rng(seed)
        begin = held_out_starts(self.valid)[:rows]
        rows, length = len(begin), HELD_OUT_CHUNKS * CHUNK
        self.tokens = torch.from_numpy(self.valid.tokens[begin[:, None] + np.arange(length + 1)].astype(np.int64))
        self.first_chunk = torch.full((rows,), CHUNK)
        grid = begin[:, None] + CHUNK * np.arange(HELD_OUT_CHUNKS)
        document = self.valid.document_of(grid)
        random = random_ranges(self.train, rng, np.full((rows, HELD_OUT_CHUNKS, 2), -1))
        self.neighbours = {"none": None, "random": self.train.windows(*random, RETRIEVED)}
        for kind, shift in [("covering", 0), ("covering_shifted", MAX_SHIFT)]:
            full = np.full(rows, CHUNK)
            cover = covering_ranges(self.valid, grid, document, full, begin, shift, rng)
            mixed = self.neighbours["random"].copy()
            mixed[:, :, 0] = self.valid.windows(*cover, RETRIEVED)
            self.neighbours[kind] = mixed
        facts = FactRows(tokenizer, iter(()), self.train)
        self.facts = [(fact.wording, Tokens(tokenizer, fact)) for fact in evaluation_facts(seed, HELD_OUT_FACTS)]
        self.fact_neighbours = [facts.best_neighbours(rng, tokens) for _, tokens in self.facts]

    def load_retrieved(self) -> None:
        """The nearest chunks of the training database, once training.neighbours has found them."""
        path = self.work / "valid.neighbours.npz"
        if "retrieved" not in self.neighbours and path.exists():
            table = NeighbourTable.open(self.work / "train.neighbours.npz")
            nearest = np.load(path)["nearest"][: len(self.tokens) * HELD_OUT_CHUNKS, :2]
            windows = self.train.windows(*table.ranges(nearest.astype(np.int64)), RETRIEVED)
            self.neighbours["retrieved"] = windows.reshape(len(self.tokens), HELD_OUT_CHUNKS, 2, RETRIEVED)

    @torch.no_grad()
    def measures(self, model: Retro, device: Device, autocast: bool = True, batch: int = 8) -> dict[str, float]:
        """Mean negative log-likelihood a token, nats, over all positions, for each kind of neighbours at hand; and the
        share of facts whose value is the greedy continuation."""
        self.load_retrieved()
        result = {}
        for kind in KINDS:
            if kind not in self.neighbours:
                continue
            total = 0.0
            for at in range(0, len(self.tokens), batch):
                rows = slice(at, at + batch)
                given = self.neighbours[kind]
                given = None if given is None else torch.from_numpy(given[rows]).to(device.device)
                tokens, first_chunk = self.tokens[rows].to(device.device), self.first_chunk[rows].to(device.device)
                with device.autocast(autocast):
                    logits = model(tokens[:, :-1], first_chunk, given)
                loss = F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum")
                total += loss.item()
            result[kind] = total / self.tokens[:, 1:].numel()
        right = {"same": [], "other": []}
        for at in range(0, len(self.facts), batch):
            some = self.facts[at : at + batch]
            tokens = np.zeros((len(some), RETRIEVED), np.int64)
            for row, (_, fact) in enumerate(some):
                tokens[row, : len(fact.prompt + fact.value)] = fact.prompt + fact.value
            first_chunk = np.asarray([len(fact.prompt) for _, fact in some])
            given = np.stack(self.fact_neighbours[at : at + batch])[:, None]
            with device.autocast(autocast):
                logits = model(*device.put((tokens, first_chunk, given)))
            best = logits.argmax(-1).cpu().numpy()
            for row, (wording, fact) in enumerate(some):
                begin = len(fact.prompt) - 1
                right[wording].append(best[row, begin : begin + len(fact.value)].tolist() == fact.value)
        return result | {f"facts_{wording}": float(np.mean(found)) for wording, found in right.items() if found}
