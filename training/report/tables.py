"""Tables of the card, in Markdown. `Results` holds reports as src/cli/eval writes them."""

from training.report.results import Results
from training.report.run import TrainingRun

# Most readers of a card know a share by this name.
SHARES = {1 / 16: "1/16", 1 / 8: "1/8", 1 / 4: "1/4", 1 / 2: "1/2", 1.0: "all"}
FACTS = [
    ("(a) the value, retrieval off", "without_retrieval"),
    ("(b) the value, with the documents in the database", "with_the_documents"),
    ("– the nearest neighbour is of the fact's document", "found_first"),
    ("– the value stands in what the model read", "retrieved"),
    ("(c) the new value, after the documents were edited", "new_after_edit"),
    ("– the old value, after the edit", "old_after_edit"),
    ("(d) either value, after the documents were deleted", "after_deletion"),
]
HELD_OUT = {
    "none": "retrieval off",
    "random": "two random chunks of other documents",
    "retrieved": "the two nearest chunks of the training set",
    "covering": "the chunk itself with its continuation, and a random one",
    "covering_shifted": "the same, shifted by up to 32 tokens",
}


def table(head: list[str], rows: list[list[str]]) -> str:
    """The first column is text, the others numbers."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def perplexity(value: float) -> str:
    return f"{value:,.1f}" if value >= 99.95 else f"{value:.2f}"


def change(ratio: float) -> str:
    """A perplexity against another one."""
    percent = 100 * (ratio - 1)
    return f"{percent:+.1f} %" if abs(percent) >= 9.95 else f"{percent:+.2f} %"


def of_variant(results: Results, variant: str = "fp32") -> dict[str, dict]:
    """The reports of the texts that were measured in it."""
    return {text: reports[variant] for text, reports in results.texts.items() if variant in reports}


def databases(results: Results) -> str:
    reports = of_variant(results)
    head = ["database"] + [f"{text}: {what}" for text in reports for what in ("perplexity", "against off", "bits per byte")]
    rows = []
    for name, read in [
        ("none, retrieval off", lambda report: pair(report, "without_retrieval")),
        ("the evaluated documents", lambda report: pair(report, "with_the_documents")),
        ("other documents", lambda report: pair(report, "with_other_documents")),
        ("both together", lambda report: measure(report["by_share"][-1])),
        (collection_name(reports), lambda report: measure(report["collection"] or {})),
    ]:
        found = {text: read(report) for text, report in reports.items()}
        if not any(value for value, _ in found.values()):
            continue
        cells = [name]
        for text, (value, bits) in found.items():
            off = reports[text]["without_retrieval"]
            cells += [perplexity(value), change(value / off), f"{bits:.3f}"] if value else ["", "", ""]
        rows.append(cells)
    return table(head, rows)


def pair(report: dict, name: str) -> tuple[float | None, float | None]:
    return report[name], report[f"bits_per_byte_{name}"]


def measure(found: dict) -> tuple[float | None, float | None]:
    return found.get("perplexity"), found.get("bits_per_byte")


def collection_name(reports: dict[str, dict]) -> str:
    """The related database is the same for all texts."""
    found = next((report["collection"] for report in reports.values() if report["collection"]), None)
    return f"collection `{found['name']}`: {found['documents']:,} documents, {found['chunks']:,} chunks" if found else ""


def sources(results: Results) -> dict[str, dict]:
    """By column: what a search can be varied in. The evaluated documents of each text, then the collection."""
    reports = of_variant(results)
    found = {f"{text}, own documents": report for text, report in reports.items()}
    return found | {f"{text}, `{c['name']}`": c for text, report in reports.items() if (c := report["collection"])}


def by_neighbours(results: Results) -> str:
    columns = sources(results)
    counts = [line["neighbours"] for line in next(iter(columns.values()))["by_neighbours"]]
    lines = {name: [perplexity(line["perplexity"]) for line in found["by_neighbours"]] for name, found in columns.items()}
    return table(["neighbours", *columns], [[str(count)] + [lines[name][at] for name in columns] for at, count in enumerate(counts)])


def by_share(results: Results) -> str:
    """One table for each database: those of the texts have documents of their own, the collection is the same for all."""
    reports = of_variant(results)
    parts = []
    for text, report in reports.items():
        parts.append(share_table(f"{text}: evaluated and other documents", {text: report["by_share"]}))
    collections = {text: report["collection"] for text, report in reports.items() if report["collection"]}
    if collections:
        name = next(iter(collections.values()))["name"]
        parts.append(share_table(f"collection `{name}`", {text: found["by_share"] for text, found in collections.items()}))
    return "\n\n".join(parts)


def share_table(title: str, by_text: dict[str, list[dict]]) -> str:
    rows = []
    for lines in zip(*by_text.values(), strict=True):
        share = SHARES.get(lines[0]["share"], f"{lines[0]['share']:g}")
        sizes = [f"{lines[0]['documents']:,}", f"{lines[0]['chunks']:,}"]
        rows.append([share, *sizes, *(perplexity(line["perplexity"]) for line in lines)])
    return table([title, "documents", "chunks", *(f"perplexity of {text}" for text in by_text)], rows)


def continuation(results: Results) -> str:
    rows = []
    for name, found in sources(results).items():
        whole, bare = found.get("with_the_documents", found.get("perplexity")), found["without_continuation"]["perplexity"]
        rows.append([name, perplexity(whole), perplexity(bare), change(bare / whole)])
    return table(["database", "with continuation", "neighbour only", "difference"], rows)


def count(found: dict) -> str:
    return "" if found["percent"] is None else f"{found['count']} ({found['percent']:.1f} %)"


def facts(report: dict) -> str:
    kinds = {"the document's wording": "same", "another wording": "other", "all": "all"}
    head = ["of the facts it gave"] + [f"{name} ({report[kind]['facts']})" for name, kind in kinds.items()]
    return table(head, [[name] + [count(report[kind][field]) for kind in kinds.values()] for name, field in FACTS])


def variants(results: Results, manifest: dict) -> str:
    """What a format of numbers costs against float32."""
    texts = list(results.texts)
    head = ["variant", "MB"] + [f"{text}: {what}" for text in texts for what in ("off", "own documents")] + ["facts (b), all"]
    rows = []
    for variant, about in sorted(manifest["variants"].items(), key=lambda item: (item[0] != "fp32", item[0])):
        size = sum(file["bytes"] for path, file in manifest["files"].items() if path.startswith(f"{about['folder']}/"))
        cells = [variant, f"{size / 1e6:.1f}"]
        for text in texts:
            report, plain = results.texts[text].get(variant), results.texts[text].get("fp32")
            for field in ("without_retrieval", "with_the_documents"):
                cost = f" ({change(report[field] / plain[field])})" if report and plain and variant != "fp32" else ""
                cells.append(perplexity(report[field]) + cost if report else "")
        recalled = results.facts.get(variant)
        rows.append([*cells, count(recalled["all"]["with_the_documents"]) if recalled else ""])
    return table(head, rows)


def parity(results: Results) -> str:
    return table(["variant", "largest difference of a logit"], [[name, f"{worst:.1e}"] for name, worst in results.parity.items()])


def held_out(run: TrainingRun) -> str:
    """The last line of `held_out.csv`."""
    last = run.held_out[-1]
    rows = [[text, f"{last[name]:.3f}"] for name, text in HELD_OUT.items() if last.get(name) is not None]
    return table(["neighbours", "nats a token"], rows)
