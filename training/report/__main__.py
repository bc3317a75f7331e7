"""Measures a model folder and writes its card: README.md and plots.

    python -m training.report --corpus FOLDER --facts facts.jsonl --collection NAME --data-dir DIR

What was measured before with the same weights and settings is taken from --results. What is named by no option and was not
measured before is left out of the card.
"""

import argparse
import json
import os
from pathlib import Path

from training import plot
from training.files import write_atomically
from training.prepare import DEFAULT_WORK
from training.report import card, plots
from training.report.results import ReportError, Results, Sources, measure
from training.report.run import TrainingRun, check_export

RETRO = Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release/retro"


def write(model: Path, run_folder: Path, results: Results, machine: str | None = None, data: Path | None = None) -> None:
    """README.md last: it names the pictures."""
    manifest = json.loads((model / "retro.json").read_text())
    run = TrainingRun.open(run_folder)
    section = card.data_section(run, manifest["name"], data)
    if not section:
        print("the card says nothing of the texts that the model was trained on: --data names a file with that section")
    text = card.write(run, results, manifest, machine, section)
    plot.plot(run_folder, model / "losses.png")
    if results.texts:
        plots.perplexity(results, model / "perplexity.png")
    if "fp32" in results.facts:
        plots.facts(results.facts["fp32"], model / "facts.png")
    write_atomically(model / "README.md", text.encode())


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m training.report", description=__doc__.splitlines()[0])
    arguments.add_argument("--run", type=Path, default=DEFAULT_WORK / "nano", help="folder of the run that the model was exported from")
    arguments.add_argument("--model", type=Path, default=Path("models/retro-nano"), help="model folder, in which the card is written")
    arguments.add_argument("--retro", type=Path, default=RETRO, help="the server's binary")
    arguments.add_argument("--corpus", type=Path, help="folder with valid.jsonl and wikitext_valid.jsonl, or one of them; .zst too")
    arguments.add_argument("--facts", type=Path, help="facts that python -m training.facts wrote")
    related = "collection of --data-dir with related texts, without the evaluated ones: one more database"
    arguments.add_argument("--collection", metavar="NAME", help=related)
    arguments.add_argument("--data-dir", type=Path, help="data folder of the collection")
    arguments.add_argument("--documents", type=int, default=50, help="documents of a text that are evaluated")
    arguments.add_argument("--others", type=int, default=50, help="documents after them that make the second database")
    arguments.add_argument("--results", type=Path, help="folder of the measured results [default: results in the folder of the run]")
    arguments.add_argument("--machine", help='what the run was trained on, for the card: "on two processor cores"')
    arguments.add_argument("--data", type=Path, help="section on the training texts and their licences [default: the bundled model's]")
    options = arguments.parse_args()
    kept = ("model", "retro", "corpus", "facts", "collection", "data_dir", "documents", "others")
    sources = Sources(results=options.results or options.run / "results", **{name: getattr(options, name) for name in kept})
    try:
        check_export(options.model, options.run)
        write(options.model, options.run, measure(sources), options.machine, options.data)
    except ReportError as error:
        raise SystemExit(f"report: {error}") from None
    print(f"{options.model}: README.md and plots")


if __name__ == "__main__":
    main()
