"""Taking documents in against the embedder alone, and the embedder against sentence-transformers."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np

from benches.database import nearest
from benches.database.plan import NEIGHBOURS
from benches.database.run import Run
from benches.database.texts import read_texts, write_documents
from benches.worker import PeerError

EMBED, INGEST = "embed", "ingest"
PRECISIONS = ("fp32", "int16")
SENTENCES = "sentence-transformers"
BATCHES = (16, 32, 64, 128)


def measure(run: Run) -> dict:
    texts = run.scratch / "ingest.jsonl"
    chunks = write_documents(texts, (text for _, text in run.corpus.documents()), run.chunker, run.plan.chunks)
    if chunks < run.plan.chunks:
        raise PeerError(f"the corpus has only {chunks} chunks")
    run.say(f"  {chunks:,} chunks")
    cases = {EMBED: partial(embed, run, texts, chunks), INGEST: partial(ingest, run, texts)}
    found = {"chunks": chunks, "cases": run.in_turns(cases)}
    return found | {"embedder": embedder(run, texts), "same": same(run, texts)}


def embed(run: Run, texts: Path, chunks: int) -> dict:
    folder = run.folder("embed")
    return run.retro.embed(folder, [texts], "--chunks", chunks)


def ingest(run: Run, texts: Path) -> dict:
    folder = run.folder("ingest")
    report = run.retro.ingest(folder, [texts])
    shutil.rmtree(folder)
    return report


def embedder(run: Run, texts: Path) -> dict:
    """Each precision, and the peer with the batch size that serves it best."""
    count = run.plan.peer_texts
    vectors = {precision: run.scratch / f"embedder-{precision}.f32" for precision in PRECISIONS}
    told = run.scratch / "embedder.texts"

    def ours(precision: str) -> dict:
        given = ("--embedder-precision", precision, "--chunks", count, "--vectors", vectors[precision], "--texts", told)
        found = run.retro.embed(run.folder("embed"), [texts], *given)
        if found["precision"] != precision:
            raise PeerError(f"this processor computes in {found['precision']}")
        return found

    cases = {precision: partial(ours, precision) for precision in PRECISIONS}
    ours("fp32")  # the peer is given its texts, and compared with its vectors
    with run.worker(SENTENCES, "sentence_peer", texts=str(told)) as peer:
        found = {"texts": count, "peer": None}
        if peer:
            tried = {batch: peer.measure(batch=batch)["chunks_per_second"] for batch in BATCHES}
            best = max(tried, key=tried.get)
            run.say(f"  {SENTENCES}: batches of {best}, of " + ", ".join(f"{batch} {rate:.1f} chunks/s" for batch, rate in tried.items()))
            found["peer"] = peer.about | {"batch": best, "tried": {str(batch): rate for batch, rate in tried.items()}}
            cases[SENTENCES] = lambda: peer.measure(batch=best, against=str(vectors["fp32"]))
        return found | {"cases": run.in_turns(cases)}


def same(run: Run, texts: Path) -> dict | None:
    """How often the vectors of both precisions find the same nearest others."""
    run.say("  the nearest others by the vectors of each precision")
    told, found = run.scratch / "same.texts", []
    try:
        for precision in PRECISIONS:
            file = run.scratch / f"same-{precision}.f32"
            given = ("--embedder-precision", precision, "--chunks", run.plan.same_chunks, "--vectors", file, "--texts", told)
            about = run.retro.embed(run.folder("embed"), [texts], *given)
            if about["precision"] != precision:
                raise PeerError(f"this processor computes in {about['precision']}")
            found.append(np.fromfile(file, np.float32).reshape(about["chunks"], about["dimension"]))
    except PeerError as error:
        run.leave_out("the nearest others by the vectors of each precision", str(error))
        return None
    return nearest.same_share(*found, read_texts(told), run.plan.pairs, NEIGHBOURS)
