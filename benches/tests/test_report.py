import copy
import unittest

from benches import bars, groups, report, tables
from benches.spread import ratio, spread


def times(*speeds: float, **more) -> list[dict]:
    return [{"tokens": 100, "seconds": 100 / speed, "batch": 1} | more for speed in speeds]


RESULTS = {
    "file": "benches/results/some.json",
    "plan": "full",
    "rounds": {"rounds": 3, "bar_rounds": 5},
    "about": {
        "machine": {"processor": "a processor", "cores": 2, "memory_bytes": 8 << 30, "busy_before": 0.0},
        "busy_after": 0.01,
        "threads": 2,
        "precision": "int8",
        "model": {"name": "retro-nano", "parameters": 10_000_000, "context": 512},
        "database": {"bytes": 100_000, "corpus": False},
    },
    "left_out": [{"what": "a peer", "why": "it is not there"}],
    "groups": {
        "limits": {
            "decode_bytes": {"int8": 10_000_000},
            "buffers": {"weights": 10_000_000, "memory": 256_000_000},
            "cases": {
                "weights": [{"sum": 20e9, "max": 40e9, "copy": 30e9}],
                "memory": [{"sum": 10e9, "max": 20e9, "copy": 15e9}],
                "int8": [{"1024": 100e9}],
            },
        },
        "completions": {
            "prompt": 64,
            "tokens": 256,
            "streams": 8,
            "peer": None,
            "cases": {
                groups.OFF: times(400, 500, 300, decode_ms=198),
                groups.SEARCH: times(200, 300, 150),
                groups.llama(1): times(250, 250, 250),
                groups.llama(2): times(100, 100, 100),
            },
        },
        "first_token": {
            "prompt": 511,
            "operations": 10_000_000_000,
            "cases": {
                groups.SERVER: times(1, first_token_ms=200.0, retrieval_ms=20.0),
                groups.GIVEN: times(1, first_token_ms=200.0),
                groups.BARE: [{"bert": 0.04, "lower": 0.02, "encoder": 0.03, "upper": 0.01}],
            },
        },
        "fills": {
            "prompt": 64,
            "same_weights": True,
            "parameters": 1,
            "peers": {},
            "long": None,
            "points": [{"context": 128, "cases": {groups.RETRO_PYTORCH: times(10, 20), groups.server("fp32"): times(200, 200)}}],
        },
    },
}


class Ratios(unittest.TestCase):
    def test_the_limits_are_those_of_pairs_of_one_round(self):
        found = ratio([100, 400], [50, 100])
        self.assertEqual((found.median, found.low, found.high), (250 / 75, 2, 4))
        self.assertEqual(spread([3, 1, 2]).median, 2)

    def test_what_is_compared(self):
        found = {one.what: one for one in bars.bars(RESULTS)}
        self.assertEqual(found["completion that fills a context of 128, fp32"].ratio.median, 200 / 15)
        with_retrieval = found["one completion, with retrieval"]
        self.assertTrue(with_retrieval.against.startswith("llama.cpp, 1 thread"), "the better number of threads")
        self.assertEqual(with_retrieval.ratio.median, 200 / 250)
        self.assertEqual(found["256 tokens with 2 neighbours"].ratio.median, 0.5)
        self.assertEqual(round(found["first token after a prompt of 511, with retrieval"].ratio.median, 6), 2)

    def test_what_was_left_out_is_not_compared(self):
        results = copy.deepcopy(RESULTS)
        del results["groups"]["completions"]["cases"][groups.SEARCH], results["groups"]["first_token"], results["groups"]["fills"]
        self.assertEqual([one.what for one in bars.bars(results)], ["one completion, retrieval off"])

    def test_shares_of_the_limits(self):
        memory, _, products = bars.limits(RESULTS)
        self.assertAlmostEqual(memory.measured.median, 99 / 0.198 * 10e6 / 1e9)
        self.assertAlmostEqual(memory.share.median, 5 / 40)
        self.assertAlmostEqual(products.share.median, 0.5)


class Page(unittest.TestCase):
    def test_it_has_every_part_that_was_measured(self):
        page = report.compose(RESULTS, ["performance-contexts.png"])
        for text in ("**13.3**", "images/performance-contexts.png", "- a peer: it is not there", "| 128 |", "a processor"):
            self.assertIn(text, page)
        self.assertNotIn("## Completions at once", page)

    def test_a_short_run_says_so(self):
        self.assertIn("**This was a quick run", report.compose(RESULTS | {"plan": "quick"}, []))

    def test_completions_that_ended_early_are_told(self):
        results = copy.deepcopy(RESULTS)
        results["groups"]["completions"]["cases"][groups.SEARCH][0]["asked"] = 200
        self.assertIn("the shortest had 50 % of the tokens", report.compose(results, []))
        self.assertNotIn("the shortest had", report.compose(RESULTS, []))

    def test_figures(self):
        self.assertEqual([tables.figure(value) for value in (1234.5, 99.94, 1.234)], ["1,234", "99.9", "1.23"])


if __name__ == "__main__":
    unittest.main()
