"""The server's own `retro bench`, one point at a time."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benches.worker import PeerError

NEEDED = ("batch", "prompt_tokens", "new_tokens", "seconds", "first_token_ms")
LISTS = ("seconds", "first_token_ms", "retrieval_ms", "prefill_ms", "decode_ms", "fairness", "resident_bytes")
FIXED = ("batch", "prompt_tokens", "neighbours", "interval", "source")


@dataclass(frozen=True)
class Point:
    """`source` is `off`, `search` or `provided`."""

    model: Path
    precision: str = "auto"
    batch: int = 1
    prompt: int = 64
    tokens: int = 256
    neighbours: int = 2
    source: str = "off"
    interval: int = 64
    prefetch: bool = False

    def flags(self) -> list[str]:
        off = self.source == "off" or self.neighbours == 0
        named = {
            "model": self.model,
            "precision": self.precision,
            "batches": self.batch,
            "contexts": self.prompt,
            "tokens": self.tokens,
            "neighbours": 0 if off else self.neighbours,
            "intervals": self.interval,
        }
        named |= {} if off else {"source": self.source}
        flags = [text for name, value in named.items() for text in (f"--{name}", str(value))]
        return flags + ["--prefetch"] * self.prefetch


def read(text: str) -> tuple[dict, list[dict]]:
    """What the program says of itself, and its records."""
    about, records = {}, []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            message = json.loads(line)
        except json.JSONDecodeError as error:
            raise PeerError(f"line {number} of `retro bench` is no JSON: {error}") from None
        if "about" in message:
            about = message["about"]
            continue
        if missing := [name for name in NEEDED if name not in message]:
            raise PeerError(f"line {number} of `retro bench` has no {', '.join(missing)}")
        records.append(message)
    return about, records


def record(message: dict) -> dict:
    """A case as one run, the median of those that were measured. `tokens` are those of all completions."""
    fixed = {name: message[name] for name in FIXED if name in message}
    return fixed | {name: median(message[name]) for name in LISTS if message.get(name)} | {"tokens": median(message["new_tokens"])}


class Engine:
    def __init__(self, binary: Path, threads: int, data_dir: Path, embedder: Path, texts: Path):
        self.binary, self.about = binary, {}
        places = ["--data-dir", str(data_dir), "--embedder", str(embedder)]
        self.settings = ["--device", "cpu", "--threads", str(threads), *places]
        self.bench_settings = ["--text", str(texts)]

    def measure(self, point: Point) -> dict:
        self.about, records = read(self.call("bench", "--json", "--repeat", "1", *self.bench_settings, *point.flags()))
        if len(records) != 1:
            raise PeerError(f"`retro bench` gives {len(records)} records for one case")
        return record(records[0]) | {"asked": point.batch * point.tokens, "precision": self.about.get("precision", point.precision)}

    def ingest(self, model: Path, paths: list[Path]) -> None:
        self.call("ingest", "--model", str(model), *map(str, paths))

    def call(self, command: str, *arguments: str) -> str:
        if not self.binary.exists():
            raise PeerError(f"there is no {self.binary}: `make build` builds it")
        done = subprocess.run([self.binary, command, *self.settings, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it said nothing"]
            raise PeerError(f"`retro {command}` ended with code {done.returncode}: {lines[0]}")
        return done.stdout
