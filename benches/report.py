"""Writes docs/performance.md and its pictures from the results of a run.

    python -m benches.report benches/results/NAME.json
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from benches import groups, pictures, tables
from benches.saved import circumstances

TITLES = {
    "contexts": "Tokens a second by context, the server and peers without caches",
    "batches": "Tokens a second by the number of completions at once",
    "retrieval": "Tokens a second by neighbours and interval",
}


def write(results: dict, docs: Path) -> Path:
    written = pictures.draw(results, docs / "images")
    page = docs / "performance.md"
    page.write_text(compose(results, written))
    return page


def compose(results: dict, written: list[str]) -> str:
    measured = results["groups"]
    parts = ["# Performance", opening(results)]
    if bar_rows := tables.bar_table(results):
        parts += ["## In short", READING, bar_rows]
    sections = [
        ("fills", "Against models without caches", fills),
        ("completions", "One completion, and several", completions),
        ("batches", "Completions at once", lambda group: tables.batch_table(group)),
        ("neighbours", "Neighbours", neighbours),
        ("first_token", "The first token", first_token),
    ]
    for name, title, text in sections:
        if measured.get(name):
            parts += [f"## {title}", text(measured[name])]
    if measured.get("limits"):
        parts += ["## What the machine can do", limits(results)]
    parts = place(parts, written)
    if results["left_out"]:
        parts += ["## Left out", "\n".join(f"- {one['what']}: {one['why']}" for one in results["left_out"])]
    parts += ["## How it was measured", method(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


READING = (
    "Each ratio is of two measurements that took turns in the same run: the medians, and in brackets the smallest and the largest ratio of a "
    "round. For the other figures the brackets hold the smallest and the largest measurement."
)


def opening(results: dict) -> str:
    about, model = results["about"], results["about"]["model"]
    machine = about["machine"]
    lines = [
        f"`make bench` wrote this page from `{results['file']}`; `python -m benches.report` writes it again from there.",
        f"Measured on {machine['processor']}, {machine['cores']} cores, {about['threads']} threads, {machine['memory_bytes'] / 2**30:.0f} GiB of memory, "
        f"no GPU, with {model['name']}: {model['parameters'] / 1e6:.1f} million parameters, context {model['context']}, precision {about['precision']} "
        "where no other is named.",
    ]
    return " ".join([*lines, *circumstances(results)])


def place(parts: list[str], written: list[str]) -> list[str]:
    """Each picture under the heading of what it shows."""
    under = {"contexts": "## Against models without caches", "batches": "## Completions at once", "retrieval": "## Neighbours"}
    placed = []
    for part in parts:
        placed.append(part)
        for name, heading in under.items():
            if part == heading and f"performance-{name}.png" in written:
                placed.append(f"![{TITLES[name]}](images/performance-{name}.png)")
    return placed


def fills(group: dict) -> str:
    peers = group["peers"]
    lines = [f"A completion from a prompt of {group['prompt']} tokens until the context is full; tokens a second over the whole of it."]
    if groups.RETRO_PYTORCH in peers:
        peer = peers[groups.RETRO_PYTORCH]
        lines.append(
            f"{groups.RETRO_PYTORCH} {peer['version']} runs its own `generate`, greedy, with PyTorch {peer['torch']} and {peer['parameters'] / 1e6:.1f} million "
            f"random weights, its threads {peer['waiting']} while they wait, the quicker way in a trial; its retriever answers at once with the "
            "same neighbours, and the server is given as many."
        )
    if group["same_weights"]:
        lines.append("All of them run the same weights, brought over by `training/importers`.")
        if found := group.get("agreement"):
            lines.append(f"Given the same tokens, {groups.RETRO_PYTORCH} and the graphs agree in {found['same']} of the first {found['tokens']} new ones.")
    else:
        lines.append("The server and ONNX Runtime run the bundled model, since the weights could not be brought over.")
    lines.append(
        f"{groups.RECOMPUTE} runs the server's own graphs on the whole sequence for every token: over it stands the gain of the caches, below it that of the "
        "runtime."
    )
    text = " ".join(lines) + "\n\n" + tables.fill_table(group)
    if group["long"]:
        text += "\n\nThe same weights, with prompts longer than the bundled model takes:\n\n" + tables.long_table(group["long"])
    return text


def completions(group: dict) -> str:
    peer = group["peer"]
    lines = [f"{group['tokens']} tokens after a prompt of {group['prompt']}; `streams` are {group['streams']} at once. The prompt's time counts."]
    if peer:
        lines.append(
            f"{groups.LLAMA} (llama-cpp-python {peer['version']}) decodes token by token, greedy, a Llama of random weights with the layers and the vocabulary of "
            f"this decoder ({peer['parameters'] / 1e6:.1f} million parameters) in Q8_0, its threads {peer['waiting']} while they wait."
        )
    return " ".join(lines) + "\n\n" + tables.completion_table(group)


def neighbours(group: dict) -> str:
    return f"One completion of {group['tokens']} tokens after a prompt of {group['prompt']}, searched every 64 tokens.\n\n" + tables.neighbour_table(group)


def first_token(group: dict) -> str:
    return (
        f"A prompt of {group['prompt']} tokens, with retrieval. The bare runs are those of the graphs alone, in ONNX Runtime from Python, with the same "
        "threads: BERT once over the complete chunks, `lower` and `encoder` once, `upper` for each run of tokens that read the same chunk.\n\n"
    ) + tables.first_token_table(group)


def limits(results: dict) -> str:
    text = (
        "Memory: the quickest of a sum, a largest value and a copy, of a buffer as large as the weights that a token reads, which may lie in a cache, "
        "and of one far larger than the caches. Products: of 512 rows with a square matrix in ONNX Runtime. A share compares medians; in brackets the "
        "smallest and largest that the measurements allow.\n\n"
    ) + tables.machine_table(results)
    rows = tables.limit_table(results)
    return f"{text}\n\n{rows}" if rows else text


def method(results: dict) -> str:
    about = results["about"]
    database = about.get("database")
    lines = [
        "The cases of a group take turns, A B A B: "
        f"{results['rounds']['bar_rounds']} rounds for single completions, streams, llama.cpp and the first token, {results['rounds']['rounds']} for the rest.",
        "Every program has the same number of threads, llama.cpp the number up to that which serves it best. The server is measured by `retro bench`, "
        "without its memory of texts that it has seen, since every run has the same prompts; the peers run in processes of their own. All of them are warm.",
    ]
    if database:
        lines.append(f"The database held {database['bytes'] / 1e6:.1f} MB of text: the samples{' and a part of a corpus' if database['corpus'] else ''}.")
    if share := shortest(results):
        lines.append(f"The server's completions may end before they are as long as was asked: the shortest had {100 * share:.0f} % of the tokens.")
    return " ".join(lines)


def shortest(results: dict) -> float | None:
    """The smallest share of the asked tokens that came; None if all did."""
    shares = [record["tokens"] / record["asked"] for record in records(results["groups"]) if "asked" in record]
    return share if shares and (share := min(shares)) < 1 else None


def records(found: dict | list | str | float | None) -> Iterator[dict]:
    """Every record in a group, however deep."""
    if isinstance(found, dict) and "seconds" in found:
        yield found
    elif isinstance(found, (dict, list)):
        for part in found.values() if isinstance(found, dict) else found:
            yield from records(part)


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benches.report", description=__doc__.splitlines()[0])
    arguments.add_argument("results", type=Path)
    arguments.add_argument("--docs", type=Path, default=Path("docs"), help="folder of performance.md and images/")
    options = arguments.parse_args()
    print(write(json.loads(options.results.read_text()), options.docs))


if __name__ == "__main__":
    main()
