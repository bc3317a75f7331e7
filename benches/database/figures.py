"""Small computations on measured values."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path


def percentile(values: Sequence[float], of: int) -> float:
    """As `retro index --measure` counts: the value at that share of the sorted ones."""
    ordered = sorted(values)
    return ordered[min(len(ordered) * of // 100, len(ordered) - 1)]


def times(milliseconds: Sequence[float]) -> dict:
    return {"count": len(milliseconds), "p50_ms": percentile(milliseconds, 50), "p99_ms": percentile(milliseconds, 99)}


def smallest(settings: Iterable[int], measure: Callable[[int], dict], recall: float) -> dict:
    """The record of the first of the rising settings whose recall is enough, else of the one that finds most."""
    best: dict = {}
    for setting in settings:
        record = measure(setting)
        if record["recall"] >= recall:
            return record
        if not best or record["recall"] > best["recall"]:
            best = record
    return best


def quickest(records: Sequence[dict], recall: float) -> dict:
    """The quickest of those whose recall is enough; where none is, the one that finds most."""
    enough = [record for record in records if record["recall"] >= recall]
    if enough:
        return min(enough, key=lambda record: record["p50_ms"])
    return max(records, key=lambda record: (record["recall"], -record["p50_ms"]))


def disk_bytes(folder: Path) -> int:
    """Room on the disk of all files, as `du` counts it."""
    whole = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                whole += os.lstat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                continue  # removed meanwhile by the housekeeping
    return whole
