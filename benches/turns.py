"""Cases measured in turns, A B A B: what else the machine does falls on all of them alike."""

from collections.abc import Callable

from benches.worker import PeerError

Case = Callable[[], dict]


def in_turns(cases: dict[str, Case], rounds: int, failed: Callable[[str, str], None], say: Callable[[str], None]) -> dict[str, list[dict]]:
    """The records of each case, one for each round. A case that fails is told to `failed`, measured no more, and not in the result."""
    records: dict[str, list[dict]] = {name: [] for name in cases}
    for number in range(rounds):
        for name, measure in cases.items():
            if name not in records:
                continue
            try:
                record = measure()
            except PeerError as error:
                failed(name, str(error))
                del records[name]
                continue
            records[name].append(record)
            say(f"  round {number + 1} of {rounds}, {name}: {told(record)}")
    return records


def rate(record: dict) -> float:
    return record["tokens"] / record["seconds"]


def rates(records: list[dict]) -> list[float]:
    return [rate(record) for record in records]


def told(record: dict) -> str:
    if "tokens" in record:
        return f"{rate(record):.1f} tokens/s"
    return ", ".join(f"{name} {value:.4g}" for name, value in record.items() if isinstance(value, (int, float)))
