"""Step 1: train the byte-level BPE.

    python -m training.tokenizer --corpus corpus

Two entries stand at the front of the vocabulary and are made by no merge: padding and end of text. They are trained
as special tokens, which keeps the merges off them, and then taken out of `added_tokens`: otherwise a user's text that
spells `<|endoftext|>` would be encoded as the control token.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from training.corpus import DEFAULT_CORPUS, documents
from training.files import write_atomically

VOCABULARY = 16384
PAD = 0
END_OF_TEXT = 1
CONTROL_TOKENS = ["<pad>", "<|endoftext|>"]
DEFAULT_TOKENIZER = Path("models/retro-10m/tokenizer.json")


def sample(path: Path, characters: int) -> Iterator[str]:
    """Documents from the start of the file (which is shuffled) until `characters` are reached."""
    taken = 0
    for text in documents(path):
        yield text
        taken += len(text)
        if taken >= characters:
            return


def train(texts: Iterator[str], vocabulary: int = VOCABULARY) -> str:
    """Train on `texts` and return the content of `tokenizer.json`."""
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
        show_progress=True,
    )
    tokenizer.train_from_iterator(texts, trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = []
    return json.dumps(content, ensure_ascii=False, indent=1)


def check(tokenizer: Tokenizer, vocabulary: int = VOCABULARY) -> None:
    """Raise if the vocabulary or the round trip is not as promised."""
    entries = tokenizer.get_vocab()
    assert tokenizer.get_vocab_size() == vocabulary, tokenizer.get_vocab_size()
    assert [entries[name] for name in CONTROL_TOKENS] == [PAD, END_OF_TEXT]
    assert all(symbol in entries for symbol in pre_tokenizers.ByteLevel.alphabet())
    for text in ROUND_TRIPS:
        ids = tokenizer.encode(text).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text, text
        assert PAD not in ids and END_OF_TEXT not in ids, text


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


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--corpus", type=Path, default=DEFAULT_CORPUS, help="folder with train.jsonl.zst")
    arguments.add_argument("--characters", type=int, default=60_000_000)
    arguments.add_argument("--out", type=Path, default=DEFAULT_TOKENIZER)
    options = arguments.parse_args()
    content = train(sample(options.corpus / "train.jsonl.zst", options.characters))
    check(Tokenizer.from_str(content))
    write_atomically(options.out, content.encode())
    print(f"{options.out}: {VOCABULARY} entries")


if __name__ == "__main__":
    main()
