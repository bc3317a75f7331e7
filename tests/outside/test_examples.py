"""Runs the examples with curl of README and docs/ as they stand, in their order, on a server that has the sample documents.

    RETRO_URL=http://127.0.0.1:8080 python3 -m unittest discover -s tests/outside

Only the address is put in the place of the one that they name, and the files that they name are there. Each has to be answered with 2xx, with the
fields that are shown below it where something is shown.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
URL = os.environ.get("RETRO_URL")
ADDRESS = "http://127.0.0.1:8080"
# The decisions tell of the past.
FILES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "decisions.md")]
# Counts and says the status of each answer behind it.
CURL = 'curl() { command curl -w "%{stderr}%{http_code}\\n" "$@"; }\n'


def blocks(text):
    """The code of a document: fenced, or indented by four spaces."""
    fence = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    rest = fence.sub("", text)
    indented = re.findall(r"(?:^    .*\n(?:^\n(?=    ))?)+", rest, re.MULTILINE)
    return [code for kind, code in fence.findall(text) if kind == "sh"] + [re.sub("^    ", "", code, flags=re.MULTILINE) for code in indented]


def commands(block):
    """The commands with curl of a block, each with what is shown below it."""
    for part in re.split(r"^(?=curl )", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n\n")
        yield command, shown.strip()


def examples():
    for file in FILES:
        for block in blocks(file.read_text()):
            for command, shown in commands(block):
                yield f"{file.name}: {command.splitlines()[0]}", command, shown


def fields(value):
    """Names of the fields, however deep."""
    if isinstance(value, dict):
        return set(value) | set().union(*map(fields, value.values()))
    return set().union(*map(fields, value)) if isinstance(value, list) else set()


@unittest.skipUnless(URL, "RETRO_URL names no server")
class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """A folder like the one in which the examples are tried."""
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        (cls.folder / "samples").symlink_to(ROOT / "samples")
        (cls.folder / "notes.md").write_text("# Notes\n\nThe harbour clock of Ellmouth was mended in 1931.\n")
        shutil.copy(ROOT / "tests" / "fixtures" / "files" / "broken" / "scan.pdf", cls.folder / "report.pdf")

    def answered(self, command):
        """What an example is answered with."""
        self.assertIn(ADDRESS, command)
        command = ["bash", "-c", CURL + command.replace(ADDRESS, URL)]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120)
        self.assertRegex(done.stderr, r"^2\d\d\n$", done.stdout)
        return done.stdout

    def test_all(self):
        tried = 0
        for name, command, shown in examples():
            with self.subTest(name):
                answer = self.answered(command)
                if shown.startswith("{"):
                    # Some are shown in part.
                    self.assertLessEqual(set(re.findall(r'"(\w+)":', shown)), fields(json.loads(answer)))
                self.check_what_the_text_says(command, answer)
                tried += 1
        self.assertGreaterEqual(tried, 12)

    def check_what_the_text_says(self, command, answer):
        if '"stream": true' in command:
            self.assertEqual(re.findall("^event: (.*)$", answer, re.MULTILINE)[-1], "done")
            self.assertTrue({"retrieval", "token", "done"} <= set(re.findall("^event: (.*)$", answer, re.MULTILINE)))
            return
        if "/metrics" in command:
            self.assertIn("retro_completions_total", answer)
            return
        body = json.loads(answer)
        if "/v1/complete" in command:
            self.assertTrue(body["choices"][0]["text"])
            for neighbour in body["retrieval"]["chunks"][0]["neighbours"]:
                self.assertLessEqual({"title", "document_id", "distance"}, set(neighbour))
        if "/v1/score" in command:
            self.assertLess(body["with_retrieval"]["perplexity"], body["without_retrieval"]["perplexity"])
        if "/v1/retrieve" in command and "Who built" in command:
            self.assertEqual(body["chunks"][0]["neighbours"][0]["document_id"], "harbour-clock")
        if "?wait=true" in command:
            self.assertEqual(body["task"]["status"], "succeeded")


if __name__ == "__main__":
    unittest.main()
