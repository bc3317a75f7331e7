"""What became of requests, counted."""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from benches.load.mix import SHARES


@dataclass
class Tally:
    """Of one span of time. An answer is counted in the span that it ends in, a request in the one that it was to begin in."""

    seconds: float = 0.0
    offered: Counter = field(default_factory=Counter)
    good: Counter = field(default_factory=Counter)
    refused: Counter = field(default_factory=Counter)
    errors: Counter = field(default_factory=Counter)  # by what they were
    waits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # seconds of good answers

    def add(self, other: "Tally") -> None:
        self.seconds += other.seconds
        for mine, others in ((self.offered, other.offered), (self.good, other.good), (self.refused, other.refused), (self.errors, other.errors)):
            mine.update(others)
        for kind, waits in other.waits.items():
            self.waits[kind] += waits

    def goodput(self) -> float:
        """Good answers a second, of all kinds together."""
        return self.good.total() / self.seconds

    def summary(self) -> dict:
        ended = {kind: self.good[kind] + self.refused[kind] for kind in SHARES}
        return {
            "seconds": self.seconds,
            "goodput": self.goodput(),
            "errors": dict(self.errors),
            "kinds": {
                kind: {
                    "offered_per_second": self.offered[kind] / self.seconds,
                    "good_per_second": self.good[kind] / self.seconds,
                    "refused_share": self.refused[kind] / ended[kind] if ended[kind] else 0.0,
                    "p50_seconds": percentile(self.waits[kind], 0.50),
                    "p99_seconds": percentile(self.waits[kind], 0.99),
                }
                for kind in SHARES
            },
        }


def percentile(values: list[float], share: float) -> float | None:
    """The smallest value that so many are not above; None of none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
