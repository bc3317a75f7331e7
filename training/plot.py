"""The curves of a run: `losses.csv` and `held_out.csv` of its folder -> `losses.png`."""

import csv
from pathlib import Path

POINTS = 150  # of a training curve; more are averaged, or the noise of single steps hides the curve
TRAINING = ("covered", "uncovered", "fact_values")
NOT_MEASURES = ("step", "tokens", "seconds")


def number(text: str | None) -> float | None:
    """None where a run had nothing to measure."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def read(path: Path) -> list[dict[str, float | None]]:
    """The lines of a log in the order of their steps; none if there is no such file.

    A run that was stopped after its last checkpoint does some steps again: what it logged of them first is left out.
    """
    if not path.exists():
        return []
    whole, _, _ = path.read_text().rpartition("\n")  # a run that is under way may be writing the last line
    rows = [{name: number(text) for name, text in row.items()} for row in csv.DictReader(whole.splitlines())]
    kept: list[dict[str, float | None]] = []
    for row in rows:
        while kept and kept[-1]["step"] >= row["step"]:
            kept.pop()
        kept.append(row)
    return kept


def series(rows: list[dict], column: str, points: int | None = None) -> tuple[list[float], list[float]]:
    """Million tokens and values of `column` where there are any, averaged down to about `points`."""
    pairs = [(row["tokens"] / 1e6, row[column]) for row in rows if row.get(column) is not None]
    size = -(-len(pairs) // points) if points and pairs else 1
    groups = [pairs[at : at + size] for at in range(0, len(pairs), size)]
    return tuple([sum(pair[axis] for pair in group) / len(group) for group in groups] for axis in (0, 1))


def plot(run: Path, target: Path | None = None) -> None:
    """Losses on the left, shares of the invented facts on the right if they were measured. Writes `target`, or `losses.png` of the run."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    training, held_out = read(run / "losses.csv"), read(run / "held_out.csv")
    measures = [column for column in (held_out[-1] if held_out else {}) if column not in NOT_MEASURES]
    facts = [column for column in measures if column.startswith("facts_") and series(held_out, column)[0]]
    figure, panels = plt.subplots(1, 2 if facts else 1, figsize=(11 if facts else 7.5, 4.8), squeeze=False, layout="constrained")
    losses = panels[0][0]
    for column in TRAINING:
        draw(losses, *series(training, column, POINTS), f"training, {name(column)}", linewidth=1, alpha=0.8)
    for column in measures:
        if not column.startswith("facts_"):
            draw(losses, *series(held_out, column), f"held out, {name(column)}", linewidth=1.2, marker="o", markersize=3)
    finish(losses, "Loss", "nats a token")
    if facts:
        for column in facts:
            tokens, shares = series(held_out, column)
            wording = f"{name(column.removeprefix('facts_'))} wording"
            draw(panels[0][1], tokens, [100 * share for share in shares], wording, linewidth=1.2, marker="o", markersize=3)
        finish(panels[0][1], "Invented facts read from their document, held out", "%")
        panels[0][1].set_ylim(0, 100)
    figure.savefig(target or run / "losses.png", dpi=100, facecolor="white")
    plt.close(figure)


def name(column: str) -> str:
    return column.replace("_", " ")


def draw(axes, x: list[float], y: list[float], label: str, **style) -> None:
    if x:
        axes.plot(x, y, label=label, **style)


def finish(axes, title: str, unit: str) -> None:
    axes.set(title=title, xlabel="million tokens", ylabel=unit)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False)
