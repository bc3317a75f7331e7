"""The pictures of the card."""

from pathlib import Path

from training.report.results import Results
from training.report.tables import of_variant

STEPS = [
    ("(a) retrieval off", "without_retrieval"),
    ("(b) documents there", "with_the_documents"),
    ("(c) new value after edit", "new_after_edit"),
    ("(c) old value after edit", "old_after_edit"),
    ("(d) after deletion", "after_deletion"),
]


def pyplot():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def perplexity(results: Results, target: Path) -> None:
    """By share of the database on the left, by number of neighbours on the right; retrieval off is a dotted line of the text's colour."""
    plt = pyplot()
    reports = of_variant(results)
    figure, (shares, neighbours) = plt.subplots(1, 2, figsize=(11, 5), sharey=True, layout="constrained")
    for number, (text, report) in enumerate(reports.items()):
        colour = f"C{number}"
        for axes in (shares, neighbours):
            axes.axhline(report["without_retrieval"], color=colour, linestyle=":", linewidth=1.2, label=f"{text}, retrieval off")
        draw(shares, report["by_share"], "share", f"{text}, evaluated and other documents", color=colour, marker="o")
        draw(neighbours, report["by_neighbours"], "neighbours", f"{text}, evaluated documents", color=colour, marker="o")
        if collection := report["collection"]:
            style = {"color": colour, "marker": "s", "linestyle": "--"}
            draw(shares, collection["by_share"], "share", f"{text}, {collection['name']}", **style)
            draw(neighbours, collection["by_neighbours"], "neighbours", f"{text}, {collection['name']}", **style)
    for axes, lines, name, title in [
        (shares, "by_share", "share", "share of the database"),
        (neighbours, "by_neighbours", "neighbours", "neighbours of a chunk"),
    ]:
        places = [line[name] for line in next(iter(reports.values()))[lines]]
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(places, [f"1/{1 / place:g}" if place < 1 else f"{place:g}" for place in places])
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.tick_params(axis="y", which="both", labelsize=8)
        axes.set(xlabel=title, title=f"Perplexity by {title}")
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
    figure.savefig(target, dpi=100, facecolor="white")
    plt.close(figure)


def draw(axes, lines: list[dict], place: str, label: str, **style) -> None:
    axes.plot([line[place] for line in lines], [line["perplexity"] for line in lines], label=label, linewidth=1.4, markersize=4, **style)


def facts(report: dict, target: Path) -> None:
    """Shares of the facts, by wording, through the steps of the evaluation."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(8.5, 3.8), layout="constrained")
    width = 0.38
    for number, (wording, label) in enumerate([("same", "the document's wording"), ("other", "another wording")]):
        values = [report[wording][field]["percent"] or 0 for _, field in STEPS]
        bars = axes.bar([at + (number - 0.5) * width for at in range(len(STEPS))], values, width, label=label, color=f"C{number}")
        axes.bar_label(bars, fmt="%.0f", fontsize=8)
    axes.set_xticks(range(len(STEPS)), [name for name, _ in STEPS], fontsize=8)
    axes.set(ylabel="% of the facts", ylim=(0, 105), title="Invented facts: what the model gave")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(target, dpi=100, facecolor="white")
    plt.close(figure)
