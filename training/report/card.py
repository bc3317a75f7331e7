"""Puts figures into `card.md`."""

import re
from pathlib import Path

from training.report import sentences, tables
from training.report.results import ReportError, Results
from training.report.run import TrainingRun

HERE = Path(__file__).parent
# The model whose texts `data.md` describes.
BUNDLED = "retro-nano"


def fill(template: str, values: dict[str, str]) -> str:
    """Puts values in the place of `{{name}}`. What stands between `<!-- if name -->` and `<!-- end -->` is left out if the value is empty."""

    def part(match: re.Match) -> str:
        return match[2] if values[match[1]] else ""

    innermost = re.compile(r"<!-- if (\w+) -->((?:(?!<!-- if ).)*?)<!-- end -->", re.DOTALL)
    while innermost.search(template):
        template = innermost.sub(part, template)
    text = re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def data_section(run: TrainingRun, name: str, file: Path | None) -> str:
    """Of the texts of another model nothing is known here."""
    if file is None and name != BUNDLED:
        return ""
    text = (file or HERE / "data.md").read_text()
    known = run.corpus_tokens is not None
    corpus = f", {sentences.millions(run.corpus_tokens)} tokens in {run.corpus_documents:,} documents" if known else ""
    return fill(text, {"corpus": corpus})


def values(run: TrainingRun, results: Results, manifest: dict, machine: str | None, data: str) -> dict[str, str]:
    config = run.config
    reports, recalled = tables.of_variant(results), results.facts.get("fp32")
    if manifest["cca_layers"] != list(config.cca_layers) or manifest["hidden_size"] != config.hidden_size:
        raise ReportError("the model folder was not exported from this run: their sizes differ")
    found = {name: f"{value:,}" if isinstance(value, int) else str(value) for name, value in config.to_dict().items()}
    found |= {
        "name": manifest["name"],
        "millions": sentences.millions(manifest["parameters"]),
        "size": sentences.size(manifest["parameters"]),
        "parameters": f"{manifest['parameters']:,}",
        "embedding": f"{config.vocabulary * config.hidden_size:,}",
        "cca_layers": " and ".join(map(str, config.cca_layers)),
        "cross_attention": sentences.cross_attention(run.parameters),
        "embedder": manifest["embedder"]["name"],
        "variant_names": " and ".join(manifest["variants"]),
        "training": sentences.training(run, manifest["parameters"], machine),
        "held_out": tables.held_out(run) if run.held_out else "",
        "last_facts": sentences.last_facts(run) if run.held_out else "",
        "data": data,
        "texts": sentences.texts(results),
        "collection": "yes" if sentences.related_ratios(results) else "",
        "variants": tables.variants(results, manifest),
        "parity": tables.parity(results) if results.parity else "",
        "without_neighbours": sentences.without_neighbours(results),
        "reading": bullet(sentences.reading(results)),
        "related": bullet(sentences.related(results)),
        "facts": "",
    }
    if reports:
        counts = {str(report["neighbours"]) for report in reports.values()}
        found |= {
            "eval_neighbours": " or ".join(sorted(counts)),
            "databases": tables.databases(results),
            "predicting": sentences.predicting(results),
            "by_neighbours": tables.by_neighbours(results),
            "by_share": tables.by_share(results),
            "continuation": tables.continuation(results),
        }
    if recalled:
        among = f", among {recalled['other_chunks']:,} chunks of collection `{recalled['collection']}`" if recalled["collection"] else ""
        found |= {
            "facts": tables.facts(recalled),
            "fact_count": f"{recalled['facts']:,}",
            "facts_same": f"{recalled['same']['facts']:,}",
            "facts_other": f"{recalled['other']['facts']:,}",
            "fact_documents": f"{recalled['documents']:,}",
            "fact_others": among,
            "editing": sentences.editing(results),
        }
    return found


def bullet(sentence: str) -> str:
    return f"- {sentence}" if sentence else ""


def write(run: TrainingRun, results: Results, manifest: dict, machine: str | None, data: str) -> str:
    text = fill((HERE / "card.md").read_text(), values(run, results, manifest, machine, data))
    # A list must not fall apart where a sentence was left out.
    head, limits = text.split("## Limits\n")
    return head + "## Limits\n\n" + "\n".join(line for line in limits.splitlines() if line) + "\n"
