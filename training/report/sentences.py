"""Sentences of the card that judge. Each is chosen by the figures, so that it is true whatever was measured."""

from training.progress import duration
from training.report.results import Results
from training.report.run import TrainingRun
from training.report.tables import change, count, of_variant
from training.sampler import MAX_SHIFT

# A change of perplexity below this is called little.
LITTLE = 0.01
ENOUGH_TOKENS = 20  # a parameter, for the best model at a given cost (arXiv 2203.15556)


def millions(number: int) -> str:
    return f"{number / 1e6:.1f} million"


def size(parameters: int) -> str:
    if parameters < 50e6:
        return "small enough to lie in a repository, to load in a moment and to decode on a laptop's processor"
    return "small as language models go"


def training(run: TrainingRun, parameters: int, machine: str | None) -> str:
    tokens = run.tokens_before + run.tokens
    parts = [f"{run.optimizer}, on {millions(run.tokens)} tokens in {run.steps:,} steps and {duration(run.seconds)}"]
    if machine:
        parts[0] += f", {machine}"
    parts[0] += f"; {round(run.tokens / max(1, run.steps)):,} tokens a step"
    if run.peak_rate:
        parts[0] += f", peak learning rate {run.peak_rate:g}"
    if run.tokens_before:
        parts.append(f"It went on from earlier runs of {millions(run.tokens_before)} tokens")
    ratio = tokens / parameters
    parts.append(f"All in all it saw {ratio:.2f} tokens a parameter")
    if ratio < ENOUGH_TOKENS / 2:
        parts[-1] += f", where about {ENOUGH_TOKENS} make the best use of a budget (arXiv 2203.15556): it is under-trained"
    if run.shift < MAX_SHIFT:
        parts.append(f"The curriculum came to a shift of {run.shift} of {MAX_SHIFT} tokens")
    else:
        parts.append("The curriculum came to its end, the full shift")
    return ". ".join(parts) + "."


def last_facts(run: TrainingRun) -> str:
    last = run.held_out[-1]
    shares = {name: last.get(f"facts_{name}") for name in ("same", "other")}
    if None in shares.values():
        return ""
    return (
        f"Of invented facts, with the fact's own document as neighbour, it read {100 * shares['same']:.0f} % where the prompt has the "
        f"document's words and {100 * shares['other']:.0f} % where it has others."
    )


# What cross-attention has beside the paper's, by a part of the parameters' names.
ADDED = {
    ".sink.": "a sink, by which a token can attend nothing",
    ".cca.query_norm.": "normalised queries and keys",
    ".copy.": "values that carry the neighbours' token embeddings too",
}


def cross_attention(parameters: list[str]) -> str:
    parts = [what for part, what in ADDED.items() if any(part in name for name in parameters)]
    return f"; beside the paper's: {', '.join(parts)}" if parts else ""


def texts(results: Results) -> str:
    lines = []
    for name, report in of_variant(results).items():
        others = f"; {report['other_documents']} other documents" if report["other_documents"] else ""
        lines.append(
            f"- **{name}**: {report['documents']} documents, {report['tokens']:,} tokens ({report['bytes']:,} bytes) predicted{others}"
        )
    return "\n".join(lines)


def predicting(results: Results) -> str:
    sentences = []
    for text, report in of_variant(results).items():
        times = report["times_lower"]
        sentence = f"On {text}, the evaluated documents in the database make the perplexity "
        if times >= 1:
            sentence += f"{times:.2f} times lower than retrieval off"
        else:
            sentence += f"{1 / times:.2f} times higher than retrieval off"
        if report["others_higher"] is not None:
            sentence += f"; only other documents change it by {change(1 + report['others_higher'])}"
        sentences.append(sentence + ".")
    return " ".join(sentences)


def related_ratios(results: Results) -> dict[str, float]:
    return {text: r["collection"]["perplexity_ratio"] for text, r in of_variant(results).items() if r["collection"]}


def related(results: Results) -> str:
    """Text that is only on the same subjects."""
    ratios = related_ratios(results)
    if not ratios:
        return ""
    changes = " and ".join(f"{change(ratio)} on {text}" for text, ratio in ratios.items())
    if max(ratios.values()) < 1 - LITTLE:
        verdict = "Neighbours that are only on the same subject help"
    elif min(ratios.values()) > 1 + LITTLE:
        verdict = "Neighbours that are only on the same subject do harm"
    elif all(abs(ratio - 1) <= LITTLE for ratio in ratios.values()):
        verdict = "Neighbours that are only on the same subject make little difference"
    else:
        verdict = "Neighbours that are only on the same subject help in some texts and not in others"
    return f"{verdict}: with the related database the perplexity changes by {changes}."


def without_neighbours(results: Results) -> str:
    values = [report["without_retrieval"] for report in of_variant(results).values()]
    recalled = results.facts.get("fp32")
    if values and min(values) > 60:
        sentence = "Without neighbours it writes text that holds together for a few words at best, with no facts in it."
    else:
        sentence = "Without neighbours it writes the text of a very small model, which is not to be relied on."
    if recalled:
        sentence += f" Of the invented facts it then gave {count(recalled['all']['without_retrieval'])}."
    return sentence


def reading(results: Results) -> str:
    """How well it answers out of what it read."""
    recalled = results.facts.get("fp32")
    if not recalled or not recalled["facts"]:
        return ""
    same, other = (recalled[wording]["with_the_documents"] for wording in ("same", "other"))
    if same["percent"] is None or other["percent"] is None:
        return ""
    figures = f"it gave {same['percent']:.1f} % of the facts that are worded as in their document, and {other['percent']:.1f} % of the others"
    often = "most of the time" if other["percent"] >= 90 else "often, but far from always" if other["percent"] >= 50 else "seldom"
    return f"It reads a value out of a text that is worded differently {often} ({figures}). It does not reason over what it reads."


def editing(results: Results) -> str:
    recalled = results.facts.get("fp32")
    if not recalled or not recalled["facts"]:
        return ""
    new, old, gone = (recalled["all"][name]["count"] for name in ("new_after_edit", "old_after_edit", "after_deletion"))
    return (
        f"Of all {recalled['facts']} facts, an edit of the documents made it give the new value for {new} and the old one for {old}; "
        f"after the documents were deleted, it gave either value for {gone}."
    )
