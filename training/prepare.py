"""Step 1: make what training reads out of a folder of texts.

    python -m training.prepare FOLDER

FOLDER, with the folders in it, holds .txt and .md files, each a document, and .jsonl or .jsonl.zst files, a document a line, its
words in the field `text`. A part of the documents is held out, unless FOLDER has the files train.jsonl.zst and valid.jsonl.zst
(or .jsonl): then these are the two parts. Writes the tokenizer, the token streams and each chunk's neighbours into the work
folder, and `data.json`, which says what is there: a part named in it is complete, and is not made again.
"""

import argparse
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from training import tokenizer as bpe
from training.corpus import Corpus, CorpusError, documents
from training.files import write_atomically
from training.progress import Progress
from training.stream import TokenStream

DEFAULT_WORK = Path("training/work")
SEQUENCE = 513  # tokens of the shortest useful stream: a sequence of 512 and what comes after it
TOKENIZER_CHARACTERS = 60_000_000  # that a tokenizer is trained on, at most
# Texts are encoded in batches of so many characters, and longer ones in pieces: an encoding takes far more memory than its ids.
BATCH_CHARACTERS = 1 << 20
OUTPUTS = ("tokenizer.json", "train.tokens", "valid.tokens", "train.keys", "train.neighbours.npz", "valid.neighbours.npz")


class Work:
    """The work folder and its `data.json`."""

    def __init__(self, folder: Path, settings: dict[str, object]):
        """`settings` by their names in messages."""
        self.folder, self.path, self.data = folder, folder / "data.json", {}
        if self.path.exists():
            self.data = json.loads(self.path.read_text())
            changed = [name for name, value in settings.items() if self.data["settings"].get(name) != value]
            if changed and "tokens" in self.data:
                raise CorpusError(
                    f"{folder} was prepared with other {' and '.join(changed)}: name another folder with --work, or delete "
                    "this one, with the runs in it"
                )
            if changed:
                self.data = {}  # an attempt that came to nothing
        elif here := [name for name in OUTPUTS if (folder / name).exists()]:
            raise CorpusError(f"{folder} has {here[0]} but no data.json, which this command would have written: name another --work")
        self.save(settings=settings)

    def save(self, **parts) -> None:
        self.data |= parts
        write_atomically(self.path, (json.dumps(self.data, indent=2) + "\n").encode())


def sample(texts: Iterable[str], characters: int) -> Iterator[str]:
    """The first texts until `characters` are reached."""
    taken = 0
    for text in texts:
        if taken >= characters:
            return
        yield text[: characters - taken]
        taken += len(text)


def texts_of(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        yield from documents(path)


def make_tokenizer(work: Work, corpus: Corpus, given: Path | None, vocabulary: int | None) -> Tokenizer:
    path = work.folder / "tokenizer.json"
    if "vocabulary" in work.data:
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != work.data["tokenizer_sha256"]:
            raise CorpusError(f"{path} is not the tokenizer that {work.folder} was prepared with: delete the folder")
        print(f"tokenizer: {work.data['vocabulary']:,} entries, already there")
        return Tokenizer.from_file(str(path))
    if vocabulary:
        content = bpe.train(sample(texts_of(corpus.train), TOKENIZER_CHARACTERS), vocabulary).encode()
    else:
        content = given.read_bytes()
    try:
        tokenizer = Tokenizer.from_buffer(content)
        bpe.check(tokenizer)
    except Exception as error:  # the library raises nothing narrower for a file that it cannot read
        raise CorpusError(f"{given or 'the trained tokenizer'} cannot be used: {error}") from None
    write_atomically(path, content)
    work.save(vocabulary=tokenizer.get_vocab_size(), tokenizer_sha256=hashlib.sha256(content).hexdigest())
    entries = f"{work.data['vocabulary']:,} entries"
    if vocabulary and work.data["vocabulary"] < vocabulary:
        entries += f", as the texts are too short to learn {vocabulary:,}"
    print(f"tokenizer: {entries}, {'trained' if vocabulary else f'from {given}'}")
    return tokenizer


def batches(texts: Iterable[str]) -> Iterator[list[list[str]]]:
    """Some texts at a time, each in pieces that end with a line where that can be."""
    batch, characters = [], 0
    for text in texts:
        pieces, at = [], 0
        while at < len(text):
            end = at + BATCH_CHARACTERS
            if end < len(text):
                end = text.rfind("\n", at, end) + 1 or end
            pieces.append(text[at:end])
            at = end
        batch.append(pieces)
        characters += len(text)
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def tokenise(paths: list[Path], tokenizer: Tokenizer, budget: int, what: str) -> list[np.ndarray]:
    """The documents' tokens, uint16 each, until `budget` tokens are reached; all with 0."""
    encoded, total, progress = [], 0, Progress(what, "tokens", budget)
    for batch in batches(texts_of(paths)):
        pieces = iter(tokenizer.encode_batch_fast([piece for pieces in batch for piece in pieces]))
        for text in batch:
            ids = np.concatenate([np.asarray(next(pieces).ids, np.uint16) for _ in text])
            if budget:
                ids = ids[: budget - total]
            if len(ids):
                encoded.append(ids)
                total += len(ids)
        if budget and total >= budget:
            break
        progress.show(total)
    return encoded


def hold_out(encoded: list[np.ndarray], share: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Documents to train on, and to hold out: whole ones, at random, of at least `share` of the tokens and one sequence."""
    total = sum(map(len, encoded))
    if total < 2 * SEQUENCE:
        least = f"at least {2 * SEQUENCE} are needed, and millions for a model that is any good"
        raise CorpusError(f"the texts have {total} tokens; {least}")
    goal = max(SEQUENCE, round(share * total))
    chosen, have = set(), 0
    for number in np.random.default_rng(0).permutation(len(encoded)):
        length = len(encoded[number])
        # A document much larger than the goal would take too much from training.
        if have < goal and have + length <= 2 * goal and total - have - length >= SEQUENCE:
            chosen.add(int(number))
            have += length
    train = [ids for number, ids in enumerate(encoded) if number not in chosen]
    valid = [ids for number, ids in enumerate(encoded) if number in chosen]
    longest = max(range(len(train)), key=lambda number: len(train[number]))
    cut = min(goal - have, len(train[longest]) - SEQUENCE)
    if cut > 0:
        # Few and long documents: the end of the longest is held out instead.
        valid.append(train[longest][-cut:])
        train[longest] = train[longest][:-cut]
    return train, valid


def make_streams(work: Work, corpus: Corpus, tokenizer: Tokenizer, tokens: int, share: float) -> None:
    """About `tokens` to train on, or all with 0; what is held out comes on top."""
    if "tokens" not in work.data:
        with_valid = tokens and tokens + max(SEQUENCE, round(tokens * share / (1 - share)))
        if corpus.valid is None:
            encoded = tokenise(corpus.train, tokenizer, with_valid, "tokenising")
            split = dict(zip(("train", "valid"), hold_out(encoded, share), strict=True))
        else:
            split = {"train": tokenise(corpus.train, tokenizer, tokens, "tokenising train")}
            split["valid"] = tokenise(corpus.valid, tokenizer, with_valid - tokens, "tokenising valid")
        counts = {"tokens": {}, "documents": {}}
        for name, encoded in split.items():
            total = sum(map(len, encoded))
            if total < SEQUENCE:
                raise CorpusError(f"the texts of {name} have {total} tokens; at least {SEQUENCE} are needed")
            TokenStream.from_documents(encoded).save(work.folder, name)
            counts["tokens"][name], counts["documents"][name] = total, len(encoded)
        work.save(**counts)
    for name, what in [("train", "to train on"), ("valid", "held out")]:
        print(f"tokens {what}: {work.data['tokens'][name]:,} of {work.data['documents'][name]:,} documents")


def prepare(options: argparse.Namespace) -> None:
    corpus = Corpus.open(options.source)
    if options.tokenizer and not options.tokenizer.is_file():
        raise CorpusError(f"there is no {options.tokenizer}")
    given = options.tokenizer or bpe.DEFAULT_TOKENIZER
    if not options.vocabulary and not given.is_file():
        raise CorpusError(f"there is no {given}: run this from the repository's root, or name a tokenizer with --tokenizer")
    settings = {
        "texts": corpus.fingerprint(),
        "tokenizer": f"trained, {options.vocabulary}" if options.vocabulary else hashlib.sha256(given.read_bytes()).hexdigest(),
        "tokens": options.tokens,
        "valid-share": options.valid_share,
    }
    if options.neighbours:
        from training import embedder  # with transformers, which takes seconds to load

        folder = embedder.find(options.embedder)  # what is missing is said before the work begins
    work = Work(options.work, settings)
    tokenizer = make_tokenizer(work, corpus, given, options.vocabulary)
    make_streams(work, corpus, tokenizer, options.tokens, options.valid_share)
    if options.neighbours:
        if work.data.get("neighbours", {}).get("limit") != options.chunks:
            from training import neighbours

            found = neighbours.find(work.folder, tokenizer, embedder.Embedder(folder), options.chunks)
            work.save(neighbours={"limit": options.chunks, **found})
        print("neighbours: of {chunks:,} chunks in {documents:,} documents".format(**work.data["neighbours"]))
    print(f"{options.work} is ready")


def share(text: str) -> float:
    if not 0 < (value := float(text)) <= 0.5:
        raise argparse.ArgumentTypeError("a share above 0 and up to 0.5")
    return value


def vocabulary(text: str) -> int:
    if not bpe.SMALLEST <= (value := int(text)) <= bpe.LARGEST:
        raise argparse.ArgumentTypeError(f"{bpe.SMALLEST} to {bpe.LARGEST} entries")
    return value


def count(text: str) -> int:
    if (value := int(text)) < 0:
        raise argparse.ArgumentTypeError("0 for all, or a number above it")
    return value


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.prepare", description=__doc__.splitlines()[0].split(": ")[1])
    parser.add_argument("source", type=Path, metavar="FOLDER", help="texts: .txt, .md, .jsonl, .jsonl.zst")
    parser.add_argument("--work", type=Path, default=DEFAULT_WORK, help="folder to write to (%(default)s)")
    parser.add_argument("--valid-share", type=share, default=0.02, help="part of the text that is held out (%(default)s)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--tokenizer", type=Path, help=f"tokenizer.json to use ({bpe.DEFAULT_TOKENIZER})")
    kind.add_argument("--vocabulary", type=vocabulary, help="train a tokenizer with so many entries on the texts")
    parser.add_argument("--tokens", type=count, default=0, help="stop after about so many tokens to train on (0: take all)")
    parser.add_argument("--chunks", type=count, default=0, help="find neighbours of, and among, the first so many chunks (0: all)")
    parser.add_argument("--embedder", type=Path, help="folder of all-MiniLM-L6-v2 (that of the Python package)")
    parser.add_argument("--no-neighbours", dest="neighbours", action="store_false", help="do not look for neighbours")
    return parser.parse_args(arguments)


def main() -> None:
    try:
        prepare(parse())
    except CorpusError as error:
        raise SystemExit(f"prepare: {error}") from None


if __name__ == "__main__":
    main()
