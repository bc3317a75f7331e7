#!/usr/bin/env python3
"""Compute what an embedder should answer, with PyTorch, for the tests to compare with.

    make_embedder_fixture.py FOLDER [FIXTURE]

FOLDER is a sentence-transformers folder (BERT, mean pooling). FIXTURE (default
tests/fixtures/embedder) holds texts.json, a list of texts; vectors.safetensors is
written beside it: float32 [texts, hidden], named "embeddings".

It shares no code with build_embedder.py, on purpose: tokenizer and model are those of
transformers, one text at a time, cut at 512 tokens. Only needed when the texts or the
model change. Requirements: torch==2.11.0 transformers==5.24.0 safetensors==0.8.0

With --check, FOLDER is an ONNX embedder (made by build_embedder.py), and it is compared
with the fixture. Requirements: onnxruntime==1.31.1 tokenizers==0.23.3 safetensors==0.8.0
"""

import argparse
import json
from pathlib import Path

MAX_TOKENS = 512
LEAST_COSINE = 0.99999


def reference(folder, texts):
    import torch
    from transformers import AutoTokenizer, BertModel

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    rows = []
    with torch.inference_mode():
        for text in texts:
            batch = tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
            hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1).float()
            mean = (hidden * mask).sum(1) / mask.sum(1)
            rows.append(torch.nn.functional.normalize(mean, dim=1))
    return torch.cat(rows)


def check(embedder, texts, vectors_path):
    import numpy
    import onnxruntime
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    wanted = load_file(vectors_path)["embeddings"]
    tokenizer = Tokenizer.from_file(str(embedder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding(pad_id=json.loads((embedder / "embedder.json").read_text())["pad_token"])
    session = onnxruntime.InferenceSession(str(embedder / "model.onnx"), providers=["CPUExecutionProvider"])
    alone = None
    # Batches of mixed lengths, so that the mask is tested too.
    for size in (1, 7):
        got = []
        for start in range(0, len(texts), size):
            batch = tokenizer.encode_batch(texts[start : start + size])
            ids = numpy.array([e.ids for e in batch], dtype=numpy.int64)
            mask = numpy.array([e.attention_mask for e in batch], dtype=numpy.int64)
            got.append(session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})[0])
        got = numpy.concatenate(got)
        difference = numpy.abs(got - wanted).max()
        norms = [numpy.linalg.norm(v.astype(numpy.float64), axis=1) for v in (got, wanted)]
        cosine = (got * wanted).sum(1, dtype=numpy.float64) / (norms[0] * norms[1])
        worst = int(cosine.argmin())
        print(f"batches of {size}: least cosine {cosine[worst]:.9f} (text {worst}), largest difference {difference:.1e}")
        if not cosine.min() >= LEAST_COSINE:
            raise SystemExit(f"under {LEAST_COSINE}")
        # A chunk has to find itself at distance 0, in whatever batch it was embedded.
        if alone is not None and not (got == alone).all():
            raise SystemExit(f"{(got != alone).any(1).sum()} texts have another vector in a batch than alone")
        alone = got


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("fixture", type=Path, nargs="?", default=Path("tests/fixtures/embedder"))
    parser.add_argument("--check", action="store_true", help="FOLDER is an ONNX embedder: compare it with the fixture")
    options = parser.parse_args()
    texts = json.loads((options.fixture / "texts.json").read_text(encoding="utf-8"))
    vectors = options.fixture / "vectors.safetensors"
    if options.check:
        check(options.folder, texts, vectors)
        return
    from safetensors.torch import save_file

    embeddings = reference(options.folder, texts)
    save_file({"embeddings": embeddings.contiguous()}, vectors)
    print(f"{vectors}: {list(embeddings.shape)}")


if __name__ == "__main__":
    main()
