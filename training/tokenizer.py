"""The tokenizer, a byte-level BPE: how training.prepare trains one, and what it asks of a given one.

Two entries stand at the front of the vocabulary and are made by no merge: padding and end of text. They are trained
as special tokens, which keeps the merges off them, and then taken out of `added_tokens`: otherwise a user's text that
spells `<|endoftext|>` would be encoded as the control token.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

PAD = 0
END_OF_TEXT = 1
CONTROL_TOKENS = ["<pad>", "<|endoftext|>"]
SMALLEST, LARGEST = 256 + len(CONTROL_TOKENS), 1 << 16  # the bytes alone; what a stream's uint16 can count
DEFAULT_TOKENIZER = Path("models/retro-nano/tokenizer.json")


def train(texts: Iterator[str], vocabulary: int) -> str:
    """Train on `texts` and return the content of `tokenizer.json`. Few texts may give fewer entries than `vocabulary`."""
    tokenizer = Tokenizer(models.BPE())
    # Digits one by one: a number costs as many tokens as it has digits, but is spelt the same way everywhere.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=CONTROL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = []
    return json.dumps(content, ensure_ascii=False, indent=1)


def check(tokenizer: Tokenizer) -> None:
    """Raise ValueError if the control tokens, the alphabet or the round trip are not what training and serving rely on."""
    entries = tokenizer.get_vocab()
    if not SMALLEST <= len(entries) <= LARGEST or set(entries.values()) != set(range(len(entries))):
        raise ValueError(f"it has {len(entries)} entries; {SMALLEST} to {LARGEST} are possible, with ids that have no gaps")
    if [entries.get(name) for name in CONTROL_TOKENS] != [PAD, END_OF_TEXT]:
        raise ValueError(f"its first two entries are not {' and '.join(CONTROL_TOKENS)}")
    if missing := [symbol for symbol in pre_tokenizers.ByteLevel.alphabet() if symbol not in entries]:
        raise ValueError(f"it is not byte-level: {len(missing)} of the 256 bytes have no entry")
    for text in ROUND_TRIPS:
        ids = tokenizer.encode(text).ids
        if PAD in ids or END_OF_TEXT in ids:
            raise ValueError(f"text can spell its control tokens: {text!r}")
        if tokenizer.decode(ids, skip_special_tokens=False) != text:
            raise ValueError(f"encoding and decoding does not give back {text!r}")


ROUND_TRIPS = [
    "",
    " ",
    "\n\n\t  x \r\n",
    "In 1984 there were 1234567890 reasons.",
    "<pad><|endoftext|> <pad>",
    "naïve café — “quoted” … ½ ﬁ",
    "e\u0301 versus é, A\u030a",
    "日本語と한국어 и русский, עברית العربية",
    "👩🏽‍🚀👨‍👩‍👧‍👦 🇬🇧 \U0010ffff\ufeff\u200b\u0000",
    "don't I'LL we've",
    "０１２ ٣٤٥ ²³",
]


def synthetic(vocabulary: int) -> str:
    """`tokenizer.json` for a model that never saw text: the bytes, then merges of two of them."""
    if not SMALLEST <= vocabulary <= LARGEST:
        raise ValueError(f"{vocabulary} entries; {SMALLEST} to {LARGEST} are possible")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = itertools.islice(itertools.product(alphabet, alphabet), vocabulary - SMALLEST)
    merges = list(pairs)
    entries = [*CONTROL_TOKENS, *alphabet, *(first + second for first, second in merges)]
    tokenizer = Tokenizer(models.BPE({entry: id for id, entry in enumerate(entries)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer.to_str(pretty=True)
