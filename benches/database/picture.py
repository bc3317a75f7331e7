"""The picture of the report: docs/images/database-growth.png."""

from pathlib import Path

from benches.database import rows
from benches.spread import Spread, spread

NAME = "database-growth.png"


def draw(results: dict, folder: Path) -> bool:
    """Whether there was something to draw."""
    points = (results["groups"].get("growth") or {"points": []})["points"]
    if not points:
        return False
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
    for part, (title, values) in zip(axes.flat, curves(points).items(), strict=False):
        for label, found in values.items():
            spreads = list(found.values())
            errors = [[one.median - one.low for one in spreads], [one.high - one.median for one in spreads]]
            style = {"marker": "o", "markersize": 4, "linewidth": 1.2, "capsize": 2}
            part.errorbar(list(found), [one.median for one in spreads], yerr=errors, label=label, **style)
        part.set(title=title, xlabel="chunks in the collection", xscale="log")
        part.set_xticks([point["rows"] for point in points], [f"{point['rows']:,}" for point in points])
        part.minorticks_off()
        part.set_ylim(0, 1.1 * max(one.high for found in values.values() for one in found.values()))
        part.grid(alpha=0.3)
        if len(values) > 1:
            part.legend(fontsize=8, frameon=False)
    figure.savefig(folder / NAME, dpi=100, facecolor="white")
    plt.close(figure)
    return True


def curves(points: list[dict]) -> dict[str, dict[str, dict[int, Spread]]]:
    """By the title of a panel and the label of a line: a value for each number of rows."""

    def single(value) -> dict[int, Spread]:
        return {point["rows"]: spread([value(point)]) for point in points}

    def rate(case: str) -> dict[int, Spread]:
        there = [point for point in points if point["cases"].get(case)]
        return {point["rows"]: spread([record["chunks_per_second"] for record in point["cases"][case]]) for point in there}

    ingestion = {"into the collection": rate(rows.FILLED), "into an empty folder": rate(rows.EMPTY)}
    panels = {
        "search, p50, ms": {"index": single(lambda point: point["best"]["p50_ms"])},
        "ingestion, chunks/s": {label: found for label, found in ingestion.items() if found},
        "building the index, s": {"index": single(lambda point: point["build"]["seconds"])},
        "bytes on the disk a chunk": {
            "database": single(lambda point: point["build"]["bytes"] / point["rows"]),
            "with the catalogue": single(lambda point: point["build"]["disk_bytes"] / point["rows"]),
        },
    }
    return {title: lines for title, lines in panels.items() if any(lines.values())}
