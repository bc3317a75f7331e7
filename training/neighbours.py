"""Step 3: nearest neighbours from other documents, for a part of the training chunks and for the held-out ones.

    python -m training.neighbours --embedder FOLDER

The key of a chunk is the mean of a BERT's output vectors, L2-normalised (arXiv 2112.04426, section 2.3), with
all-MiniLM-L6-v2 as the BERT, as in the server. The database is the first `--chunks` chunks of the training stream.
Writes `train.neighbours.npz`: `document_first` int64 [documents + 1], the first chunk id of each document in the
database, `starts` and `ends` int64 [chunks], the bounds of a chunk *and its continuation* in the stream, and `nearest` int32
[chunks, 4]. `valid.neighbours.npz` holds `nearest` for the chunks of the held-out sequences, looked up in the same
database.
"""

import argparse
import hashlib
import time
from pathlib import Path

import faiss
import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import BertModel

from training.held_out import HELD_OUT_CHUNKS, held_out_starts
from training.prepare import DEFAULT_WORK
from training.stream import TokenStream
from training.tokenizer import DEFAULT_TOKENIZER

CHUNK = 64
KEPT = 4
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class Embedder:
    """Text to unit vectors by a sentence-transformers folder with mean pooling."""

    def __init__(self, folder: Path):
        digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        if digest != SHA256:
            raise SystemExit(f"{folder}/model.safetensors is not the expected file: sha256 {digest}")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.enable_padding()
        self.model = BertModel.from_pretrained(str(folder), add_pooling_layer=False).eval()

    @torch.inference_mode()
    def __call__(self, texts: list[str], batch: int = 128) -> np.ndarray:
        vectors = np.zeros((len(texts), 384), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # rows of like length: little padding
        begun = time.time()
        for at in range(0, len(order), batch):
            rows = order[at : at + batch]
            encodings = self.tokenizer.encode_batch([texts[i] for i in rows])
            ids = torch.tensor([e.ids for e in encodings])
            mask = torch.tensor([e.attention_mask for e in encodings])
            with torch.autocast("cpu", torch.bfloat16):
                states = self.model(ids, attention_mask=mask).last_hidden_state
            weights = mask[..., None].float()
            pooled = (states.float() * weights).sum(1) / weights.sum(1)
            vectors[rows] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
            if at // batch % 40 == 0:
                print(f"  {at + len(rows)}/{len(texts)} chunks, {time.time() - begun:.0f} s", flush=True)
        return vectors


def document_chunks(stream: TokenStream, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts of the chunks of the first documents (int64 [chunks]) and `document_first` (int64 [documents + 1])."""
    starts, first = [], [0]
    for begin, end in zip(stream.starts, stream.ends, strict=True):
        if first[-1] >= limit:
            break
        starts.append(np.arange(begin, end, CHUNK))
        first.append(first[-1] + len(starts[-1]))
    return np.concatenate(starts), np.asarray(first)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--embedder", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    arguments.add_argument("--tokenizer", type=Path, default=DEFAULT_TOKENIZER)
    arguments.add_argument("--work", type=Path, default=DEFAULT_WORK)
    arguments.add_argument("--chunks", type=int, default=40_000)
    options = arguments.parse_args()
    if (options.work / "valid.neighbours.npz").exists():
        print("neighbours: already there")
        return
    torch.set_num_threads(2)
    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    train, valid = (TokenStream.open(options.work, split) for split in ("train", "valid"))
    embedder = Embedder(options.embedder)

    starts, first = document_chunks(train, options.chunks)
    documents = train.document_of(starts)
    ends = train.ends[documents]
    texts = [
        tokenizer.decode(train.tokens[s : min(s + CHUNK, e)].tolist()) for s, e in zip(starts, ends, strict=True)
    ]
    keys = embedder(texts)
    index = faiss.IndexFlatIP(keys.shape[1])
    index.add(keys)

    def nearest_elsewhere(queries: np.ndarray, own: np.ndarray) -> np.ndarray:
        """The KEPT nearest chunks whose document is not `own`: int32 [queries, KEPT], -1 where there are fewer."""
        # Chunks of the same document crowd the front of the list; 64 candidates leave enough of the others.
        _, candidates = index.search(queries, 64)
        found = np.full((len(queries), KEPT), -1, np.int32)
        for row, (ids, document) in enumerate(zip(candidates, own, strict=True)):
            other = ids[documents[ids] != document][:KEPT]
            found[row, : len(other)] = other
        return found

    np.savez(
        options.work / "train.neighbours.npz",
        document_first=first,
        starts=starts,
        ends=np.minimum(starts + 2 * CHUNK, ends),
        nearest=nearest_elsewhere(keys, documents),
    )
    places = (held_out_starts(valid)[:, None] + CHUNK * np.arange(HELD_OUT_CHUNKS)).reshape(-1)
    queries = embedder([tokenizer.decode(valid.tokens[p : p + CHUNK].tolist()) for p in places])
    np.savez(options.work / "valid.neighbours.npz", nearest=nearest_elsewhere(queries, np.full(len(queries), -1)))
    print(f"{len(starts)} chunks of {len(first) - 1} documents")


if __name__ == "__main__":
    main()
