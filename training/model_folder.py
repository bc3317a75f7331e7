"""Writing a model folder (docs/model-format.md): graphs in several formats of numbers, a tokenizer, the manifest."""

import argparse
import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

from training import variants
from training.graph import WEIGHTS_FILE, Graph

FORMAT = 3
GRAPHS = ("lower", "encoder", "upper")


def write(graphs: list[Graph], about: dict, tokenizer: Path, chosen: list[str], folder: Path) -> None:
    """The three graphs in each of the `chosen` variants. `about`: the manifest but for format, variants and files."""
    for variant in chosen:
        (folder / variant).mkdir()
        variants.save(graphs, variants.VARIANTS[variant], folder / variant)
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    files = ["tokenizer.json"]
    files += [f"{variant}/{file}" for variant in chosen for file in (*(f"{graph}.onnx" for graph in GRAPHS), WEIGHTS_FILE)]
    contents = {file: (folder / file).read_bytes() for file in files}
    manifest = {
        "format": FORMAT,
        **about,
        "variants": {variant: asdict(variants.VARIANTS[variant]) | {"folder": variant} for variant in chosen},
        "files": {
            file: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for file, content in contents.items()
        },
    }
    (folder / "retro.json").write_text(json.dumps(manifest, indent=2) + "\n")


def beside(out: Path) -> Path:
    """An empty folder to write to first."""
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def move(partial: Path, out: Path) -> None:
    """The manifest last: until then a reader finds files that the old one refuses, never a mixture that it takes."""
    before = out / "retro.json"
    old = json.loads(before.read_text())["files"] if before.exists() else {}
    new = json.loads((partial / "retro.json").read_text())["files"]
    for file in [*new, "retro.json"]:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial / file, out / file)
    for file in old.keys() - new.keys():
        (out / file).unlink(missing_ok=True)
    shutil.rmtree(partial)


def sizes(folder: Path, chosen: list[str]) -> str:
    size = {variant: sum(path.stat().st_size for path in (folder / variant).iterdir()) for variant in chosen}
    return ", ".join(f"{variant} {size[variant] / 1e6:.1f} MB" for variant in chosen)


def chosen_variants(given: str) -> list[str]:
    """The variants of a command line, separated by commas."""
    chosen = given.split(",")
    unknown = [name for name in chosen if name not in variants.VARIANTS]
    if unknown or "fp32" not in chosen:
        raise argparse.ArgumentTypeError(f"fp32, which others are measured by, and any of {', '.join(variants.VARIANTS)}")
    return chosen
