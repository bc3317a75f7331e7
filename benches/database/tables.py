"""Tables of the report, in Markdown."""

from benches.database import bars, ingest, rows
from benches.database.bars import of
from benches.spread import Spread, spread
from benches.tables import NONE, between, figure, table

MIB = 2**20


def bar_table(results: dict) -> str:
    lines = []
    for bar in bars.bars(results):
        limit = f"{'at least' if bar.at_least else 'at most'} {number(bar.bar)}"
        lines.append([bar.what, f"{exact(bar.value)} {bar.unit}".strip(), f"{limit} {bar.unit}".strip(), "yes" if bar.met else "**no**"])
    return table(["what", "measured", "bar", "met"], lines)


def number(value: float) -> str:
    return f"{value:g}"


def exact(found: Spread) -> str:
    """Shares need more places than other figures; counts none."""
    if found.median == int(found.median) and found.low == found.high:
        return f"{found.median:,.0f}"
    if max(found.low, found.median, found.high) <= 1:
        return f"{found.median:.3f}" if found.low == found.high else f"{found.median:.3f} ({found.low:.3f} to {found.high:.3f})"
    return between(found)


def ingest_table(group: dict) -> str:
    lines = []
    for name, what in ((ingest.EMBED, "the embedder alone"), (ingest.INGEST, "`retro ingest`")):
        if records := group["cases"].get(name):
            process = [record["chunks"] / record["process_seconds"] for record in with_process(group, records)]
            lines.append([what, between(spread(bars.rates(records))), between(spread(process)) if process else NONE])
    return table(["what", "chunks/s", "chunks/s of the whole process"], lines)


def with_process(group: dict, records: list[dict]) -> list[dict]:
    return [record | {"chunks": group["chunks"]} for record in records if "process_seconds" in record]


def embedder_table(group: dict) -> str:
    cases, lines = group["cases"], []
    for name in (*ingest.PRECISIONS, ingest.SENTENCES):
        if records := cases.get(name):
            over = bars.against(cases, name, ingest.SENTENCES, lambda record: record["chunks_per_second"])
            lines.append([name, between(spread(bars.rates(records))), between(over) if over else NONE])
    return table(["embedder", "chunks/s", f"over {ingest.SENTENCES}"], lines)


def search_table(group: dict) -> str:
    lines = []
    for point in group["points"]:
        cases = point["cases"]
        for name, records in cases.items():
            over = bars.against(cases, name, rows.SERVER, lambda record: record["p50_ms"])
            built = point["build"] if name == rows.SERVER else point["peers"][name]
            lines.append(
                [
                    f"{point['rows']:,}",
                    name,
                    settings(point, name),
                    exact(of(records, "recall")),
                    between(of(records, "p50_ms")),
                    between(of(records, "p99_ms")),
                    between(over) if over else NONE,
                    figure(built["seconds"]),
                    figure(built["seconds"] / point["build"]["seconds"]),
                    f"{built['bytes'] / MIB:,.1f}",
                    f"{built['bytes'] / point['build']['bytes']:.2f}",
                ]
            )
    head = ["chunks", "index", "searched with", "recall", "p50, ms", "p99, ms", "p50 over the server's"]
    head += ["build, s", "over the server's", "MiB", "over the server's"]
    return table(head, lines, text_columns=3)


def settings(point: dict, name: str) -> str:
    chosen = point["settings"] if name == rows.SERVER else point["peers"][name]["settings"]
    return ", ".join(f"{what.replace('_', ' ')} {value}" for what, value in chosen.items())


def serving_table(group: dict) -> str:
    lines = []
    for point in group["points"]:
        served = point["serving"]
        memory = [f"{served[name] / MIB:,.0f}" for name in ("resident_bytes", "peak_bytes")]
        lines.append([f"{point['rows']:,}", *memory, figure(served["p50_ms"]), figure(served["p99_ms"])])
    return table(["chunks", "memory, MiB", "at most, MiB", "p50, ms", "p99, ms"], lines, text_columns=0)


def growth_table(group: dict) -> str:
    lines = []
    for point in group["points"]:
        cases, best = point["cases"], point["best"]
        rates = [between(spread(bars.rates(cases[name]))) if cases.get(name) else NONE for name in (rows.FILLED, rows.EMPTY)]
        over = bars.against(cases, rows.FILLED, rows.EMPTY, lambda record: record["chunks_per_second"])
        lines.append(
            [
                f"{point['rows']:,}",
                figure(best["p50_ms"]),
                f"{best['recall']:.3f}",
                *rates,
                between(over) if over else NONE,
                figure(point["build"]["seconds"]),
                f"{point['build']['bytes'] / point['rows']:,.0f}",
                f"{point['build']['disk_bytes'] / point['rows']:,.0f}",
            ]
        )
    head = ["chunks", "search p50, ms", "recall", "ingestion, chunks/s", "into an empty folder", "over it"]
    head += ["index, s", "bytes a chunk", "with the catalogue"]
    return table(head, lines, text_columns=0)


def post_table(group: dict) -> str:
    lines = []
    for name, what in (("after", "just after the last post"), ("rested", "after a rest"), ("at_once", "the same by one `retro ingest`")):
        state = group[name]
        counted = f"{bars.fragments(state):,}" if "files" in state else NONE
        over = state["disk_bytes"] / group["at_once"]["disk_bytes"]
        lines.append([what, counted, f"{state['disk_bytes'] / MIB:,.1f}", f"{over:.2f}"])
    return table(["when", "fragments", "disk, MiB", "over one ingest"], lines)
