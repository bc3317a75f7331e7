"""Embeddings of the corpus' chunks, made once by `retro embed` and kept: in parts, so that a stop costs no more than one part."""

import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benches.database.run import Run
from benches.database.texts import line
from benches.worker import PeerError


@dataclass(frozen=True)
class Part:
    """Files of one part. `about` is written last: with it the part is complete."""

    place: Path  # without the ending

    @property
    def documents(self) -> Path:
        return self.place.with_suffix(".jsonl")

    @property
    def texts(self) -> Path:
        return self.place.with_suffix(".texts")

    @property
    def vectors(self) -> Path:
        return self.place.with_suffix(".f32")

    @property
    def about(self) -> Path:
        return self.place.with_suffix(".json")

    def read(self) -> dict | None:
        """None while it is not complete."""
        if not self.about.exists():
            return None
        about = json.loads(self.about.read_text())
        whole = about["chunks"] * about["dimension"] * 4
        return about if self.vectors.exists() and self.vectors.stat().st_size == whole else None

    def matrix(self) -> np.ndarray:
        about = self.read()
        return np.memmap(self.vectors, np.float32, "r", shape=(about["chunks"], about["dimension"]))


def folder(run: Run) -> Path:
    """Of the same corpus, embedder and size of a part."""
    return run.work / f"embeddings-{run.identity.short()}-{run.corpus.identity()}-{run.plan.part_chunks}"


def parts(run: Run, rows: int) -> list[Part]:
    """As many as hold so many chunks. Those that are not there yet are made, which takes long: it says how far it is."""
    place = folder(run)
    place.mkdir(parents=True, exist_ok=True)
    found, chunks, read, began, made = [], 0, 0, time.monotonic(), 0
    while chunks < rows:
        part = Part(place / f"part-{len(found):05}")
        about = part.read()
        if about is None:
            left = f", about {(time.monotonic() - began) / made * (rows - chunks) / 60:.0f} minutes left" if made else ""
            run.say(f"  embedding chunks from {chunks:,} on, of {rows:,}{left}")
            about = make(run, part, read)
            made += about["chunks"]
        found.append(part)
        chunks, read = chunks + about["chunks"], about["lines"]
    return found


def make(run: Run, part: Part, skip: int) -> dict:
    """`skip` are the lines of the corpus that earlier parts are of."""
    numbers, chunks, lines = itertools.count(), 0, skip
    with part.documents.open("w") as out:
        # Lines are counted beside the texts, which the chunker reads some hundred ahead.
        seen: list[int] = []
        texts = (seen.append(number) or text for number, text in run.corpus.documents(skip))
        for text, found in run.chunker.of_documents(texts):
            number = next(numbers)
            out.write(line(f"{part.place.name}-{number:06}", text))
            chunks, lines = chunks + len(found), seen[number]
            if chunks >= run.plan.part_chunks:
                break
    if not chunks:
        raise PeerError("the corpus has fewer chunks than were asked for")
    about = run.retro.embed(run.folder("embed"), [part.documents], "--vectors", part.vectors, "--texts", part.texts)
    if about["chunks"] != chunks:
        raise PeerError(f"`retro embed` finds {about['chunks']} chunks in {part.documents.name}, and there are {chunks}")
    about |= {"lines": lines}
    partial = part.about.with_suffix(".partial")
    partial.write_text(json.dumps(about) + "\n")
    partial.replace(part.about)
    return about
