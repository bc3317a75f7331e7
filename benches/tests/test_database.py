import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np

from benches import saved
from benches.database import bars, figures, ingest, interchange, nearest, picture, report, rows, tables
from benches.database.embeddings import Part
from benches.database.retro import read_index, read_report
from benches.database.run import Identity
from benches.database.server import read_memory
from benches.database.texts import Chunker, Corpus, read_texts, write_documents
from benches.worker import PeerError

try:
    import pyarrow.parquet as pq
except ImportError:
    pq = None
try:
    import faiss
except ImportError:
    faiss = None

MODEL = Path("models/retro-nano")
IDENTITY = Identity(tokenizer="t", embedder="abcdef0123456789-int16", precision="int16", dimension=4, neighbour_length=64, continuation_length=64)
REPORT = "12 documents ready, 0 failed, {} skipped, 1 unchanged, in 4.1 s (7.9 documents and 59.3 chunks a second)\n"


class InFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)


class Reading(unittest.TestCase):
    def test_the_last_line_of_an_ingest(self):
        found = read_report("skipped x\n" + REPORT.format(0))
        self.assertEqual((found["documents"], found["unchanged"], found["chunks_per_second"]), (12, 1, 59.3))

    def test_an_ingest_that_left_something_out_is_no_figure(self):
        with self.assertRaisesRegex(PeerError, "left out 2 documents"):
            read_report(REPORT.format(2))
        with self.assertRaisesRegex(PeerError, "without its report"):
            read_report("nothing of the kind")

    def test_an_index_and_its_searches(self):
        built, measured = read_index('{"seconds": 1.5, "bytes_on_disk": 7}\n{"recall": 1.0, "p50_ms": 2}\n')
        self.assertEqual((built["seconds"], [one["p50_ms"] for one in measured]), (1.5, [2]))
        for text in ("", "no\n", '{"chunks": 1}', '{"seconds": 1}\n{"p50_ms": 2}'):
            with self.assertRaises(PeerError):
                read_index(text)

    def test_memory_of_a_process(self):
        found = read_memory("Name:\tretro\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n")
        self.assertEqual(found, {"resident_bytes": 1 << 20, "peak_bytes": 2 << 20})
        with self.assertRaises(PeerError):
            read_memory("Name:\tretro\n")


class Tuning(unittest.TestCase):
    def test_the_smallest_setting_that_finds_enough(self):
        recalls, tried = {1: 0.5, 2: 0.98, 4: 1.0}, []

        def measure(setting: int) -> dict:
            tried.append(setting)
            return {"recall": recalls[setting], "setting": setting}

        self.assertEqual(figures.smallest(recalls, measure, 0.97)["setting"], 2)
        self.assertEqual(tried, [1, 2], "no larger one is tried")
        self.assertEqual(figures.smallest(recalls, measure, 2.0)["setting"], 4)

    def test_the_quickest_of_those_that_find_enough(self):
        records = [{"recall": 0.99, "p50_ms": 3}, {"recall": 0.97, "p50_ms": 2}, {"recall": 0.9, "p50_ms": 1}]
        self.assertEqual(figures.quickest(records, 0.97)["p50_ms"], 2)
        self.assertEqual(figures.quickest(records[2:], 0.97)["p50_ms"], 1)

    def test_percentiles(self):
        self.assertEqual(figures.times(list(range(200))), {"count": 200, "p50_ms": 100, "p99_ms": 198})
        self.assertEqual(figures.percentile([5.0], 99), 5.0)


class Nearest(unittest.TestCase):
    def test_equal_texts_count_once_and_no_text_finds_itself(self):
        vectors = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0]] + np.float32(0.1) * np.arange(5, dtype=np.float32)[:, None]
        self.assertTrue((nearest.nearest_others(vectors, np.arange(5), 2) != np.arange(5)[:, None]).all())
        found = nearest.same_share(vectors, vectors, ["a", "b", "c", "d", "a"], 3, 2)
        self.assertEqual((found["chunks"], found["queries"], found["share"]), (4, 3, 1.0))

    def test_other_vectors_find_others(self):
        some = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
        others = np.random.default_rng(1).standard_normal((60, 8)).astype(np.float32)
        self.assertLess(nearest.same_share(some, others, [str(number) for number in range(60)], 60, 2)["share"], 0.5)


class Texts(InFolder):
    def corpus(self, texts: list[str]) -> Corpus:
        for name in ("train", "valid"):
            (self.folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": text, "id": "x"}) + "\n" for text in texts))
        return Corpus(self.folder)

    def test_chunks_tile_a_document(self):
        chunker = Chunker(MODEL / "tokenizer.json")
        texts = ["word " * 200, "\U0001f680字é" * 90, "short"]
        for text, chunks in zip(texts, chunker.chunks(texts), strict=True):
            self.assertEqual("".join(part for part, _ in chunks), text)
            self.assertTrue(all(0 < len(tokens) <= 64 for _, tokens in chunks))
            decoded = [chunker.tokenizer.decode(tokens, skip_special_tokens=False) for _, tokens in chunks]
            self.assertEqual(decoded, [part for part, _ in chunks])

    def test_as_many_chunks_as_were_asked_for(self):
        corpus = self.corpus(["word " * 200, " ", "other " * 300])
        chunker, file = Chunker(MODEL / "tokenizer.json"), self.folder / "out.jsonl"
        written = write_documents(file, (text for _, text in corpus.documents()), chunker, 5)
        kept = [json.loads(line)["text"] for line in file.read_text().splitlines()]
        self.assertEqual((written, sum(len(chunks) for chunks in chunker.chunks(kept))), (5, 5))

    def test_the_corpus_is_gone_on_with(self):
        corpus = self.corpus(["a", "\n", "b", "c"])
        self.assertEqual(list(corpus.documents()), [(1, "a"), (3, "b"), (4, "c")])
        self.assertEqual(list(corpus.documents(3)), [(4, "c")])

    def test_a_folder_without_queries_is_refused(self):
        with self.assertRaises(SystemExit):
            Corpus(self.folder)


class Kept(InFolder):
    def part(self, texts: list[str], seed: int = 0) -> Part:
        """As `embeddings` leaves it, with vectors of chance."""
        part, chunker = Part(self.folder / f"part-{seed:05}"), Chunker(MODEL / "tokenizer.json")
        part.documents.write_text("".join(json.dumps({"id": f"d{seed}-{at}", "text": text}) + "\n" for at, text in enumerate(texts)))
        chunks = [text for found in chunker.chunks(texts) for text, _ in found]
        part.texts.write_text("".join(json.dumps(text) + "\n" for text in chunks))
        vectors = np.random.default_rng(seed).standard_normal((len(chunks), 4)).astype(np.float32)
        (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).tofile(part.vectors)
        part.about.write_text(json.dumps({"chunks": len(chunks), "dimension": 4, "lines": len(texts)}))
        return part

    def test_a_part_without_all_vectors_is_not_complete(self):
        part = self.part(["word " * 200])
        self.assertEqual(part.read()["lines"], 1)
        part.vectors.write_bytes(part.vectors.read_bytes()[:-4])
        self.assertIsNone(part.read())

    @unittest.skipUnless(pq, "no pyarrow")
    def test_documents_as_parquet(self):
        parts = [self.part(["word " * 200, "éé " * 100]), self.part(["other " * 300], 1)]
        chunker, file, count = Chunker(MODEL / "tokenizer.json"), self.folder / "rows.parquet", 12
        with mock.patch.object(interchange, "GROUP_ROWS", 4):
            self.assertEqual(interchange.write(file, interchange.documents(parts, chunker, count), IDENTITY, "rows"), count)
        read = pq.ParquetFile(file)
        self.assertGreater(read.num_row_groups, 1)
        self.assertEqual(read.metadata.metadata[b"retro.embedder"], IDENTITY.embedder.encode())
        found = read.read().to_pylist()
        vectors = np.concatenate([part.matrix() for part in parts])[:count]
        np.testing.assert_array_equal(np.array([row["embedding"] for row in found], np.float32), vectors)
        for row, after in zip(found, [*found[1:], None], strict=True):
            last = after is None or after["document_id"] != row["document_id"]
            self.assertEqual(row["byte_end"] - row["byte_start"], len(row["neighbour"].encode()))
            self.assertEqual(row["continuation"], "" if last else after["neighbour"])
            self.assertEqual(row["continuation_tokens"], [] if last else after["neighbour_tokens"])
            if not last:
                self.assertEqual((after["chunk_index"], after["byte_start"]), (row["chunk_index"] + 1, row["byte_end"]))

    def test_texts_of_other_embeddings_are_refused(self):
        part = self.part(["word " * 200])
        part.texts.write_text("".join(json.dumps(text + "x") + "\n" for text in read_texts(part.texts)))
        with self.assertRaisesRegex(PeerError, "not those that were embedded"):
            list(interchange.documents([part], Chunker(MODEL / "tokenizer.json"), 1))


@unittest.skipUnless(faiss, "no faiss")
class Faiss(InFolder):
    def test_it_is_tuned_and_finds_the_nearest(self):
        from benches.database.faiss_peer import Peer

        vectors = np.random.default_rng(0).standard_normal((600, 16)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        file, queries = self.folder / "v.f32", self.folder / "q.f32"
        vectors.tofile(file)
        vectors[:20].tofile(queries)
        parts = [(str(file), 400), (str(file), 200)]
        peer = Peer(1, parts, 16, str(queries), 2, str(self.folder))
        self.assertEqual(peer.about["vectors"], 600)
        for kind in ("ivf_pq", "hnsw"):
            self.assertGreater(peer.measure(what="build", kind=kind)["bytes"], 600 * 16 * 4)
            tuned = peer.measure(what="tune", kind=kind, recall=0.9)
            self.assertGreaterEqual(tuned["recall"], 0.9)
            again = peer.measure(what="search", kind=kind, settings=tuned["settings"])
            self.assertEqual((again["recall"], again["count"]), (tuned["recall"], 20))
        self.assertEqual(peer.recall(np.full((20, 2), -1)), 0)


def search(recall: float, p50: float) -> dict:
    return {"recall": recall, "p50_ms": p50, "p99_ms": 3 * p50}


def rates(*values: float) -> list[dict]:
    return [{"chunks_per_second": value, "process_seconds": 10.0} for value in values]


def point(count: int) -> dict:
    build = {"seconds": 10.0, "index": None, "bytes": 2000 * count, "disk_bytes": 2500 * count, "index_bytes": 200 * count}
    return {"rows": count, "import_seconds": 1.0, "build": build, "settings": {"nprobes": 20, "refine": 4}, "best": search(0.98, 3), "tried": []}


def search_point(count: int) -> dict:
    peers = {"faiss HNSW": {"seconds": 20.0, "bytes": 1000 * count, "settings": {"ef_search": 64}}}
    cases = {rows.SERVER: [search(0.98, 4), search(0.98, 6)], "faiss HNSW": [search(0.99, 2), search(0.99, 2)]}
    serving = {"resident_bytes": 1 << 30, "peak_bytes": 3 << 30, "count": 500, "p50_ms": 9.0, "p99_ms": 20.0}
    return point(count) | {"peer": {"version": "1", "waiting": "sleeping"}, "peers": peers, "cases": cases, "serving": serving}


TIMES = {"count": 100, "p50_ms": 5.0, "p99_ms": 60.0}
RESULTS = {
    "file": "benches/results/some.json",
    "plan": "full",
    "rounds": 2,
    "about": {
        "machine": {"processor": "a processor", "cores": 2, "memory_bytes": 8 << 30, "busy_before": 0.0},
        "busy_after": 0.01,
        "threads": 2,
        "embedder": {"identity": "x", "precision": "int16", "dimension": 384},
    },
    "left_out": [{"what": "a peer", "why": "it is not there"}],
    "groups": {
        "ingest": {
            "chunks": 1000,
            "cases": {ingest.EMBED: rates(100, 100), ingest.INGEST: rates(95, 85)},
            "embedder": {
                "texts": 300,
                "peer": {"sentence-transformers": "1", "torch": "2", "batch": 32, "tried": {"16": 90, "32": 100}},
                "cases": {"fp32": rates(110, 110), "int16": rates(250, 250), ingest.SENTENCES: rates(100, 100)},
            },
            "same": {"queries": 100, "chunks": 900, "neighbours": 2, "share": 0.975},
        },
        "search": {"neighbours": 2, "queries": 500, "points": [search_point(10_000), search_point(1_000_000)]},
        "growth": {
            "neighbours": 2,
            "queries": 500,
            "more_chunks": 2000,
            "points": [point(count) | {"cases": {rows.EMPTY: rates(100, 100), rows.FILLED: rates(90, 80)}} for count in (10_000, 1_000_000)],
        },
        "posts": {
            "clients": 16,
            "seconds": 10.0,
            "posts_per_second": 100.0,
            "posts": TIMES,
            "searches": TIMES,
            "searches_repeat": False,
            "kept": {"missing": 0, "twice": 0, "unknown": 0, "ready": 1000, "documents": 1000, "sample": 100, "found": 100},
            "after": {"fragments": 40, "files": 300, "disk_bytes": 9_000_000},
            "rested": {"fragments": 3, "files": 9, "disk_bytes": 3_000_000, "seconds": 90.0},
            "memory": {"resident_bytes": 1, "peak_bytes": 1},
            "at_once": {"disk_bytes": 2_000_000},
        },
    },
}


class Bars(unittest.TestCase):
    def test_what_is_reached_and_what_not(self):
        found = {bar.what: bar for bar in bars.bars(RESULTS)}
        self.assertEqual(found["documents taken in, over the embedder alone"].value.median, 0.9)
        said = {what: bar.met for what, bar in found.items()}
        self.assertFalse(said["embedder in fp32, over sentence-transformers"])
        self.assertTrue(said["embedder in int16, over sentence-transformers"])
        self.assertTrue(said["1,000,000 chunks: search, p50"])
        self.assertFalse(said["1,000,000 chunks: memory of the server, at most"])
        self.assertTrue(said["posts: fragments just after the last one"])
        self.assertFalse(said["posts: a search meanwhile, p99"])
        self.assertTrue(said["posts: disk after a rest, over one ingest"])
        self.assertFalse([what for what in found if what.startswith("10,000")], "the bars of a search are for a million chunks")

    def test_what_was_left_out_has_no_bar(self):
        results = json.loads(json.dumps(RESULTS))
        groups = results["groups"]
        del groups["ingest"]["embedder"]["cases"][ingest.SENTENCES], groups["posts"], groups["search"]
        groups["ingest"]["same"] = groups["ingest"]["embedder"]["peer"] = None
        self.assertEqual([bar.what for bar in bars.bars(results)], ["documents taken in, over the embedder alone"])
        self.assertIn("### Taking documents in", report.compose(results, False))

    def test_files_stand_for_fragments_that_the_server_does_not_count(self):
        self.assertEqual((bars.fragments({"fragments": None, "files": 7}), bars.fragments({"fragments": 2, "files": 7})), (7, 2))

    def test_figures_that_need_places(self):
        self.assertIn("| 1,000,000 chunks: nearest neighbours found | 0.980 | at least 0.97 | yes |", tables.bar_table(RESULTS))


class Page(InFolder):
    def test_only_the_part_between_the_lines_is_filled(self):
        page = self.folder / "database.md"
        page.write_text(f"# Before\n\n{saved.BEGIN}\nold\n{saved.END}\n\nafter\n")
        with mock.patch.object(picture, "draw", return_value=True):
            self.assertTrue(report.write(RESULTS, page))
            first = page.read_text()
            self.assertTrue(report.write(RESULTS, page))
        self.assertEqual(page.read_text(), first, "once more changes nothing")
        self.assertTrue(first.startswith("# Before\n") and first.endswith(f"\n{saved.END}\n\nafter\n"))
        self.assertNotIn("\nold\n", first)
        for part in ("### Searching", "### Growing", "### Many small writes", "images/database-growth.png", "a peer: it is not there"):
            self.assertIn(part, first)

    def test_a_page_without_a_place_is_left_alone(self):
        page = self.folder / "database.md"
        self.assertFalse(report.write(RESULTS, page))
        for text in ("# Page\n", f"{saved.END}\n{saved.BEGIN}\n", f"{saved.BEGIN}\n{saved.BEGIN}\n{saved.END}\n"):
            page.write_text(text)
            self.assertFalse(report.write(RESULTS, page))
            self.assertEqual(page.read_text(), text)
        self.assertEqual([file.name for file in self.folder.iterdir()], ["database.md"])

    def test_growth_is_drawn(self):
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            self.skipTest("no matplotlib")
        self.assertTrue(picture.draw(RESULTS, self.folder))
        self.assertTrue((self.folder / picture.NAME).stat().st_size > 0)
        self.assertFalse(picture.draw({"groups": {}}, self.folder))


class Copies(InFolder):
    def test_files_that_never_change_are_linked(self):
        data, target = self.folder / "data", self.folder / "copy"
        (data / "lance").mkdir(parents=True)
        (data / "lance/a.lance").write_text("rows")
        (data / "catalogue.sqlite").write_text("tables")
        target.mkdir()
        rows.copy(data, target)
        self.assertTrue((target / "lance/a.lance").samefile(data / "lance/a.lance"))
        self.assertFalse((target / "catalogue.sqlite").samefile(data / "catalogue.sqlite"))
        self.assertGreater(figures.disk_bytes(target), 0)


if __name__ == "__main__":
    unittest.main()
