"""Pictures of the report: docs/images/performance-*.png."""

from pathlib import Path

from benches import groups
from benches.spread import Spread, spread
from benches.turns import rates


def draw(results: dict, folder: Path) -> list[str]:
    """Names of the pictures that there was something to draw for."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, paint in (("contexts", contexts), ("batches", batches), ("retrieval", retrieval)):
        figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
        if paint(axes, results["groups"]):
            file = f"performance-{name}.png"
            figure.savefig(folder / file, dpi=100, facecolor="white")
            written.append(file)
        plt.close(figure)
    return written


def contexts(axes, measured: dict) -> bool:
    points = (measured.get("fills") or {"points": []})["points"]
    names = list(dict.fromkeys(name for point in points for name in point["cases"]))
    for name in names:
        found = {point["context"]: spread(rates(point["cases"][name])) for point in points if point["cases"].get(name)}
        line(axes, found, name)
    if names:
        axes.set_yscale("log")
        title = "A completion that fills a context, from a prompt of 64 tokens"
        finish(axes, title, "context, tokens", [point["context"] for point in points])
    return bool(names)


def batches(axes, measured: dict) -> bool:
    points = (measured.get("batches") or {"points": []})["points"]
    drawn = False
    for color, prompt in enumerate(dict.fromkeys(point["prompt"] for point in points)):
        for name in (groups.OFF, groups.SEARCH):
            own = [point for point in points if point["prompt"] == prompt and point["cases"].get(name)]
            found = {point["batch"]: spread(rates(point["cases"][name])) for point in own}
            label = f"prompt of {prompt}, {'retrieval off' if name == groups.OFF else 'with retrieval'}"
            drawn |= line(axes, found, label, linestyle="--" if name == groups.OFF else "-", color=f"C{color}")
    if drawn:
        finish(axes, "Completions at once, all their tokens together", "completions at once", sorted({p["batch"] for p in points}))
    return drawn


def retrieval(axes, measured: dict) -> bool:
    cases = (measured.get("neighbours") or {"cases": {}})["cases"]
    found = {f"{name} neighbours" if name != "1" else "1 neighbour": spread(rates(records)) for name, records in cases.items()}
    others = (measured.get("completions") or {"cases": {}})["cases"]
    for name in (groups.INTERVAL, groups.PREFETCH):
        if others.get(name):
            found[name] = spread(rates(others[name]))
    if not found:
        return False
    names, values = list(found), list(found.values())
    errors = [[value.median - value.low for value in values], [value.high - value.median for value in values]]
    axes.barh(names, [value.median for value in values], xerr=errors, color="tab:blue", ecolor="black", capsize=3)
    axes.invert_yaxis()
    axes.set(title="One completion: what retrieval costs", xlabel="tokens/s")
    axes.grid(axis="x", alpha=0.3)
    return True


def line(axes, found: dict[int, Spread], label: str, **style) -> bool:
    if not found:
        return False
    values = list(found.values())
    errors = [[value.median - value.low for value in values], [value.high - value.median for value in values]]
    style = {"marker": "o", "markersize": 4, "linewidth": 1.2, "capsize": 2} | style
    axes.errorbar(list(found), [value.median for value in values], yerr=errors, label=label, **style)
    return True


def finish(axes, title: str, x: str, ticks: list[int]) -> None:
    axes.set(title=title, xlabel=x, ylabel="tokens/s")
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
