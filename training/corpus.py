"""The corpus: JSON lines compressed with zstd, one document a line, its words in the field `text`."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import zstandard

DEFAULT_CORPUS = Path("corpus")


def documents(path: Path) -> Iterator[str]:
    """The texts of a `.jsonl.zst` file, in file order."""
    with open(path, "rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        for line in lines:
            yield json.loads(line)["text"]
