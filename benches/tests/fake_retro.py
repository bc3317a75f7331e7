"""Stands in for the server's binary: answers `bench` with figures made of its flags, and `ingest` with nothing."""

import json
import sys


def main(arguments: list[str]) -> None:
    command, *rest = [text for text in arguments if text not in ("--json", "--prefetch")]
    if command != "bench":
        return
    flags = dict(zip(rest[::2], rest[1::2], strict=True))
    batch, new, repeat = int(flags["--batches"]), int(flags["--tokens"]), int(flags["--repeat"])
    off = flags["--neighbours"] == "0"
    seconds = new * batch / (400 * batch**0.7) * (1 if off else 1.2)
    print(json.dumps({"about": {"version": "0", "precision": flags["--precision"]}}))
    record = {
        "batch": batch,
        "prompt_tokens": int(flags["--contexts"]),
        "neighbours": int(flags["--neighbours"]),
        "interval": int(flags["--intervals"]),
        "source": None if off else flags["--source"],
        "new_tokens": [new * batch] * repeat,
        "seconds": [seconds] * repeat,
        "first_token_ms": [30.0] * repeat,
        "retrieval_ms": [0.0 if off else 10.0] * repeat,
        "prefill_ms": [20.0] * repeat,
        "decode_ms": [1000 * seconds] * repeat,
        "resident_bytes": [300_000_000] * repeat,
    }
    print(json.dumps(record))


main(sys.argv[1:])
