"""One run of `make bench`: what it has to work with, and what it had to leave out."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benches import shape
from benches.engine import Engine, Point
from benches.plan import SEED, Plan
from benches.turns import Case, in_turns, rate
from benches.worker import PeerError, Worker

# How OpenMP's threads wait for each other: by its default they spin, which is quicker on an idle machine and far slower on a busy one.
WAITING = {"spinning": {}, "sleeping": {"OMP_WAIT_POLICY": "PASSIVE"}}
CORPUS_FILES = ("*.jsonl", "*.jsonl.zst")


@dataclass
class Run:
    plan: Plan
    threads: int
    model: Path
    embedder: Path
    samples: Path
    corpus: Path | None
    retro: Path
    work: Path  # a temporary folder
    left_out: list[dict] = field(default_factory=list)

    def __post_init__(self):
        variants = shape.manifest(self.model)["variants"]
        self.precision = "int8" if "int8" in variants else "fp32"  # as the server chooses on a processor
        self.variants = sorted(variants)
        self.context = shape.manifest(self.model)["context"]
        self.engine = Engine(self.retro, self.threads, self.work / "data", self.embedder, self.samples)
        self.has_server = True

    def say(self, text: str) -> None:
        print(text, flush=True)

    def leave_out(self, what: str, why: str) -> None:
        for place, name in ((str(self.work), "WORK"), (sys.executable, "python"), (str(Path.cwd()), "."), (str(Path.home()), "~")):
            why = why.replace(place, name)
        self.say(f"left out: {what}: {why}")
        self.left_out.append({"what": what, "why": why})

    @contextmanager
    def worker(self, name: str, module: str, **settings) -> Iterator[Worker | None]:
        """The peer, or None where it cannot start."""
        try:
            worker = Worker(f"benches.peers.{module}", self.threads, seed=SEED, **settings)
        except PeerError as error:
            self.leave_out(name, str(error))
            yield None
            return
        with worker:
            yield worker

    @contextmanager
    def quicker_worker(self, name: str, module: str, probe: dict, **settings) -> Iterator[Worker | None]:
        """The peer with its threads waiting in the way that makes `probe` quicker; `about` says which."""
        speeds: dict[str, float] = {}
        for waiting, environment in WAITING.items():
            with self.worker(name, module, environment=environment, **settings) as worker:
                if worker is None:
                    yield None
                    return
                worker.measure(**probe)
                speeds[waiting] = rate(worker.measure(**probe))
        chosen = max(speeds, key=speeds.get)
        self.say(f"  {name}: threads {chosen}, of " + ", ".join(f"{way} {speed:.1f} tokens/s" for way, speed in speeds.items()))
        with self.worker(name, module, environment=WAITING[chosen], **settings) as worker:
            if worker:
                worker.about["waiting"] = chosen
            yield worker

    def point(self, **changes) -> Point:
        return Point(**{"model": self.model, "precision": self.precision, "tokens": self.plan.tokens, **changes})

    def server(self, **changes) -> Case | None:
        point = self.point(**changes)
        return (lambda: self.engine.measure(point)) if self.has_server else None

    def in_turns(self, cases: dict[str, Case | None], rounds: int) -> dict[str, list[dict]]:
        there = {name: case for name, case in cases.items() if case}
        return in_turns(there, rounds, self.leave_out, self.say)

    def start_server(self) -> dict | None:
        """Fills the database and tries the command once, so that a missing one is told once."""
        try:
            database = self.fill_database()
            self.engine.measure(self.point(tokens=1))
        except PeerError as error:
            self.leave_out("this server", str(error))
            self.has_server = False
            return None
        return database

    def fill_database(self) -> dict:
        """The samples, and the first documents of the corpus. Returns what went in."""
        paths, size = [self.samples], sum(file.stat().st_size for file in self.samples.iterdir())
        if self.corpus and self.plan.corpus_bytes:
            part = self.work / "corpus.jsonl"
            size += first_documents(self.corpus, part, self.plan.corpus_bytes)
            paths.append(part)
        self.say(f"ingesting {size / 1e6:.1f} MB of text")
        self.engine.ingest(self.model, paths)
        return {"bytes": size, "corpus": len(paths) > 1}


def first_documents(folder: Path, target: Path, most: int) -> int:
    """Copies documents of the folder's JSON lines, files in the order of their names, until there are `most` bytes."""
    files = sorted(file for pattern in CORPUS_FILES for file in folder.glob(pattern))
    if not files:
        raise SystemExit(f"{folder} has no {' and no '.join(CORPUS_FILES)}")
    written = 0
    with target.open("w") as out:
        for file in files:
            with ExitStack() as opened:
                for line in lines(file, opened):
                    if written >= most:
                        return written
                    document = {"text": json.loads(line)["text"]}
                    written += out.write(json.dumps(document) + "\n")
    return written


def lines(file: Path, opened: ExitStack) -> Iterator[str]:
    raw = opened.enter_context(file.open("rb"))
    if file.suffix == ".zst":
        import zstandard

        raw = opened.enter_context(zstandard.ZstdDecompressor().stream_reader(raw))
    return opened.enter_context(io.TextIOWrapper(raw, encoding="utf-8"))


def import_weights(checkpoint: Path, like: Path, folder: Path) -> None:
    """A model folder of retro-pytorch's weights, by the importer's command line, with the tokenizer and the embedder of `like`."""
    embedder = shape.manifest(like)["embedder"]
    named = {
        "checkpoint": checkpoint,
        "tokenizer": like / "tokenizer.json",
        "embedder": embedder["name"],
        "embedder-dimension": embedder["dimension"],
        "out": folder,
    }
    command = [sys.executable, "-m", "training.importers.retro_pytorch"]
    command += [text for name, value in named.items() for text in (f"--{name}", str(value))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerError(f"the importer ended with code {done.returncode}: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
