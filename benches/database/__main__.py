"""Measures the database, prints what was reached of what is wanted, and writes the results and the figures of docs/database.md.

    python -m benches.database --retro target/release/retro --corpus FOLDER
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benches import machine
from benches.database import ingest, posts, report, rows, tables
from benches.database.plan import FULL, QUICK
from benches.database.retro import Retro
from benches.database.run import Run
from benches.database.texts import Corpus
from benches.saved import save
from benches.worker import PeerError

RESULTS = Path("benches/results")
GROUPS = ("ingest", "search", "growth", "posts")
BY_ROWS = {"search", "growth"}


def numbers(text: str) -> tuple[int, ...]:
    return tuple(sorted({int(part.replace("_", "")) for part in text.split(",")}))


def parse() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="python -m benches.database", description=__doc__.splitlines()[0])
    add = arguments.add_argument
    add("--retro", type=Path, default=Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release/retro", help="the server's binary")
    add("--corpus", type=Path, required=True, help="folder with train*.jsonl and valid.jsonl, or .jsonl.zst")
    add("--model", type=Path, default=Path("models/retro-nano"), help="a model folder")
    add(
        "--work",
        type=Path,
        default=Path("~/.cache/retro-server/database-bench").expanduser(),
        help="folder for embeddings, which are kept [default: ~/.cache/retro-server/database-bench]",
    )
    add("--rows", type=numbers, metavar="N,N", help="chunks of a collection; a million take more than an hour to embed on two cores, once")
    add("--only", metavar="GROUPS", help=f"some of {','.join(GROUPS)}; the others stay in the file of results as they are")
    add("--threads", type=int, default=os.cpu_count(), help="of every program [default: one for each core]")
    add("--quick", action="store_true", help="few and short measurements, to try it; docs/ is left alone")
    add("--out", type=Path, help=f"file of the results [default: in {RESULTS}, named after the threads]")
    add("--docs", type=Path, help="page to fill with the figures [default: docs/database.md]")
    return arguments.parse_args()


def main() -> None:
    options = parse()
    plan = QUICK if options.quick else FULL
    chosen = options.only.split(",") if options.only else list(GROUPS)
    if unknown := [name for name in chosen if name not in GROUPS]:
        raise SystemExit(f"bench: there is no {', '.join(unknown)}: {', '.join(GROUPS)}")
    out = options.out or RESULTS / ("database-trial.json" if options.quick else f"database-{options.threads}-threads.json")
    options.work.mkdir(parents=True, exist_ok=True)
    # As Ctrl-C does, for servers to end and scratch files, which may be gigabytes, to go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Beside what is kept: it needs as much room, and /tmp may be memory.
    with tempfile.TemporaryDirectory(dir=options.work, prefix="run-") as scratch:
        run = Run(
            plan=plan,
            rows=options.rows or plan.rows,
            threads=options.threads,
            model=options.model,
            corpus=Corpus(options.corpus),
            retro=Retro(options.retro, options.threads, options.model),
            work=options.work,
            scratch=Path(scratch),
        )
        results = measure(run, chosen, out, fresh=not options.only)
    print(f"\n{tables.bar_table(results)}\n")
    for one in results["left_out"]:
        print(f"left out: {one['what']}: {one['why']}")
    print(out)
    page = options.docs or (None if options.quick else Path("docs/database.md"))
    if page:
        print(page if report.write(results, page) else f"{page} is left alone: it is not there, or has no place for figures")


def measure(run: Run, chosen: list[str], out: Path, fresh: bool) -> dict:
    about = machine.about()
    if about["busy_before"]:
        run.say(f"others use {100 * about['busy_before']:.0f} % of the processor")
    results = {
        "format": 1,
        "file": out.as_posix(),
        "plan": run.plan.name,
        "rounds": run.plan.rounds,
        "about": {"machine": about, "threads": run.threads, "embedder": embedder(run)},
        "left_out": run.left_out,
        "groups": {} if fresh else earlier(out, run.plan.name),
    }

    def save_group(name: str, group: dict) -> None:
        results["groups"][name] = group
        save(results, out)

    for what in (("ingest",), ("search", "growth"), ("posts",)):
        if names := [name for name in what if name in chosen]:
            run.say(", ".join(names))
            attempt(run, names, save_group)
    results["about"]["busy_after"] = machine.busy()
    save(results, out)
    return results


def attempt(run: Run, names: list[str], save_group: Callable[[str, dict], None]) -> None:
    """A group that fails costs only itself."""
    try:
        if BY_ROWS & set(names):
            rows.measure(run, set(names), save_group)
        else:
            save_group(names[0], {"ingest": ingest, "posts": posts}[names[0]].measure(run))
    except PeerError as error:
        run.leave_out(", ".join(names), str(error))


def embedder(run: Run) -> dict | None:
    try:
        return {"identity": run.identity.embedder, "precision": run.identity.precision, "dimension": run.identity.dimension}
    except PeerError as error:
        raise SystemExit(f"bench: {error}") from None


def earlier(out: Path, plan: str) -> dict:
    """Groups of the file that is there, if it is of the same plan."""
    if not out.exists():
        return {}
    found = json.loads(out.read_text())
    return found["groups"] if found["plan"] == plan else {}


if __name__ == "__main__":
    main()
