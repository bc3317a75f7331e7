"""The corpus: its documents, and their chunks as the server cuts them."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benches.plan import CHUNK
from benches.run import lines

MOST_BYTES = 10 << 20  # of a document that the server takes
TOGETHER = 256  # documents whose tokens are computed at a time
ENDINGS = (".jsonl", ".jsonl.zst")

Chunk = tuple[str, list[int]]


class Corpus:
    """A folder with `valid.jsonl` or `.jsonl.zst`, which the queries are of, and `train*` files of the same kinds."""

    def __init__(self, folder: Path):
        self.queries = next((folder / f"valid{ending}" for ending in ENDINGS if (folder / f"valid{ending}").exists()), None)
        self.files = sorted(file for ending in ENDINGS for file in folder.glob(f"train*{ending}"))
        if self.queries is None or not self.files:
            raise SystemExit(f"{folder} needs `train*.jsonl` and `valid.jsonl`, each of which may end in .zst")

    def documents(self, skip: int = 0) -> Iterator[tuple[int, str]]:
        """Texts that the server takes, each with the number of lines up to it, which it can be gone on from."""
        return documents(self.files, skip)

    def query_documents(self) -> Iterator[str]:
        return (text for _, text in documents([self.queries]))

    def identity(self) -> str:
        """Another corpus has another one: names and sizes of its files."""
        listed = [(file.name, file.stat().st_size) for file in self.files]
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:12]


def documents(files: Iterable[Path], skip: int = 0) -> Iterator[tuple[int, str]]:
    with ExitStack() as opened:
        every = itertools.chain.from_iterable(lines(file, opened) for file in files)
        for number, line in enumerate(itertools.islice(every, skip, None), skip + 1):
            text = json.loads(line)["text"]
            if is_taken(text):
                yield number, text


def is_taken(text: str) -> bool:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False
    return bool(text.strip()) and size <= MOST_BYTES


class Chunker:
    """Cuts documents as the server does: 64 tokens, fewer where the last would end inside a character."""

    def __init__(self, file: Path):
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(file))
        size = self.tokenizer.get_vocab_size()
        # Of a byte-level token each character stands for a byte.
        self.lengths = np.array([len(self.tokenizer.id_to_token(number)) for number in range(size)])

    def chunks(self, texts: list[str]) -> list[list[Chunk]]:
        encoded = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        return [self.cut(text.encode(), tokens.ids) for text, tokens in zip(texts, encoded, strict=True)]

    def cut(self, text: bytes, tokens: list[int]) -> list[Chunk]:
        ends = np.cumsum(self.lengths[tokens])
        found, begin, byte = [], 0, 0
        while begin < len(tokens):
            last = min(begin + CHUNK, len(tokens)) - 1
            while inside(text, ends[last]):
                last -= 1
            found.append((text[byte : ends[last]].decode(), tokens[begin : last + 1]))
            begin, byte = last + 1, ends[last]
        return found

    def of_documents(self, texts: Iterable[str]) -> Iterator[tuple[str, list[Chunk]]]:
        """Each document with its chunks."""
        texts = iter(texts)
        while part := list(itertools.islice(texts, TOGETHER)):
            yield from zip(part, self.chunks(part), strict=True)


def inside(text: bytes, place: int) -> bool:
    """Whether the place is between two bytes of one character."""
    return place < len(text) and text[place] & 0xC0 == 0x80


def write_documents(file: Path, texts: Iterable[str], chunker: Chunker, chunks: int) -> int:
    """The first documents, until there are so many chunks; of the last only as much as is needed. Returns the number of chunks."""
    written = 0
    with file.open("w") as out:
        for number, (_, found) in enumerate(chunker.of_documents(texts)):
            found = found[: chunks - written]
            out.write(line(f"{file.stem}-{number:07}", "".join(text for text, _ in found)))
            written += len(found)
            if written == chunks:
                break
    return written


def line(name: str, text: str) -> str:
    return json.dumps({"id": name, "text": text}) + "\n"


def read_texts(file: Path) -> list[str]:
    """A JSON string a line, as `retro embed --texts` writes them."""
    return [json.loads(text) for text in file.read_text().splitlines()]
