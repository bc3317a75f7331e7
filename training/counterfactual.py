"""Counterfactual text: numbers, names and dates replaced by others of their kind, the same replacement everywhere.

A replacement is a permutation of the vocabulary that leaves all tokens but those of a kind where they are. Applied to a text
and to the neighbours that cover it, it makes a pair whose right continuation can be read in the neighbour, and
remembered from nowhere. Kinds: digits (each is a token of its own), names of months, and capitalised words.
"""

import re

import numpy as np
from tokenizers import Tokenizer

MONTHS = "January February March April May June July August September October November December".split()
# A capitalised word that is one token with its space is a name more often than not, past the most frequent ones, which
# begin sentences ("The", "In"), and where it is not more frequent without a capital ("They"). Token ids of a BPE are ordered
# by frequency.
FIRST_NAME = 1000
# Names are exchanged for names of like frequency: a rare name learned in a few steps must not become a frequent one.
BAND = 256


def texts(tokenizer: Tokenizer) -> dict[int, str]:
    """The text of each token but padding and end-of-text."""
    return {id: tokenizer.decode([id]) for id in range(2, tokenizer.get_vocab_size())}


def kinds(tokenizer: Tokenizer) -> list[np.ndarray]:
    """Token ids that may stand for one another: a list of int64 arrays."""
    tokens = texts(tokenizer)
    ids = {text: id for id, text in tokens.items()}
    digits = [id for id, text in tokens.items() if text in set("0123456789")]
    months = [id for id, text in tokens.items() if text[:1] == " " and text[1:] in MONTHS]
    names = [
        id
        for id, text in tokens.items()
        if id >= FIRST_NAME
        and id not in months
        and re.fullmatch(r" [A-Z][a-z]{2,}", text)
        and ids.get(text.lower(), id) >= id
    ]
    bands = [names[at : at + BAND] for at in range(0, len(names), BAND)]
    return [np.asarray(kind) for kind in (digits, months, *bands) if len(kind) > 1]


def plain_words(tokenizer: Tokenizer) -> list[str]:
    """The lower-case words of four letters and more that are one token with their space."""
    return [text[1:] for text in texts(tokenizer).values() if re.fullmatch(r" [a-z]{4,}", text)]


class Counterfactual:
    def __init__(self, tokenizer: Tokenizer):
        self.vocabulary = tokenizer.get_vocab_size()
        self.kinds = kinds(tokenizer)

    def permutation(self, rng: np.random.Generator) -> np.ndarray:
        """What each token becomes, int64 [vocabulary]."""
        table = np.arange(self.vocabulary)
        for kind in self.kinds:
            table[kind] = rng.permutation(kind)
        return table
