"""Writes invented facts as JSON lines: `python -m training.facts --seed 1 --count 320 --out facts.jsonl`."""

import argparse
import json
import re
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from training.facts import evaluation_facts, training_facts
from training.facts.names import is_evaluation_word


def corpus_words(folder: Path) -> set[str]:
    """The lower-case words of the corpus that could also be invented words of evaluation facts."""
    from training.corpus import documents  # needs zstandard, which nothing else here does

    words: set[str] = set()
    for name in ("train.jsonl.zst", "valid.jsonl.zst"):
        for text in documents(folder / name):
            words.update(re.findall(r"[a-z]{5,}", text.lower()))
    return {word for word in words if is_evaluation_word(word)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.facts", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=320)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, help="use no invented word that occurs in this corpus")
    parser.add_argument("--split", choices=("evaluation", "training"), default="evaluation")
    arguments = parser.parse_args()

    if arguments.split == "training":
        facts = list(islice(training_facts(arguments.seed), arguments.count))
    else:
        avoid = corpus_words(arguments.corpus) if arguments.corpus else set()
        facts = evaluation_facts(arguments.seed, arguments.count, avoid)
    with open(arguments.out, "w", encoding="utf-8") as file:
        for fact in facts:
            file.write(json.dumps(asdict(fact), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
