"""The corpus: a folder of texts, or of JSON lines with a document's words in the field `text`."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import zstandard

TEXT, LINES = (".txt", ".md"), (".jsonl", ".jsonl.zst")


class CorpusError(Exception):
    """What is wrong with the texts or the settings, in words for the user."""


@dataclass
class Corpus:
    """`valid` is None where prepare has to hold documents out of `train` itself."""

    folder: Path
    train: list[Path]
    valid: list[Path] | None

    @staticmethod
    def open(folder: Path) -> "Corpus":
        if not folder.is_dir():
            raise CorpusError(f"{folder} is not a folder" if folder.exists() else f"{folder} does not exist")
        halves = {split: [p for end in LINES if (p := folder / f"{split}{end}").is_file()] for split in ("train", "valid")}
        if halves["train"] and halves["valid"]:
            return Corpus(folder, halves["train"], halves["valid"])
        found = files(folder)
        if not found:
            raise CorpusError(f"{folder} holds no files that end in {', '.join(TEXT + LINES)}")
        # A budget takes the first files; in the order of their names these could all be on one subject.
        order = np.random.default_rng(0).permutation(len(found))
        return Corpus(folder, [found[number] for number in order], None)

    def fingerprint(self) -> str:
        """Changes when a file comes, goes or changes its length."""
        digest = hashlib.sha256()
        for path in sorted(self.train + (self.valid or [])):
            line = f"{path.relative_to(self.folder).as_posix()}\0{path.stat().st_size}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def files(folder: Path) -> list[Path]:
    """All files with a known ending, by name; hidden ones and symbolic links are left out."""

    def fail(error: OSError) -> None:
        raise CorpusError(f"cannot read {error.filename}: {error.strerror}")

    found = []
    for at, folders, names in os.walk(folder, onerror=fail, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(at, name) for name in names if not name.startswith(".") and name.lower().endswith(TEXT + LINES)]
        found += [path for path in paths if not path.is_symlink()]
    return sorted(found)


def documents(path: Path) -> Iterator[str]:
    """The texts of a file, in file order. Empty ones are left out."""
    try:
        if path.name.lower().endswith(LINES):
            yield from json_lines(path)
        elif (text := path.read_text(encoding="utf-8-sig")).strip():
            yield text
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}") from None
    except zstandard.ZstdError as error:
        raise CorpusError(f"{path} is not whole zstd data: {error}") from None
    except OSError as error:
        raise CorpusError(f"cannot read {path}: {error.strerror or error}") from None


def json_lines(path: Path) -> Iterator[str]:
    with open(path, "rb") as file:
        lines = lines_of(unpacked(file)) if path.name.lower().endswith(".zst") else file
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                text = json.loads(line)["text"]
                text.encode()  # JSON can spell half of a surrogate pair, which is no text
            except UnicodeDecodeError:
                raise CorpusError(f"{path}, line {number}: not UTF-8") from None
            except UnicodeEncodeError:
                raise CorpusError(f"{path}, line {number}: `text` holds half of a surrogate pair") from None
            except json.JSONDecodeError as error:
                raise CorpusError(f"{path}, line {number}: not JSON: {error.msg} at column {error.colno}") from None
            except (KeyError, TypeError, AttributeError):
                raise CorpusError(f"{path}, line {number}: no object with a string in the field `text`") from None
            if text.strip():
                yield text


def unpacked(file: BinaryIO) -> Iterator[bytes]:
    """The content of a zstd file of any number of frames. The library's own reader takes one that was cut off for a whole one."""
    frame, begun = zstandard.ZstdDecompressor().decompressobj(), False
    while packed := file.read(1 << 20):
        while packed:
            begun = True
            yield frame.decompress(packed)
            packed = frame.unused_data if frame.eof else b""
            if frame.eof:
                frame, begun = zstandard.ZstdDecompressor().decompressobj(), False
    if begun:
        raise zstandard.ZstdError("it ends within a frame")


def lines_of(parts: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for part in parts:
        *lines, rest = (rest + part).split(b"\n")
        yield from lines
    yield rest
