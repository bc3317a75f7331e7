"""Step 2: tokenise a part of the corpus.

    python -m training.prepare --corpus corpus

Writes `train` and `valid` token streams into the work folder. A step that finds its output does nothing.
"""

import argparse
import time
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer

from training.corpus import DEFAULT_CORPUS, documents
from training.stream import TokenStream
from training.tokenizer import DEFAULT_TOKENIZER

DEFAULT_WORK = Path("training/work")
BATCH = 256


def tokenise(path: Path, tokenizer: Tokenizer, budget: int) -> TokenStream:
    """Whole documents in file order until `budget` tokens are reached."""
    texts, encoded, total = documents(path), [], 0
    while total < budget and (batch := list(islice(texts, BATCH))):
        for encoding in tokenizer.encode_batch(batch):
            if total < budget and encoding.ids:
                encoded.append(encoding.ids)
                total += len(encoding.ids)
    return TokenStream.from_documents(encoded)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--corpus", type=Path, default=DEFAULT_CORPUS)
    arguments.add_argument("--tokenizer", type=Path, default=DEFAULT_TOKENIZER)
    arguments.add_argument("--work", type=Path, default=DEFAULT_WORK)
    arguments.add_argument("--tokens", type=int, default=16_000_000, help="training tokens")
    arguments.add_argument("--valid-tokens", type=int, default=1_000_000)
    options = arguments.parse_args()
    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    options.work.mkdir(parents=True, exist_ok=True)
    for split, budget in [("train", options.tokens), ("valid", options.valid_tokens)]:
        if (options.work / f"{split}.bounds.npy").exists():
            print(f"{split}: already there")
            continue
        begun = time.time()
        stream = tokenise(options.corpus / f"{split}.jsonl.zst", tokenizer, budget)
        stream.save(options.work, split)
        print(f"{split}: {len(stream.starts)} documents, {len(stream.tokens)} tokens, {time.time() - begun:.0f} s")


if __name__ == "__main__":
    main()
