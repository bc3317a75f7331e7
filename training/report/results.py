"""Measures a model folder, and keeps each result as a file, so that a stop or a new wording of the card costs no second measurement.

A result is used again as long as it is of the same weights and settings. What lies in the collection and in the files is not
compared: delete a result to have it measured anew.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from training.files import write_atomically

# Of the corpus folder, by the name that the card gives them.
TEXTS = {"valid": "valid.jsonl", "wikitext": "wikitext_valid.jsonl"}


class ReportError(Exception):
    """What is missing or in the way, in words for the user."""


@dataclass(frozen=True)
class Sources:
    """What is measured with what; paths are None where the user has named none."""

    model: Path
    results: Path
    retro: Path | None = None
    corpus: Path | None = None
    facts: Path | None = None
    collection: str | None = None
    data_dir: Path | None = None
    documents: int = 50
    others: int = 50


@dataclass
class Results:
    """`texts` and `facts` are what `retro eval --json` prints: by text and variant, and by variant. `parity`: by variant, the
    largest difference of a logit between cached decode and full recompute."""

    texts: dict[str, dict[str, dict]] = field(default_factory=dict)
    facts: dict[str, dict] = field(default_factory=dict)
    parity: dict[str, float] = field(default_factory=dict)


def measure(sources: Sources) -> Results:
    manifest = json.loads((sources.model / "retro.json").read_text())
    found = Results()
    for variant in sorted(manifest["variants"], key=lambda name: (name != "fp32", name)):
        for text, file in TEXTS.items():
            if report := text_result(sources, manifest, text, file, variant):
                found.texts.setdefault(text, {})[variant] = report
        if report := facts_result(sources, manifest, variant):
            found.facts[variant] = report
        found.parity[variant] = keep(
            sources, manifest, f"parity.{variant}", variant, {}, lambda variant=variant: parity(sources.model, variant)
        )
    return found


def text_result(sources: Sources, manifest: dict, text: str, file: str, variant: str) -> dict | None:
    settings = {"documents": sources.documents, "others": sources.others}
    # The collection is looked up for the first variant only: what a format of numbers costs can be seen without it.
    if variant == "fp32" and sources.collection:
        settings["collection"] = sources.collection
    path = first_existing(sources.corpus, file)
    run = None
    if path:
        run = lambda: evaluate(sources, variant, settings, [str(path)])  # noqa: E731
    return keep(sources, manifest, f"{text}.{variant}", variant, settings, run)


def facts_result(sources: Sources, manifest: dict, variant: str) -> dict | None:
    settings = {"collection": sources.collection} if sources.collection else {}
    run = None
    if sources.facts:
        run = lambda: evaluate(sources, variant, settings, ["--facts", str(sources.facts)])  # noqa: E731
    report = keep(sources, manifest, f"facts.{variant}", variant, settings, run)
    return report and report["facts"]


def first_existing(folder: Path | None, name: str) -> Path | None:
    """The file as it is or packed."""
    paths = [folder / f"{name}{end}" for end in ("", ".zst")] if folder else []
    return next((path for path in paths if path.exists()), None)


def keep(sources: Sources, manifest: dict, name: str, variant: str, settings: dict, run):
    """The kept result, or a new one by `run`; None where there is neither."""
    folder = manifest["variants"][variant]["folder"]
    of = {"weights": manifest["files"][f"{folder}/weights.bin"]["sha256"], **settings}
    path = sources.results / f"{name}.json"
    kept = json.loads(path.read_text()) if path.exists() else None
    if kept and (kept["of"] == of or run is None and kept["of"]["weights"] == of["weights"]):
        print(f"{name}: already there", flush=True)
        return kept["result"]
    if run is None:
        if kept:
            raise ReportError(f"{path} is of other weights: name the texts or facts to measure anew, or delete it")
        return None
    print(f"{name}: measuring", flush=True)
    result = run()
    write_atomically(path, (json.dumps({"of": of, "result": result}, indent=1) + "\n").encode())
    return result


def evaluate(sources: Sources, variant: str, settings: dict, given: list[str]) -> dict:
    if sources.retro is None or not sources.retro.exists():
        raise ReportError(f"{sources.retro or '--retro'} is not there: `make build` builds it")
    command = [str(sources.retro), "eval", *given, "--json", "--model", str(sources.model), "--precision", variant]
    for name, value in settings.items():
        command += [f"--{name}", str(value)]
    if sources.data_dir:
        command += ["--data-dir", str(sources.data_dir)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
    if done.returncode:
        raise ReportError(f"`{' '.join(command)}` failed with code {done.returncode}")
    return json.loads(done.stdout)


def parity(model: Path, variant: str) -> float:
    """As training.export checks it: the graphs, products in floating point, against PyTorch with the stored weights in float64."""
    from training import bundled
    from training.export import compare
    from training.onnx_decode import OnnxRetro

    try:
        stored = bundled.load(model, variant)
    except KeyError as error:
        raise ReportError(f"{model} was not exported by this version of training: {error.args[0]}") from None
    return compare(stored, OnnxRetro(model, variant, float_activations=True))
