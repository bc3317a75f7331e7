"""What is expected of a run, and its figures in docs/operations.md.

    python -m benches.load.report benches/results/NAME.json
"""

import argparse
import json
from pathlib import Path

from benches.load.mix import POSTED
from benches.saved import circumstances, filled

LEAST_GOODPUT = 0.90  # of the capacity
MOST_GROWTH = 0.10  # of the memory, from the first tenth of the time to the last
# What completions that are accepted take, at 99 %: the queue bounds it, so it does not grow. The same, in thirds: it varies from minute to minute.
MOST_SLOWDOWN = 0.25

NAMES = {"complete": "completions, whole", "stream": "completions, streamed", "retrieve": "`/v1/retrieve`", "post": "documents"}


def judge(results: dict) -> list[dict]:
    """Each expectation with its figure and whether it is met."""
    capacity, overload = results["capacity"]["goodput"], results["overload"]
    share = overload["overall"]["goodput"] / capacity
    worst = min(minute["goodput"] for minute in overload["minutes"]) / capacity
    errors = sum(overload["overall"]["errors"].values())
    growth = grown([size for _, size in overload["memory"]], 10)
    slowest = [minute["kinds"][kind]["p99_seconds"] for minute in overload["minutes"] for kind in ("complete", "stream")]
    slowdown = grown([seconds for seconds in slowest if seconds is not None], 3)
    return [
        {"what": f"goodput is at least {LEAST_GOODPUT:.0%} of the capacity", "figure": f"{share:.0%}, in the worst minute {worst:.0%}",
         "met": share >= LEAST_GOODPUT},
        {"what": "every other answer is 429 with `retry-after`", "figure": f"{errors} were not", "met": errors == 0},
        {"what": f"what 99 % of the accepted completions take grows by at most {MOST_SLOWDOWN:.0%} from the first third to the last",
         "figure": f"{slowdown:+.1%}", "met": slowdown <= MOST_SLOWDOWN},
        {"what": f"memory grows by at most {MOST_GROWTH:.0%} from the first tenth to the last", "figure": f"{growth:+.1%}",
         "met": growth <= MOST_GROWTH},
    ]


def grown(values: list[float], parts: int) -> float:
    """How much larger values are, on average, in the last of so many parts than in the first; nothing where there are none."""
    size = max(1, len(values) // parts)
    first, last = values[:size], values[-size:]
    return (sum(last) / len(last)) / (sum(first) / len(first)) - 1 if values else 0.0


def compose(results: dict) -> str:
    about, capacity, overload = results["about"], results["capacity"], results["overload"]
    machine, overall = about["machine"], overload["overall"]
    minutes = overall["seconds"] / 60
    rows = [
        "| | at its capacity: answered a second | in, median | 99 % | at twice that: offered a second | answered | refused | in, median | 99 % |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for kind, figures in overall["kinds"].items():
        before = capacity["measured"]["kinds"][kind]
        rows.append(
            f"| {NAMES[kind]} | {before['good_per_second']:.1f} | {seconds(before['p50_seconds'])} | {seconds(before['p99_seconds'])} "
            f"| {figures['offered_per_second']:.1f} | {figures['good_per_second']:.1f} | {figures['refused_share']:.0%} "
            f"| {seconds(figures['p50_seconds'])} | {seconds(figures['p99_seconds'])} |"
        )
    judged = ["| expected | found | |", "|---|---|---|"]
    judged += [f"| {one['what']} | {one['figure']} | {'yes' if one['met'] else '**no**'} |" for one in results["judged"]]
    megabytes = [size / 2**20 for _, size in overload["memory"]]
    text = [
        f"`make load` wrote these figures from `{results['file']}`; `python -m benches.load.report` writes them again from there. Measured on "
        f"{machine['processor']}, {machine['cores']} cores, {about['threads']} threads, {machine['memory_bytes'] / 2**30:.0f} GiB of memory, "
        f"no GPU, with the client on the same machine. " + " ".join(circumstances(results)),
        f"Of the requests 30 % are completions of 32 to 128 tokens with retrieval, 30 % the same as streams, 30 % look-ups and 10 % documents of 2 "
        f"to 6 KB ({POSTED} ids in turn, so that the database stays as large). With {capacity['clients']} clients that wait for their answers the "
        f"server gives {capacity['goodput']:.1f} good answers a second, and with more clients no more. Then for {minutes:.0f} minutes "
        f"{overload['rate']:.1f} requests a second come, {overload['rate'] / capacity['goodput']:.1f} times as many, at random moments and "
        f"whatever becomes of those before:",
        "\n".join(rows),
        "\n".join(judged),
        f"In all {overall['goodput']:.1f} good answers a second. The kinds do not share alike: look-ups and documents are cheap, and have places of "
        f"their own. Of completions {completions(overall):.1f} a second are answered, and at its capacity "
        f"{completions(capacity['measured']):.1f}; those that are accepted wait their turn in a queue that is always full (`max_queue`), which is "
        f"what they take longer. The server's memory was {min(megabytes):.0f} to {max(megabytes):.0f} MiB. `/livez` was answered in "
        f"{seconds(overload['health']['p50_seconds'])} (median) and {seconds(overload['health']['longest_seconds'])} (the longest of "
        f"{overload['health']['asked']}).",
    ]
    return "\n\n".join(text)


def completions(summary: dict) -> float:
    """A second, whole or streamed."""
    return sum(summary["kinds"][kind]["good_per_second"] for kind in ("complete", "stream"))


def seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"


def write(results: dict, page: Path) -> bool:
    """Whether the page has a place for the figures; nothing is written else."""
    text = filled(page.read_text(), compose(results)) if page.exists() else None
    if text is not None:
        page.write_text(text)
    return text is not None


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benches.load.report", description=__doc__.splitlines()[0])
    arguments.add_argument("results", type=Path)
    arguments.add_argument("--docs", type=Path, default=Path("docs/operations.md"))
    options = arguments.parse_args()
    if not write(json.loads(options.results.read_text()), options.docs):
        raise SystemExit(f"load: {options.docs} has no place for figures")


if __name__ == "__main__":
    main()
