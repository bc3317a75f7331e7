"""Offers the server twice what it can take, and judges what it makes of that. Needs Python and nothing else.

    python -m benches.load --retro target/release/retro --minutes 30
"""

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

from benches import machine
from benches.database.retro import Retro
from benches.database.server import Server
from benches.load import phases, report
from benches.load.client import Client
from benches.load.mix import Mix
from benches.saved import save
from benches.worker import PeerError

RESULTS = Path("benches/results")
# Below this the figures are a trial's.
FULL_MINUTES = 10.0
# Of a step of the search for the capacity: as long as a figure of some percent takes.
STEP_SECONDS = (5.0, 30.0)


def parse() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="python -m benches.load", description=__doc__.splitlines()[0])
    add = arguments.add_argument
    add("--retro", type=Path, default=Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release/retro", help="the server's binary")
    add("--minutes", type=float, default=30.0, help="how long more is offered than the server can take [default: 30]")
    add("--model", type=Path, default=Path("models/retro-nano"), help="a model folder")
    add("--samples", type=Path, default=Path("samples"), help="folder of texts for the database and the requests")
    add("--threads", type=int, default=os.cpu_count(), help="of the server [default: one for each core]")
    add("--seed", type=int, default=0, help="of the requests and their moments")
    add("--out", type=Path, help=f"file of the results [default: in {RESULTS}, named after the threads]")
    add("--docs", type=Path, default=Path("docs/operations.md"), help="page to fill with the figures; left alone in a run of under 10 minutes")
    return arguments.parse_args()


def say(text: str) -> None:
    print(text, flush=True)


async def measure(server: Server, options: argparse.Namespace) -> dict:
    client = Client(server.address)
    load = phases.Load(server, Mix(options.samples, options.seed), client, say)
    step = min(max(options.minutes, STEP_SECONDS[0]), STEP_SECONDS[1])
    say("how much it can take:")
    capacity = await load.capacity(step)
    rate = phases.TIMES * capacity["goodput"]
    say(f"{options.minutes:g} minutes of {rate:.1f} requests/s:")
    overload = await load.overload(rate, 60 * options.minutes, options.seed)
    await client.close()
    return {"capacity": capacity, "overload": overload}


def main() -> None:
    options = parse()
    is_full = options.minutes >= FULL_MINUTES
    out = options.out or RESULTS / (f"load-{options.threads}-threads.json" if is_full else "load-trial.json")
    about = {"machine": machine.about(), "threads": options.threads, "minutes": options.minutes, "seed": options.seed}
    retro = Retro(options.retro, options.threads, options.model)
    try:
        with tempfile.TemporaryDirectory() as data:
            retro.call("ingest", Path(data), options.samples)
            with Server(retro, Path(data), "--log-level", "warn") as server:
                measured = asyncio.run(measure(server, options))
                said = server.said()
    except PeerError as error:
        raise SystemExit(f"load: {error}") from None
    about["busy_after"] = machine.busy()
    results = {"file": str(out), "plan": "full" if is_full else "short", "about": about} | measured
    results["log_errors"] = sum(" ERROR " in line for line in said.splitlines())
    results["judged"] = report.judge(results)
    save(results, out)
    if is_full and not report.write(results, options.docs):
        say(f"{options.docs} has no place for figures")
    for one in results["judged"]:
        say(f"{'yes' if one['met'] else 'NO '}  {one['what']}: {one['figure']}")
    for error, count in measured["overload"]["overall"]["errors"].items():
        say(f"{count} x {error}")
    say(f"the results are in {out}")
    sys.exit(not all(one["met"] for one in results["judged"]))


if __name__ == "__main__":
    main()
