"""The ratios that a reader asks for first, from the results of a run."""

from collections.abc import Callable
from dataclasses import dataclass

from benches import groups
from benches.spread import Spread, ratio, spread
from benches.turns import rate

Records = list[dict]


@dataclass(frozen=True)
class Bar:
    """Two measurements of one group, and the first over the second."""

    what: str
    measured: Spread
    against: str
    compared: Spread
    unit: str
    ratio: Spread


def bar(
    what: str, above: Records | None, against: str, below: Records | None, value: Callable[[dict], float] = rate, unit: str = "tokens/s"
) -> Bar | None:
    """None where one of them was left out."""
    if not above or not below:
        return None
    high, low = [value(record) for record in above], [value(record) for record in below]
    return Bar(what, spread(high), against, spread(low), unit, ratio(high, low))


def bars(results: dict) -> list[Bar]:
    measured = results["groups"]
    found = [*fills(measured.get("fills")), *completions(measured.get("completions")), first_token(measured.get("first_token"))]
    return [one for one in found if one]


def fills(group: dict | None) -> list[Bar | None]:
    found = []
    for point in group["points"] if group else []:
        cases = point["cases"]
        for variant in ("fp32", "int8"):
            what = f"completion that fills a context of {point['context']}, {variant}{'' if group['same_weights'] else ', other weights'}"
            found.append(bar(what, cases.get(groups.server(variant)), groups.RETRO_PYTORCH, cases.get(groups.RETRO_PYTORCH)))
    return found


def completions(group: dict | None) -> list[Bar | None]:
    if not group:
        return []
    cases, streams = group["cases"], group["streams"]
    off, search = cases.get(groups.OFF), cases.get(groups.SEARCH)
    peer, peer_records = best_llama(cases)
    return [
        bar("one completion, with retrieval", search, f"{peer}, which retrieves nothing", peer_records),
        bar("one completion, retrieval off", off, peer, peer_records),
        bar(f"{streams} completions at once, with retrieval", cases.get(groups.STREAMS_SEARCH), "one, with retrieval", search),
        bar(f"{streams} completions at once, retrieval off", cases.get(groups.STREAMS_OFF), "one, retrieval off", off),
        bar(f"{group['tokens']} tokens with {groups.NEIGHBOURS} neighbours", search, "retrieval off", off),
        bar("the same, searched every 16 tokens", cases.get(groups.INTERVAL), "retrieval off", off),
        bar("the same, searched every 16 tokens, prefetched", cases.get(groups.PREFETCH), "retrieval off", off),
    ]


def best_llama(cases: dict[str, Records]) -> tuple[str, Records]:
    """At the number of threads that serves it best."""
    found = {name: records for name, records in cases.items() if name.startswith(groups.LLAMA)}
    if not found:
        return groups.LLAMA, []
    name = max(found, key=lambda name: spread([rate(record) for record in found[name]]).median)
    return name, found[name]


def first_token(group: dict | None) -> Bar | None:
    if not group:
        return None

    def milliseconds(record: dict) -> float:
        return record.get("first_token_ms") or 1000 * bare_seconds(record)

    cases, what = group["cases"], f"first token after a prompt of {group['prompt']}, with retrieval"
    return bar(what, cases.get(groups.SERVER), "the bare runs of the graphs", cases.get(groups.BARE), milliseconds, "ms")


def bare_seconds(record: dict) -> float:
    return sum(record[part] for part in ("bert", "lower", "encoder", "upper"))


@dataclass(frozen=True)
class Limit:
    """What was reached, what the machine can do at most, and the share."""

    what: str
    measured: Spread
    limit: str
    at_most: Spread
    unit: str
    share: Spread


def limits(results: dict) -> list[Limit]:
    """What was reached of what the machine can do."""
    measured, precision = results["groups"], results["about"]["precision"]
    machine = measured.get("limits") or {}
    cases, found = machine.get("cases", {}), []
    off = (measured.get("completions") or {"cases": {}})["cases"].get(groups.OFF)
    if off:
        read = spread([decode_rate(record) for record in off]).scaled(machine["decode_bytes"][precision] / 1e9)
        for name, text in (("weights", "a buffer of their size"), ("memory", "a buffer beyond the caches")):
            if name in cases:
                found.append(limit("weights read in decode", read, f"{text}, read", best(cases[name]), "GB/s"))
    first = measured.get("first_token") or {"cases": {}}
    given = first["cases"].get(groups.GIVEN)
    if given and first.get("operations"):
        done = spread([first["operations"] / 1e6 / record["first_token_ms"] for record in given])
        for kind in ("fp32", "int8"):
            if kind in cases:
                what = f"operations of a prompt of {first['prompt']} tokens with neighbours given, {precision}"
                found.append(limit(what, done, f"large products, {kind}", best(cases[kind]), "GFLOP/s"))
    return found


def best(records: Records) -> list[float]:
    """Of each record, the quickest way, in thousand millions."""
    return [max(record.values()) / 1e9 for record in records]


def decode_rate(record: dict) -> float:
    """Tokens a second after the first token."""
    return (record["tokens"] - record["batch"]) / (record["decode_ms"] / 1000)


def limit(what: str, reached: Spread, name: str, values: list[float], unit: str) -> Limit:
    most = spread(values)
    # The two are of different groups, not of the same rounds.
    share = Spread(reached.median / most.median, reached.low / most.high, reached.high / most.low)
    return Limit(what, reached, name, most, unit, share)
