"""From a folder of texts to what training reads."""

import json
import zlib

import numpy as np
import pytest
import zstandard
from tokenizers import Tokenizer

from training import neighbours, prepare
from training.corpus import Corpus, CorpusError, documents
from training.neighbour_table import NeighbourTable
from training.sampler import Sampler
from training.stream import TokenStream

VOCABULARY = 300
WORDS = "river stone bridge cloud winter garden engine letter market signal forest copper".split()


class Embed:
    """Keys by the words of a text, without a BERT."""

    size = 16

    def __init__(self):
        self.texts = 0

    def __call__(self, texts):
        self.texts += len(texts)
        keys = np.full((len(texts), self.size), 1e-3, np.float32)
        for key, text in zip(keys, texts, strict=True):
            for word in text.split():
                key[zlib.crc32(word.encode()) % self.size] += 1
        return keys / np.linalg.norm(keys, axis=1, keepdims=True)


def text(seed: int, words: int = 200) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


def run(source, work, *more):
    prepare.prepare(prepare.parse([str(source), "--work", str(work), "--vocabulary", str(VOCABULARY), "--no-neighbours", *more]))
    return json.loads((work / "data.json").read_text())


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "texts"
    (source / "deeper" / ".hidden").mkdir(parents=True)
    for number in range(8):
        (source / f"{number}.txt").write_text(text(number))
    (source / "deeper" / "note.md").write_bytes(b"\xef\xbb\xbf# " + text(20).encode())
    lines = [json.dumps({"text": text(30 + n)}) for n in range(3)] + ["", '{"text": " "}']
    (source / "lines.jsonl").write_text("\n".join(lines))
    packed = [zstandard.compress((json.dumps({"text": text(40 + n)}) + "\n").encode()) for n in range(2)]
    (source / "deeper" / "lines.jsonl.zst").write_bytes(b"".join(packed))
    (source / "deeper" / ".hidden" / "x.txt").write_text("hidden")
    (source / "link.txt").symlink_to(source / "0.txt")
    return source


def test_a_folder_becomes_streams(folder, tmp_path):
    data = run(folder, tmp_path / "work")
    assert data["documents"]["train"] + data["documents"]["valid"] == 8 + 1 + 3 + 2
    train, valid = (TokenStream.open(tmp_path / "work", split) for split in ("train", "valid"))
    assert data["tokens"] == {"train": int((train.ends - train.starts).sum()), "valid": int((valid.ends - valid.starts).sum())}
    tokenizer = Tokenizer.from_file(str(tmp_path / "work" / "tokenizer.json"))
    assert data["vocabulary"] == tokenizer.get_vocab_size() <= VOCABULARY
    found = {tokenizer.decode(s.tokens[a:b].tolist()) for s in (train, valid) for a, b in zip(s.starts, s.ends, strict=True)}
    assert {text(number) for number in [*range(8), *range(30, 33), 40, 41]} | {"# " + text(20)} == found


def test_what_is_complete_is_kept_and_what_is_not_the_same_is_refused(folder, tmp_path):
    work = tmp_path / "work"
    first = run(folder, work)
    written = (work / "train.tokens").stat().st_mtime_ns
    assert run(folder, work) == first and (work / "train.tokens").stat().st_mtime_ns == written
    with pytest.raises(CorpusError, match="other valid-share"):
        run(folder, work, "--valid-share", "0.1")
    (folder / "new.txt").write_text("new")
    with pytest.raises(CorpusError, match="other texts"):
        run(folder, work)
    (work / "data.json").unlink()
    with pytest.raises(CorpusError, match="no data.json"):
        run(folder, work)


def test_an_attempt_that_failed_is_forgotten(folder, tmp_path):
    (folder / "lines.jsonl").write_text('{"text": "a"}\n{"text": \n')
    with pytest.raises(CorpusError, match=r"lines.jsonl, line 2: not JSON"):
        run(folder, tmp_path / "work")
    (folder / "lines.jsonl").write_text('{"text": "a"}\n')
    assert run(folder, tmp_path / "work")["tokens"]["train"] > prepare.SEQUENCE


def test_a_split_and_a_budget_are_kept(tmp_path):
    for split, count in [("train", 30), ("valid", 10)]:
        lines = "".join(json.dumps({"text": text(n, 300)}) + "\n" for n in range(count))
        (tmp_path / f"{split}.jsonl").write_text(lines)
    (tmp_path / "other.txt").write_text("not of the split")
    assert run(tmp_path, tmp_path / "all")["documents"] == {"train": 30, "valid": 10}
    data = run(tmp_path, tmp_path / "some", "--tokens", "3000", "--valid-share", "0.25")
    assert data["tokens"] == {"train": 3000, "valid": 1000}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"caf\xe9", "not UTF-8 text: byte 3 is 0xe9"),
        ("a.jsonl", b'{"text": "x"}\n\xff\n', "line 2: not UTF-8"),
        ("a.jsonl", b'{"words": "x"}\n', "line 1: no object"),
        ("a.jsonl", b'{"text": 3}\n', "line 1: no object"),
        ("a.jsonl", b'["text"]\n', "line 1: no object"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "line 1: .*surrogate"),
        ("a.jsonl.zst", b"plain text", "not whole zstd"),
        ("a.jsonl.zst", zstandard.compress(b'{"text": "x"}\n' * 99)[:-4], "not whole zstd"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=f"{name}.* {message}" if message[:4] == "line" else f"{name} is {message}"):
        list(documents(tmp_path / name))


def test_a_folder_without_enough_is_refused(tmp_path):
    for path, message in [(tmp_path / "none", "does not exist"), (tmp_path, "holds no files")]:
        with pytest.raises(CorpusError, match=message):
            Corpus.open(path)
    (tmp_path / "short.txt").write_text("short")
    with pytest.raises(CorpusError, match="tokens; at least"):
        run(tmp_path, tmp_path / "work")


@pytest.mark.parametrize("lengths", [[5000], [5000, 6000], [400] * 32, [60000, 100, 100], [600, 600], [3] * 2000])
def test_held_out_is_a_sequence_at_least_and_not_much_more_than_its_share(lengths):
    encoded = [np.arange(length, dtype=np.uint16) for length in lengths]
    train, valid = prepare.hold_out(encoded, 0.02)
    kept, held = (sum(map(len, part)) for part in (train, valid))
    assert kept + held == sum(lengths) and kept >= prepare.SEQUENCE
    assert max(prepare.SEQUENCE, 0.02 * sum(lengths)) <= held + 1 <= 2 * max(prepare.SEQUENCE, 0.02 * sum(lengths)) + 1
    stream = TokenStream.from_documents(valid)
    assert len(stream.beginnings(prepare.SEQUENCE)) >= 1


def test_long_texts_are_encoded_whole(monkeypatch):
    monkeypatch.setattr(prepare, "BATCH_CHARACTERS", 50)
    texts = [text(1), "one line\n" * 30, "short", "two lines\nof text"]
    batches = [batch for batch in prepare.batches(texts)]
    assert ["".join(pieces) for batch in batches for pieces in batch] == texts
    assert all(len(piece) <= 50 for batch in batches for pieces in batch for piece in pieces)


@pytest.fixture
def streams(tmp_path):
    """A work folder with one long document, whose chunks crowd each other's candidates, and thirty short ones."""
    tokenizer = Tokenizer.from_str(prepare.bpe.train(iter([text(0)]), VOCABULARY))
    documents = [text(1, 20000)] + [text(10 + n, 300) for n in range(30)]
    for split, texts in [("train", documents), ("valid", [text(5, 900)])]:
        TokenStream.from_documents([tokenizer.encode(t).ids for t in texts]).save(tmp_path, split)
    return tmp_path, tokenizer


@pytest.mark.parametrize("exact", [True, False])
def test_neighbours_are_the_nearest_of_other_documents(streams, monkeypatch, exact):
    work, tokenizer = streams
    if not exact:
        monkeypatch.setattr(neighbours, "EXACT_CHUNKS", 100)
    found = neighbours.find(work, tokenizer, Embed(), 0)
    table, stream = NeighbourTable.open(work / "train.neighbours.npz"), TokenStream.open(work, "train")
    assert found == {"chunks": len(table.starts), "documents": 31}
    document = np.searchsorted(table.first, np.arange(len(table.starts)), side="right") - 1
    assert (table.nearest >= 0).all() and (document[table.nearest] != document[:, None]).all()
    assert (table.starts == np.concatenate([np.arange(s, e, 64) for s, e in zip(stream.starts, stream.ends, strict=True)])).all()
    keys = np.fromfile(work / "train.keys", np.float16).reshape(-1, Embed.size).astype(np.float32)
    scores = np.where(document[:, None] == document, -1, keys @ keys.T)
    best = np.sort(scores, 1)[:, -4:].mean()
    got = np.take_along_axis(scores, table.nearest.astype(np.int64), 1).mean()
    assert got == pytest.approx(best, abs=1e-5 if exact else 5e-3)
    assert np.load(work / "valid.neighbours.npz")["nearest"].shape == (8, 4)
    sampler = Sampler(stream)
    assert sampler.load_neighbours(work / "train.neighbours.npz")
    assert sampler.batch(0, 4, 32)[2].shape == (4, 8, 2, 128)


def test_keys_are_not_made_twice(streams):
    work, tokenizer = streams
    neighbours.find(work, tokenizer, Embed(), 0)
    whole, keys = dict(np.load(work / "train.neighbours.npz")), (work / "train.keys").read_bytes()
    (work / "train.keys").write_bytes(keys[: len(keys) // 2 + 5])  # a stop within a row
    embed = Embed()
    neighbours.find(work, tokenizer, embed, 0)
    assert embed.texts < 0.6 * len(whole["starts"]) and (work / "train.keys").read_bytes() == keys
    assert all((np.load(work / "train.neighbours.npz")[name] == array).all() for name, array in whole.items())


def test_one_document_has_no_neighbours(tmp_path):
    tokenizer = Tokenizer.from_str(prepare.bpe.train(iter([text(0)]), VOCABULARY))
    for split in ("train", "valid"):
        TokenStream.from_documents([tokenizer.encode(text(3, 900)).ids]).save(tmp_path, split)
    neighbours.find(tmp_path, tokenizer, Embed(), 0)
    assert (NeighbourTable.open(tmp_path / "train.neighbours.npz").nearest == -1).all()
    sampler = Sampler(TokenStream.open(tmp_path, "train"))
    sampler.load_neighbours(tmp_path / "train.neighbours.npz")
    sampler.batch(0, 2, 32)
