"""Tables of the report, in Markdown."""

from benches import bars, groups
from benches.spread import Spread, ratio, spread
from benches.turns import rates

NONE = "–"


def table(head: list[str], rows: list[list[str]], text_columns: int = 1) -> str:
    if not rows:
        return ""
    rule = ["---"] * text_columns + ["---:"] * (len(head) - text_columns)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *rows])


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def between(found: Spread) -> str:
    if found.low == found.high:
        return figure(found.median)
    return f"{figure(found.median)} ({figure(found.low)} to {figure(found.high)})"


def percent(share: Spread) -> str:
    return f"{100 * share.median:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"


def bar_table(results: dict) -> str:
    rows = []
    for one in bars.bars(results):
        measured = f"{between(one.measured)} {one.unit}"
        compared = f"{between(one.compared)} {one.unit}"
        times = f"**{figure(one.ratio.median)}** ({figure(one.ratio.low)} to {figure(one.ratio.high)})"
        rows.append([one.what, measured, one.against, compared, times])
    return table(["what", "measured", "compared with", "measured", "ratio"], rows, text_columns=3)


def limit_table(results: dict) -> str:
    rows = []
    for one in bars.limits(results):
        rows.append([one.what, f"{between(one.measured)} {one.unit}", one.limit, f"{between(one.at_most)} {one.unit}", percent(one.share)])
    return table(["what", "measured", "at most", "measured", "share"], rows, text_columns=3)


def machine_table(results: dict) -> str:
    group = results["groups"]["limits"]
    cases, buffers, rows = group.get("cases", {}), group.get("buffers", {}), []
    for name in ("weights", "memory"):
        for way in ("sum", "max", "copy"):
            if name in cases:
                reached = spread([record[way] / 1e9 for record in cases[name]])
                rows.append([f"{way}, a buffer of {buffers[name] / 1e6:.0f} MB", between(reached), "GB/s"])
    for kind in ("fp32", "int8"):
        if kind in cases:
            rows.append([f"products of 512 rows, {kind}", between(spread(bars.best(cases[kind]))), "GFLOP/s"])
    return table(["what", "at most", "unit"], rows)


def fill_table(group: dict) -> str:
    """Tokens a second, and where the difference comes from."""
    known = (groups.RETRO_PYTORCH, groups.RECOMPUTE, groups.server("fp32"), groups.server("int8"))
    names = [name for name in known if any(name in point["cases"] for point in group["points"])]
    head = ["context", *names, "gain of the runtime", "gain of the caches", "gain of int8"]
    rows = []
    for point in group["points"]:
        cases = point["cases"]
        gains = [
            gain(cases, groups.RECOMPUTE, groups.RETRO_PYTORCH) if group["same_weights"] else NONE,
            gain(cases, groups.server("fp32"), groups.RECOMPUTE),
            gain(cases, groups.server("int8"), groups.server("fp32")),
        ]
        rows.append([str(point["context"]), *(speed(cases, name) for name in names), *gains])
    return table(head, rows)


def speed(cases: dict, name: str) -> str:
    return between(spread(rates(cases[name]))) if cases.get(name) else NONE


def gain(cases: dict, above: str, below: str) -> str:
    if not cases.get(above) or not cases.get(below):
        return NONE
    return between(ratio(rates(cases[above]), rates(cases[below])))


def completion_table(group: dict) -> str:
    first = next(iter(group["cases"]), None)
    base = groups.OFF if groups.OFF in group["cases"] else first
    rows = [[name, speed(group["cases"], name), gain(group["cases"], name, base)] for name in group["cases"]]
    return table(["case", "tokens/s", f"over {base}"], rows)


def batch_table(group: dict) -> str:
    rows = []
    alone = {point["prompt"]: point["cases"] for point in group["points"] if point["batch"] == 1}
    for point in group["points"]:
        cases = point["cases"]
        over = [against(cases.get(name), alone.get(point["prompt"], {}).get(name)) for name in (groups.OFF, groups.SEARCH)]
        cells = [speed(cases, groups.OFF), over[0], speed(cases, groups.SEARCH), over[1], gain(cases, groups.SEARCH, groups.OFF), memory(cases)]
        rows.append([str(point["prompt"]), str(point["batch"]), *cells])
    head = ["prompt", "at once", "tokens/s, off", "over one", "tokens/s, search", "over one", "search over off", "memory, MB"]
    return table(head, rows, text_columns=0)


def against(above: list[dict] | None, below: list[dict] | None) -> str:
    return figure(spread(rates(above)).median / spread(rates(below)).median) if above and below else NONE


def memory(cases: dict) -> str:
    sizes = [record["resident_bytes"] for records in cases.values() for record in records if record.get("resident_bytes")]
    return f"{max(sizes) / 1e6:.0f}" if sizes else NONE


def neighbour_table(group: dict) -> str:
    none = next(iter(group["cases"]), None)
    rows = []
    for name, records in group["cases"].items():
        searching = [record["retrieval_ms"] for record in records if "retrieval_ms" in record]
        rows.append([name, speed(group["cases"], name), gain(group["cases"], name, none), between(spread(searching)) if searching else NONE])
    return table(["neighbours", "tokens/s", f"over {none}", "retrieval, ms"], rows)


def long_table(points: list[dict]) -> str:
    rows = []
    for point in points:
        cases = point["cases"]
        waits = [record["first_token_ms"] for record in cases.get(groups.SEARCH, [])]
        cells = [speed(cases, groups.OFF), speed(cases, groups.SEARCH), gain(cases, groups.SEARCH, groups.OFF)]
        rows.append([str(point["prompt"]), *cells, between(spread(waits)) if waits else NONE])
    return table(["prompt", "tokens/s, off", "tokens/s, neighbours given", "over off", "first token, ms"], rows)


def first_token_table(group: dict) -> str:
    rows = []
    for record_part, name in (("bert", "BERT over its chunks"), ("lower", "lower"), ("encoder", "encoder"), ("upper", "upper, slice by slice")):
        records = group["cases"].get(groups.BARE, [])
        if records:
            rows.append([name, between(spread([1000 * record[record_part] for record in records]))])
    for case, part, name in (
        (groups.SERVER, "first_token_ms", "the server"),
        (groups.SERVER, "retrieval_ms", "in which it waits for neighbours"),
        (groups.GIVEN, "first_token_ms", "the server, neighbours given: neither BERT nor search"),
    ):
        records = group["cases"].get(case)
        if records:
            rows.append([name, between(spread([record[part] for record in records]))])
    return table(["part", "ms"], rows)
