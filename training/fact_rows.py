"""Training rows from invented facts (training.facts): short sequences in which a value has to be read in a neighbour.

A row of 96 tokens is two prompts with their values, each at the end of a chunk:

    [first prompt] [value, rest of its sentence, other text ..., second prompt] [value, rest ...]

The first chunk is the bare prompt, as `prompt_end` has it for a short prompt; the second is 64 tokens of which the prompt is the
end. A fact's document is cut into database entries from its first token, as in ingestion; the neighbours of a prompt
are entries of it, as a search would find them, or, for a part, only entries of other documents, where the value is not to be known.
"""

import re
from collections.abc import Iterator

import numpy as np
from tokenizers import Tokenizer

from training.facts import Fact
from training.facts.documents import by_itself
from training.sampler import CHUNK, NEIGHBOURS, RETRIEVED, random_ranges
from training.stream import TokenStream

LENGTH = CHUNK + 32
LONGEST_PROMPT = 56  # of the second
LONGEST_FIRST_PROMPT = 24
# Weights in the loss: values are few tokens, and what the rows are for. To find a value is hard; a word that has been begun
# is easily gone on with, a number is not: its digits stand elsewhere too.
VALUE_WEIGHT = 8.0  # of a value's first token, and of all of a number
REST_WEIGHT = 3.0  # of the other tokens of a value
FOUND = 0.92  # of the prompts have their document among the neighbours
BOTH = 0.5  # of those have another entry of it as the second neighbour
RIVAL = 0.35  # of those have an entry that gives another thing's value for the same question
OTHER_DIGITS = 0.5  # of the facts have their digits exchanged: years would else begin with 1, and be guessed


class Tokens:
    """A fact in tokens."""

    def __init__(self, tokenizer: Tokenizer, fact: Fact):
        self.kind = fact.kind
        encode = lambda text: tokenizer.encode(text).ids  # noqa: E731
        self.prompt = encode(fact.prompt)
        self.value = encode(" " + fact.value)
        numeric = fact.value[0].isdigit()
        self.weights = [VALUE_WEIGHT if numeric or not number else REST_WEIGHT for number in range(len(self.value))]
        self.rest = encode(fact.rest)
        encoding = tokenizer.encode(fact.document)
        document = np.asarray(encoding.ids, np.int64)
        entries = np.zeros((-(-len(document) // CHUNK), RETRIEVED), np.int64)
        for number in range(len(entries)):
            part = document[number * CHUNK : number * CHUNK + RETRIEVED]
            entries[number, : len(part)] = part
        self.entries = entries
        at = re.search(by_itself(fact.value), fact.document).start()
        self.holder = encoding.char_to_token(at) // CHUNK  # the entry whose neighbour part holds the value's start
        # The entry before it holds the value in its continuation, unless the value goes on beyond that.
        end = encoding.char_to_token(at + len(fact.value) - 1) // CHUNK
        self.holders = [self.holder] + [self.holder - 1] * (self.holder > 0 and end == self.holder)

    def exchange(self, table: np.ndarray) -> None:
        """Each token becomes what `table`, int64 [vocabulary], has for it."""
        self.entries = table[self.entries]
        self.prompt, self.value, self.rest = (table[part].tolist() for part in (self.prompt, self.value, self.rest))


class FactRows:
    def __init__(self, tokenizer: Tokenizer, facts: Iterator[Fact], stream: TokenStream):
        self.tokenizer, self.facts, self.stream = tokenizer, facts, stream
        self.digits = np.asarray([tokenizer.token_to_id(digit) for digit in "0123456789"])
        self.rivals: dict[str, Tokens] = {}  # the last fact of each kind

    def take(self) -> list[Tokens]:
        """Two facts, the first with a short prompt."""
        pair: list[Tokens] = []
        while len(pair) < 2:
            fact = Tokens(self.tokenizer, next(self.facts))
            if len(fact.prompt) <= (LONGEST_PROMPT if pair else LONGEST_FIRST_PROMPT):
                pair.append(fact)
        return pair

    def batch(self, rng: np.random.Generator, rows: int):
        """tokens int64 [rows, 97], first_chunk int64 [rows], neighbours int64 [rows, 2, 2, 128], weights float32 [rows, 96]
        of the predicted tokens."""
        tokens = np.zeros((rows, LENGTH + 1), np.int64)
        first_chunk = np.zeros(rows, np.int64)
        neighbours = np.zeros((rows, 2, NEIGHBOURS, RETRIEVED), np.int64)
        weights = np.ones((rows, LENGTH), np.float32)
        facts = [fact for _ in range(rows) for fact in self.take()]
        for fact in facts:
            if rng.random() < OTHER_DIGITS:
                table = np.arange(self.tokenizer.get_vocab_size())
                table[self.digits] = rng.permutation(self.digits)
                fact.exchange(table)
        for row in range(rows):
            pair = facts[2 * row : 2 * row + 2]
            first_chunk[row] = len(pair[0].prompt)
            ids, spans = self.row(rng, *pair)
            tokens[row] = ids[: LENGTH + 1]
            for fact, (begin, end) in zip(pair, spans, strict=True):
                weights[row, begin - 1 : end - 1] = fact.weights[: end - begin]
            for slot, fact in enumerate(pair):
                other = facts[int(rng.integers(len(facts)))]
                neighbours[row, slot] = self.neighbours(rng, fact, other if other is not fact else facts[2 * row - 1])
        return tokens, first_chunk, neighbours, weights

    def row(self, rng: np.random.Generator, first: Tokens, second: Tokens) -> tuple[list[int], list[tuple[int, int]]]:
        """Tokens (more than are used) and the spans of the two values."""
        middle = first.value + first.rest
        room = CHUNK - len(second.prompt)
        between = (middle + self.text(rng, max(0, room - len(middle))))[:room]
        ids = first.prompt + between + second.prompt
        spans = [(len(first.prompt), len(first.prompt) + min(room, len(first.value)))]
        spans.append((len(ids), min(LENGTH + 1, len(ids) + len(second.value))))
        ids = ids + second.value + second.rest
        return ids + self.text(rng, max(0, LENGTH + 1 - len(ids))), spans

    def text(self, rng: np.random.Generator, length: int) -> list[int]:
        at = int(rng.integers(0, len(self.stream.tokens) - length))
        return self.stream.tokens[at : at + length].astype(np.int64).tolist()

    def neighbours(self, rng: np.random.Generator, fact: Tokens, other: Tokens) -> np.ndarray:
        """[2, 128]; `other` is another fact, whose entries are what a search finds where the document is missing."""
        chosen = [other.entries[int(rng.integers(len(other.entries)))], self.corpus_entry(rng)]
        if rng.random() < 0.5:
            chosen.reverse()
        if rng.random() < FOUND:
            # The value is in the entry's neighbour or in its continuation.
            holder = fact.holders[0] if len(fact.holders) == 1 or rng.random() < 0.7 else fact.holders[1]
            chosen[0] = fact.entries[holder]
            rest = [entry for number, entry in enumerate(fact.entries) if number != holder]
            second, rival = rng.random(), self.rivals.get(fact.kind)
            if rest and second < BOTH:
                chosen[1] = rest[int(rng.integers(len(rest)))]
            elif rival is not None and second < BOTH + RIVAL:
                chosen[1] = rival.entries[rival.holder]
            if rng.random() < 0.4:
                chosen.reverse()
        self.rivals[fact.kind] = fact
        return np.stack(chosen)

    def best_neighbours(self, rng: np.random.Generator, fact: Tokens) -> np.ndarray:
        """[2, 128]: the entry that holds the value, and another of the document or of the corpus."""
        other = fact.entries[fact.holder - 1] if fact.holder else self.corpus_entry(rng)
        return np.stack([fact.entries[fact.holder], other])

    def corpus_entry(self, rng: np.random.Generator) -> np.ndarray:
        return self.stream.windows(*random_ranges(self.stream, rng, np.asarray([-1])), RETRIEVED)[0]
