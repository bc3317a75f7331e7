import os
import stat
import sys
import tempfile
import unittest
from pathlib import Path

from benches.engine import Engine, Point, read, record
from benches.turns import rate
from benches.worker import PeerError

HERE = Path(__file__).parent


def fake_binary(folder: Path) -> Path:
    binary = folder / "retro"
    binary.write_text(f"#!/bin/sh\nexec {sys.executable} {HERE / 'fake_retro.py'} \"$@\"\n")
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    return binary


class Reading(unittest.TestCase):
    def test_a_case_is_the_median_of_its_runs(self):
        about, messages = read((HERE / "retro_bench.jsonl").read_text())
        self.assertEqual((about["version"], about["precision"]), ("1.2.3", "int8"))
        streams, alone = map(record, messages)
        self.assertEqual((streams["tokens"], streams["seconds"], streams["first_token_ms"]), (8 * 256, 4.0, 41.0))
        self.assertEqual((streams["batch"], streams["source"], streams["resident_bytes"]), (8, "search", 300_000_000))
        self.assertEqual(rate(alone), 512.0)

    def test_what_is_no_record_is_told_with_its_line(self):
        for text, said in [("{}", "line 1 of `retro bench` has no batch"), ('{"about": {}}\nno', "line 2 of `retro bench` is no JSON")]:
            with self.assertRaisesRegex(PeerError, said):
                read(text)


class Flags(unittest.TestCase):
    def test_retrieval_off_is_no_neighbours(self):
        for point in (Point(HERE), Point(HERE, source="search", neighbours=0)):
            flags = point.flags()
            self.assertEqual(flags[flags.index("--neighbours") + 1], "0")
            self.assertNotIn("--source", flags)


class Running(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_a_point_is_measured(self):
        engine = Engine(fake_binary(self.folder), 2, self.folder / "data", self.folder / "bert", self.folder)
        point = Point(self.folder, "int8", batch=8, tokens=100, source="search", prefetch=True)
        found = engine.measure(point)
        self.assertEqual((found["tokens"], found["asked"], found["source"]), (800, 800, "search"))
        self.assertEqual(engine.about["version"], "0")

    def test_a_failure_says_what_the_program_said(self):
        binary = self.folder / "retro"
        with self.assertRaisesRegex(PeerError, "make build"):
            Engine(binary, 2, self.folder, self.folder, self.folder).measure(Point(self.folder))
        binary.write_text("#!/bin/sh\necho 'retro: no model' >&2\nexit 3\n")
        os.chmod(binary, 0o755)
        with self.assertRaisesRegex(PeerError, "code 3: retro: no model"):
            Engine(binary, 2, self.folder, self.folder, self.folder).measure(Point(self.folder))


if __name__ == "__main__":
    unittest.main()
