import io
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from benches import shape
from benches.graphs import spans
from benches.run import first_documents
from benches.turns import in_turns
from benches.worker import PeerError, Worker

MODEL = Path("models/retro-nano")


class Turns(unittest.TestCase):
    def test_cases_take_turns_and_a_failed_one_stops(self):
        order, failed = [], []

        def case(name: str, fails_at: int | None = None):
            def measure() -> dict:
                order.append(name)
                if order.count(name) == fails_at:
                    raise PeerError("it is gone")
                return {"tokens": 1, "seconds": 1}

            return measure

        found = in_turns({"a": case("a"), "b": case("b", 2)}, 3, lambda *why: failed.append(why), lambda _: None)
        self.assertEqual(order, ["a", "b", "a", "b", "a"])
        self.assertEqual((list(found), failed), (["a"], [("b", "it is gone")]))


class Workers(unittest.TestCase):
    def test_a_peer_that_cannot_start_says_why(self):
        with self.assertRaisesRegex(PeerError, "ModuleNotFoundError"):
            Worker("benches.peers.none", 1)

    def test_a_peer_that_ends_says_its_last_words(self):
        with Worker("benches.tests.faulty_peer", 1) as worker:
            self.assertEqual(worker.measure(what="answer"), {"it": "answers"})
            with self.assertRaisesRegex(PeerError, "ValueError: so it is"):
                worker.measure(what="fail")
            with self.assertRaisesRegex(PeerError, "code 7: about to end"):
                worker.measure(what="end")


class Sizes(unittest.TestCase):
    def test_those_of_the_bundled_model(self):
        manifest = shape.manifest(MODEL)
        found = {variant: shape.decoder(MODEL, variant) for variant in manifest["variants"]}
        self.assertEqual(len(set(found.values())), 1, "the variants are of one shape")
        sizes = found["fp32"]
        self.assertEqual((sizes.layers, sizes.vocabulary), (manifest["layers"], manifest["vocabulary"]))
        self.assertGreater(sizes.feed_forward, sizes.hidden_size)
        whole = manifest["files"]["fp32/weights.bin"]["bytes"]
        self.assertLess(shape.decode_bytes(MODEL, "fp32"), whole)
        self.assertGreater(shape.decode_bytes(MODEL, "fp32"), 4 * sizes.vocabulary * sizes.hidden_size)

    def test_spans_end_before_the_last_token_of_each_chunk(self):
        self.assertEqual(spans(130, 64, 64), [(0, 63), (63, 127), (127, 130)])
        self.assertEqual(spans(7, 7, 64), [(0, 6), (6, 7)])
        self.assertEqual(spans(1, 1, 64), [(0, 1)])


class Corpus(unittest.TestCase):
    def test_the_first_documents_of_a_folder(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            texts = [f"text {number}" for number in range(10)]
            (folder / "b.jsonl").write_text("\n".join(json.dumps({"text": text, "id": "x"}) for text in texts) + "\n")
            size = first_documents(folder, folder / "out", 50)
            written = [json.loads(line) for line in (folder / "out").read_text().splitlines()]
            self.assertEqual(written, [{"text": text} for text in texts[:3]])
            self.assertGreaterEqual(size, 50)

    def test_a_folder_without_documents_is_refused(self):
        with tempfile.TemporaryDirectory() as name, mock.patch("sys.stdout", io.StringIO()), self.assertRaises(SystemExit):
            first_documents(Path(name), Path(name) / "out", 1)


if __name__ == "__main__":
    unittest.main()
