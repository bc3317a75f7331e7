"""Plot the loss log: `losses.csv` and `held_out.csv` of the work folder -> `losses.png`."""

import csv
from pathlib import Path


def plot(work: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5))
    for name, columns in [("losses.csv", ["covered", "uncovered"]), ("held_out.csv", None)]:
        if not (work / name).exists():
            continue
        with open(work / name) as file:
            rows = list(csv.DictReader(file))
        for column in columns or [c for c in rows[0] if c not in ("step", "tokens", "seconds")]:
            points = [(int(row["tokens"]) / 1e6, float(row[column])) for row in rows if row[column]]
            label = f"training, {column}" if columns else f"held out, {column.replace('_', ' ')}"
            axes.plot(*zip(*points, strict=True), label=label, linewidth=1, marker=None if columns else ".") if points else None
    axes.set(xlabel="million tokens", ylabel="nats a token", title="Loss")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(work / "losses.png", dpi=110)
    plt.close(figure)
