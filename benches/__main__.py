"""Measures the server and its peers, prints the ratios, and writes the results and the report.

    python -m benches --retro target/release/retro
"""

import argparse
import os
import tempfile
from dataclasses import asdict
from pathlib import Path

from benches import groups, machine, report, shape, tables
from benches.plan import FULL, QUICK
from benches.run import Run
from benches.saved import save

RESULTS = Path("benches/results")
KEPT_OF_MODEL = ("name", "architecture", "parameters", "context", "vocabulary")


def parse() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="python -m benches", description=__doc__.splitlines()[0])
    add = arguments.add_argument
    add("--retro", type=Path, default=Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release/retro", help="the server's binary")
    add("--model", type=Path, default=Path("models/retro-nano"), help="a model folder")
    add("--embedder", type=Path, default=Path("runtime/all-MiniLM-L6-v2"), help="folder of the BERT")
    add("--samples", type=Path, default=Path("samples"), help="folder of texts for the database")
    add("--corpus", type=Path, help="folder of .jsonl or .jsonl.zst, a part of which goes into the database too")
    add("--threads", type=int, default=os.cpu_count(), help="of every program [default: one for each core]")
    add("--quick", action="store_true", help="few and short measurements, to try it; docs/ is left alone")
    add("--only", metavar="GROUPS", help=f"some of {','.join(groups.GROUPS)}; docs/ is left alone")
    add("--out", type=Path, help=f"file of the results [default: in {RESULTS}, named after the threads]")
    add("--docs", type=Path, help="folder of performance.md and images/ [default: docs]")
    return arguments.parse_args()


def main() -> None:
    options = parse()
    plan = QUICK if options.quick else FULL
    chosen = options.only.split(",") if options.only else list(groups.GROUPS)
    if unknown := [name for name in chosen if name not in groups.GROUPS]:
        raise SystemExit(f"bench: there is no {', '.join(unknown)}: {', '.join(groups.GROUPS)}")
    trial = options.quick or options.only
    out = options.out or RESULTS / ("trial.json" if trial else f"cpu-{options.threads}-threads.json")
    docs = options.docs or (RESULTS / "trial" if trial else Path("docs"))
    with tempfile.TemporaryDirectory() as work:
        kept = ("threads", "model", "embedder", "samples", "corpus", "retro")
        run = Run(plan=plan, work=Path(work), **{name: getattr(options, name) for name in kept})
        results = measure(run, chosen, out)
    page = report.write(results, docs)
    print(f"\n{tables.bar_table(results)}\n")
    for one in results["left_out"]:
        print(f"left out: {one['what']}: {one['why']}")
    print(f"{out}, {page}")


def measure(run: Run, chosen: list[str], out: Path) -> dict:
    about = machine.about()
    if about["busy_before"]:
        run.say(f"others use {100 * about['busy_before']:.0f} % of the processor")
    manifest = shape.manifest(run.model)
    results = {
        "format": 1,
        "file": out.as_posix(),
        "plan": run.plan.name,
        "rounds": {name: asdict(run.plan)[name] for name in ("rounds", "bar_rounds")},
        "about": {
            "machine": about,
            "threads": run.threads,
            "precision": run.precision,
            "model": {name: manifest[name] for name in KEPT_OF_MODEL},
            "database": run.start_server(),
            "server": run.engine.about,
        },
        "left_out": run.left_out,
        "groups": {},
    }
    for name in chosen:
        if name in groups.NEED_SERVER and not run.has_server:
            continue
        run.say(f"{name}: {groups.GROUPS[name].__doc__.splitlines()[0]}")
        results["groups"][name] = groups.GROUPS[name](run)
        save(results, out)
    results["about"]["busy_after"] = machine.busy()
    save(results, out)
    return results


if __name__ == "__main__":
    main()
