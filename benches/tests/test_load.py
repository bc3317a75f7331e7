import asyncio
import json
import time
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

from benches.load import phases, report
from benches.load.client import Client, NoAnswer
from benches.load.mix import POSTED, SHARES, Mix, Request
from benches.load.tally import Tally, percentile
from benches.saved import BEGIN, END

SAMPLES = Path(__file__).parents[2] / "samples"


class FakeServer:
    """Answers every request after a while, at most so many at a time, and the others with what it is told."""

    def __init__(self, places: int, seconds: float, refusal: str = "HTTP/1.1 429 X\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\n{}"):
        self.places, self.seconds, self.refusal = places, seconds, refusal
        self.connections = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.address = "127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    def memory(self) -> dict:
        return {"resident_bytes": 100 << 20}

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().partition("content-length:")[2].partition("\r\n")[0])
                body = json.loads(await reader.readexactly(length) or "{}")
                writer.write((await self.answer(head.split(" ")[1], body)).encode())
        except asyncio.IncompleteReadError:
            writer.close()

    async def answer(self, path: str, body: dict) -> str:
        if path == "/livez":
            return "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
        if self.places == 0:
            return self.refusal
        self.places -= 1
        await asyncio.sleep(self.seconds)
        self.places += 1
        if body.get("stream"):
            events = "event: token\ndata: {}\n\n", "event: done\ndata: {}\n\n"
            chunks = "".join(f"{len(event):x}\r\n{event}\r\n" for event in events)
            return f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
        return f"HTTP/1.1 {202 if path == '/v1/documents' else 200} OK\r\ncontent-length: 2\r\n\r\n{{}}"


def overload(fake: FakeServer, rate: float, seconds: float) -> dict:
    async def run():
        async with fake:
            client = Client(fake.address)
            load = phases.Load(fake, Mix(SAMPLES, 7), client, lambda text: None)
            measured = await load.overload(rate, seconds, 7)
            await client.close()
            return measured

    return asyncio.run(run())


class TheClient(unittest.TestCase):
    def test_connections_are_used_again_and_answers_read_whole(self):
        async def run():
            async with FakeServer(9, 0.0) as fake:
                client = Client(fake.address)
                answers = [await client.ask("POST", "/v1/complete", {"stream": stream}) for stream in (False, True, False)]
                await client.close()
                return answers, fake.connections

        answers, connections = asyncio.run(run())
        self.assertEqual(([answer.status for answer in answers], connections), ([200, 200, 200], 1))
        self.assertIn(b"event: done", answers[1].body)
        self.assertEqual(answers[2].body, b"{}")

    def test_nobody_there_is_no_answer(self):
        with self.assertRaises(NoAnswer):
            asyncio.run(Client("127.0.0.1:9").ask("GET", "/livez"))


class TheMix(unittest.TestCase):
    def test_it_repeats_by_its_seed_and_keeps_its_shares(self):
        one, other = Mix(SAMPLES, 3), Mix(SAMPLES, 3)
        requests = [one.request() for _ in range(4000)]
        self.assertEqual(requests, [other.request() for _ in range(4000)])
        for kind, share in SHARES.items():
            found = sum(request.kind == kind for request in requests) / len(requests)
            self.assertAlmostEqual(found, share, delta=0.03)
        posts = [request.body for request in requests if request.kind == "post"]
        self.assertLessEqual(len({post["id"] for post in posts}), POSTED)
        self.assertTrue(all(2_000 <= len(post["text"]) < 8_000 for post in posts))

    def test_a_stream_that_breaks_off_is_no_good_answer(self):
        stream = Request("stream", "/v1/complete", {})
        self.assertTrue(stream.is_good(200, b"event: done\n"))
        self.assertFalse(stream.is_good(200, b"event: error\n"))
        self.assertFalse(Request("post", "/v1/documents", {}).is_good(200, b""))


class Overload(unittest.TestCase):
    def test_what_is_refused_by_the_book_is_no_error(self):
        began = time.perf_counter()
        measured = overload(FakeServer(4, 0.05), 160, 2.0)
        self.assertLess(time.perf_counter() - began, 5)
        kinds = measured["overall"]["kinds"]
        good = sum(kind["good_per_second"] for kind in kinds.values())
        self.assertTrue(50 < good < 90, good)
        self.assertTrue(0.3 < kinds["complete"]["refused_share"] < 0.75, kinds)
        self.assertEqual(measured["overall"]["errors"], {})
        self.assertGreater(measured["health"]["asked"], 0)

    def test_any_other_answer_is_an_error(self):
        for refusal in ("HTTP/1.1 429 X\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 503 X\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"):
            measured = overload(FakeServer(0, 0.0, refusal), 50, 0.5)
            self.assertGreater(sum(measured["overall"]["errors"].values()), 5)

    def test_the_capacity_is_measured_again(self):
        async def run():
            async with FakeServer(8, 0.02) as fake:
                return await phases.Load(fake, Mix(SAMPLES, 7), Client(fake.address), lambda text: None).capacity(0.3)

        found = asyncio.run(run())
        self.assertTrue(200 < found["goodput"] < 420, found["goodput"])
        # More clients would have some refused, who ask again at once.
        self.assertEqual(found["clients"], 8)


class TheReport(unittest.TestCase):
    def results(self, goodput: float, errors: dict, last: int, slowest: float) -> dict:
        """`last` and `slowest` are the memory and the wait of 99 % in the end."""
        tally = Tally(seconds=60.0)
        for kind in SHARES:
            tally.good[kind] = int(goodput * 60 / len(SHARES))
            tally.offered[kind] = 2 * tally.good[kind]
            tally.waits[kind] = [0.5, 2.0]
        tally.errors.update(errors)
        summary = tally.summary()
        tally.waits = {kind: [0.5, slowest] for kind in SHARES}
        minutes = [summary, summary, tally.summary()]
        health = {"p50_seconds": 0.001, "longest_seconds": 0.2, "asked": 60}
        over = {"rate": 80.0, "overall": summary, "minutes": minutes, "memory": [[0, 100], [30, 100], [60, last]], "health": health}
        results = {
            "file": "load.json", "plan": "full", "capacity": {"goodput": 40.0, "clients": 16, "measured": summary}, "overload": over,
            "about": {"threads": 2, "machine": {"processor": "P", "cores": 2, "memory_bytes": 1 << 30, "busy_before": 0.0}, "busy_after": 0.0},
        }  # fmt: skip
        return results | {"judged": report.judge(results)}

    def test_each_expectation_can_fail(self):
        self.assertEqual([one["met"] for one in self.results(40, {}, 105, 2.4)["judged"]], [True] * 4)
        self.assertEqual([one["met"] for one in self.results(30, {"post: 500": 1}, 120, 2.6)["judged"]], [False] * 4)

    def test_the_figures_stand_between_their_lines(self):
        with TemporaryDirectory() as folder:
            page = Path(folder) / "page.md"
            page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
            self.assertTrue(report.write(self.results(40, {}, 105, 2.0), page))
            text = page.read_text()
            self.assertTrue(text.startswith("before\n") and text.endswith("after\n") and "old" not in text)
            self.assertIn("| `/v1/retrieve` |", text)
            page.write_text("no place\n")
            self.assertFalse(report.write(self.results(40, {}, 105, 2.0), page))

    def test_percentiles_are_values_that_were(self):
        self.assertEqual((percentile([3.0, 1.0, 2.0], 0.5), percentile([3.0, 1.0, 2.0], 0.99), percentile([], 0.5)), (2.0, 3.0, None))


if __name__ == "__main__":
    unittest.main()
