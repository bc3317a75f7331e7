"""What has to be reached, and what was."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benches.database import ingest, rows
from benches.spread import Spread, ratio, spread

ROWS = 1_000_000  # chunks of the collection that the bars of a search are for


@dataclass(frozen=True)
class Bar:
    what: str
    value: Spread
    unit: str
    bar: float
    at_least: bool

    @property
    def met(self) -> bool:
        value = self.value.median
        return value >= self.bar if self.at_least else value <= self.bar


def bars(results: dict) -> list[Bar]:
    groups = results["groups"]
    return [*of_ingest(groups.get("ingest")), *of_search(groups.get("search")), *of_posts(groups.get("posts"))]


def rates(records: Sequence[dict] | None) -> list[float]:
    return [record["chunks_per_second"] for record in records or ()]


def of_ingest(group: dict | None) -> list[Bar]:
    if not group:
        return []
    found = [over("documents taken in, over the embedder alone", group["cases"], ingest.INGEST, ingest.EMBED, 0.9)]
    cases = group["embedder"]["cases"]
    for precision, bar in (("fp32", 1.15), ("int16", 2.0)):
        found.append(over(f"embedder in {precision}, over {ingest.SENTENCES}", cases, precision, ingest.SENTENCES, bar))
    if same := group["same"]:
        found.append(Bar("queries for which int16 and fp32 find the same neighbours", value(same["share"]), "", 0.97, True))
    return [bar for bar in found if bar]


def over(what: str, cases: dict, above: str, below: str, bar: float) -> Bar | None:
    """None where one of them was left out."""
    if not cases.get(above) or not cases.get(below):
        return None
    return Bar(what, ratio(rates(cases[above]), rates(cases[below])), "times", bar, True)


def of_search(group: dict | None) -> list[Bar]:
    found = []
    for point in group["points"] if group else ():
        records = point["cases"].get(rows.SERVER)
        if point["rows"] < ROWS:
            continue
        size = f"{point['rows']:,} chunks"
        if records:
            found += [
                Bar(f"{size}: nearest neighbours found", of(records, "recall"), "", 0.97, True),
                Bar(f"{size}: search, p50", of(records, "p50_ms"), "ms", 5, False),
                Bar(f"{size}: search, p99", of(records, "p99_ms"), "ms", 20, False),
            ]
        found.append(Bar(f"{size}: memory of the server, at most", value(point["serving"]["peak_bytes"] / 2**30), "GiB", 2, False))
    return found


def of_posts(group: dict | None) -> list[Bar]:
    if not group:
        return []
    kept = group["kept"]
    lost = kept["missing"] + kept["twice"] + kept["unknown"] + kept["documents"] - kept["ready"]
    return [
        Bar("posts: documents that are missing, there twice or not ready", value(lost), "", 0, False),
        Bar("posts: share of documents that their own text finds", value(kept["found"] / kept["sample"]), "", 1, True),
        Bar("posts: fragments just after the last one", value(fragments(group["after"])), "", 99, False),
        Bar("posts: a search meanwhile, p99", value(group["searches"]["p99_ms"]), "ms", 50, False),
        Bar("posts: disk after a rest, over one ingest", value(group["rested"]["disk_bytes"] / group["at_once"]["disk_bytes"]), "times", 2, False),
    ]


def fragments(state: dict) -> int:
    """Files stand for the parts where the server does not count them; there are at least as many."""
    return state["files"] if state["fragments"] is None else state["fragments"]


def of(records: Sequence[dict], name: str) -> Spread:
    return spread([record[name] for record in records])


def value(number: float) -> Spread:
    return Spread(number, number, number)


def against(cases: dict, above: str, below: str, of_record: Callable[[dict], float]) -> Spread | None:
    if not cases.get(above) or not cases.get(below):
        return None
    return ratio([of_record(record) for record in cases[above]], [of_record(record) for record in cases[below]])
