"""What is asked: completions with retrieval, some of them streamed, look-ups, and documents, in fixed shares."""

import random
import re
from dataclasses import dataclass
from pathlib import Path

SHARES = {"complete": 0.30, "stream": 0.30, "retrieve": 0.30, "post": 0.10}
TOKENS = (32, 128)  # of a completion
PROMPT_WORDS = (4, 48)
QUERY_WORDS = (8, 160)
POST_BYTES = (2_000, 6_000)
# Documents that are posted again and again, so that the database stays as large as it is.
POSTED = 200


@dataclass(frozen=True)
class Request:
    kind: str
    path: str
    body: dict

    def is_good(self, status: int, body: bytes) -> bool:
        """Whether the answer is a whole one."""
        if self.kind == "stream":
            return status == 200 and b"event: done" in body
        return status == (202 if self.kind == "post" else 200)


class Mix:
    def __init__(self, samples: Path, seed: int):
        self.chance = random.Random(seed)
        texts = [file.read_text() for file in sorted(samples.glob("*.md"))]
        if not texts:
            raise SystemExit(f"load: {samples} has no texts (*.md)")
        self.words = [re.sub(r"\s+", " ", text).split(" ") for text in texts]
        self.posted = 0

    def request(self) -> Request:
        kind = self.chance.choices(list(SHARES), list(SHARES.values()))[0]
        if kind == "retrieve":
            return Request(kind, "/v1/retrieve", {"text": self.passage(*QUERY_WORDS)})
        if kind == "post":
            self.posted += 1
            return Request(kind, "/v1/documents", {"id": f"load-{self.posted % POSTED}", "text": self.document()})
        body = {
            "prompt": self.passage(*PROMPT_WORDS),
            "max_tokens": self.chance.randint(*TOKENS),
            "temperature": 0.8,
            "seed": self.chance.getrandbits(32),
            "stream": kind == "stream",
        }
        return Request(kind, "/v1/complete", body)

    def passage(self, least: int, most: int) -> str:
        words = self.chance.choice(self.words)
        number = min(self.chance.randint(least, most), len(words))
        first = self.chance.randrange(len(words) - number + 1)
        return " ".join(words[first : first + number])

    def document(self) -> str:
        size, parts = self.chance.randint(*POST_BYTES), []
        while sum(map(len, parts)) < size:
            parts.append(self.passage(40, 120))
        return "\n\n".join(parts)
