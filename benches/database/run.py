"""One run: what it has to work with, and what it had to leave out."""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benches import shape, turns
from benches.database.plan import Plan
from benches.database.retro import Retro
from benches.database.server import Server
from benches.database.texts import Chunker, Corpus
from benches.worker import PeerError, Worker


@dataclass(frozen=True)
class Identity:
    """What the chunks and embeddings of this server are made with."""

    tokenizer: str
    embedder: str
    precision: str
    dimension: int
    neighbour_length: int
    continuation_length: int

    def short(self) -> str:
        """For names of files: the start of the hash, and what follows it."""
        weights, _, kind = self.embedder.partition("-")
        return "-".join(part for part in (weights[:12], kind or self.precision) if part)


@dataclass
class Run:
    plan: Plan
    rows: tuple[int, ...]
    threads: int
    model: Path
    corpus: Corpus
    retro: Retro
    work: Path  # what is kept for the next run
    scratch: Path  # what is not
    left_out: list[dict] = field(default_factory=list)

    @cached_property
    def chunker(self) -> Chunker:
        return Chunker(self.model / "tokenizer.json")

    @cached_property
    def identity(self) -> Identity:
        manifest = shape.manifest(self.model)
        with Server(self.retro, self.folder("identity")) as server, server.client() as client:
            embedder = client.get("/v1/info")["embedder"]
        return Identity(
            tokenizer=hashlib.sha256((self.model / "tokenizer.json").read_bytes()).hexdigest(),
            embedder=embedder["identity"],
            **{name: embedder[name] for name in ("precision", "dimension")},
            **{name: manifest[name] for name in ("neighbour_length", "continuation_length")},
        )

    def folder(self, name: str) -> Path:
        """A new one, for one measurement."""
        number = 0
        while (made := self.scratch / f"{name}-{number}").exists():
            number += 1
        made.mkdir(parents=True)
        return made

    def say(self, text: str) -> None:
        print(text, flush=True)

    def leave_out(self, what: str, why: str) -> None:
        for place, name in (
            (str(self.scratch), "SCRATCH"),
            (str(self.work), "WORK"),
            (sys.executable, "python"),
            (str(Path.cwd()), "."),
            (str(Path.home()), "~"),
        ):
            why = why.replace(place, name)
        self.say(f"left out: {what}: {why}")
        self.left_out.append({"what": what, "why": why})

    @contextmanager
    def worker(self, name: str, module: str, **settings) -> Iterator[Worker | None]:
        """The peer, or None where it cannot start."""
        try:
            worker = Worker(f"benches.database.{module}", self.threads, **settings)
        except PeerError as error:
            self.leave_out(name, str(error))
            yield None
            return
        with worker:
            yield worker

    def in_turns(self, cases: dict[str, turns.Case]) -> dict[str, list[dict]]:
        return turns.in_turns(cases, self.plan.rounds, self.leave_out, self.say)
