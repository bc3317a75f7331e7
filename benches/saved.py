"""Results of a run as a file, and what its report says of the run itself."""

import json
from pathlib import Path

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def save(results: dict, out: Path) -> None:
    """After every group: a stop late in a run costs only the rest of it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    partial.write_text(json.dumps(results, indent=1) + "\n")
    partial.replace(out)


def circumstances(results: dict) -> list[str]:
    """Sentences on what else ran, and on how much was measured."""
    shares = [results["about"]["machine"]["busy_before"], results["about"].get("busy_after")]
    told = []
    if all(share is not None for share in shares):
        told.append(f"Others used {100 * shares[0]:.0f} % of the processor just before the run and {100 * shares[1]:.0f} % just after it.")
    if results["plan"] != "full":
        told.append(f"**This was a {results['plan']} run: few and short measurements.**")
    return told


def filled(page: str, figures: str) -> str | None:
    """The page with other figures; None if it has no place for them, or several."""
    lines = page.split("\n")
    if lines.count(BEGIN) != 1 or lines.count(END) != 1 or lines.index(BEGIN) > lines.index(END):
        return None
    return "\n".join([*lines[: lines.index(BEGIN) + 1], "", figures.strip("\n"), "", *lines[lines.index(END) :]])
