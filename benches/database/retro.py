"""The server's commands, and what they print."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benches.worker import PeerError

REPORT = re.compile(
    r"(?P<documents>\d+) documents ready, (?P<failed>\d+) failed, (?P<skipped>\d+) skipped, (?P<unchanged>\d+) unchanged, "
    r"in (?P<seconds>[\d.]+) s \((?P<documents_per_second>[\d.]+) documents and (?P<chunks_per_second>[\d.]+) chunks a second\)"
)
WHOLE = ("documents", "failed", "skipped", "unchanged")
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Ended:
    """A command that came to its end. The figures are of its whole process."""

    output: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    def process(self) -> dict:
        return {"process_seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "peak_bytes": self.peak_bytes}


class Retro:
    """`settings` are those that every command is given."""

    def __init__(self, binary: Path, threads: int, model: Path):
        self.binary = binary
        self.settings = ["--device", "cpu", "--threads", str(threads), "--model", str(model)]

    def command(self, name: str, data_dir: Path, *arguments: object) -> list[str]:
        return [str(self.binary), name, *self.settings, "--data-dir", str(data_dir), *map(str, arguments)]

    def call(self, name: str, data_dir: Path, *arguments: object) -> Ended:
        if not self.binary.exists():
            raise PeerError(f"there is no {self.binary}: `make build` builds it")
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            begin = time.perf_counter()
            process = subprocess.Popen(self.command(name, data_dir, *arguments), stdout=output, stderr=errors)
            # Unlike `Popen.wait`, it tells what the process used.
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - begin
            process.returncode = os.waitstatus_to_exitcode(status)
            for file in (output, errors):
                file.seek(0)
            if process.returncode:
                said = errors.read().strip().splitlines() or ["it said nothing"]
                raise PeerError(f"`retro {name}` ended with code {process.returncode}: {said[-1]}")
            return Ended(output.read(), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * RSS_UNIT)

    def embed(self, data_dir: Path, paths: list[Path], *arguments: object) -> dict:
        """`data_dir` is an empty folder, for no database to say what the embedder computes in."""
        ended = self.call("embed", data_dir, "--json", *paths, *arguments)
        return one_object("embed", ended.output) | ended.process()

    def ingest(self, data_dir: Path, paths: list[Path], *arguments: object) -> dict:
        ended = self.call("ingest", data_dir, *paths, *arguments)
        return read_report(ended.output) | ended.process()

    def load(self, data_dir: Path, file: Path, collection: str) -> dict:
        """`retro import`."""
        return self.call("import", data_dir, file, "--collection", collection).process()

    def index(self, data_dir: Path, collection: str, *arguments: object) -> tuple[dict, list[dict]]:
        """What was built, and what was measured."""
        return read_index(self.call("index", data_dir, "--json", collection, *arguments).output)


def read_report(output: str) -> dict:
    """The last line of `retro ingest`."""
    found = REPORT.search(output.strip().rpartition("\n")[2])
    if not found:
        raise PeerError("`retro ingest` ended without its report")
    report = {name: int(value) if name in WHOLE else float(value) for name, value in found.groupdict().items()}
    if report["failed"] or report["skipped"]:
        raise PeerError(f"`retro ingest` left out {report['failed'] + report['skipped']} documents")
    return report


def objects(command: str, output: str) -> list[dict]:
    try:
        return [json.loads(line) for line in output.splitlines() if line.strip()]
    except json.JSONDecodeError as error:
        raise PeerError(f"what `retro {command}` prints is no JSON: {error}") from None


def one_object(command: str, output: str) -> dict:
    found = objects(command, output)
    if len(found) != 1:
        raise PeerError(f"`retro {command}` prints {len(found)} objects instead of one")
    return found[0]


def read_index(output: str) -> tuple[dict, list[dict]]:
    found = objects("index", output)
    if not found or "seconds" not in found[0] or any("recall" not in record for record in found[1:]):
        raise PeerError("`retro index` prints other figures than were expected")
    return found[0], found[1:]
