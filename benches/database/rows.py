"""Collections of several sizes: how they are searched, against faiss on the same vectors and queries, and how they grow."""

import shutil
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benches.database import embeddings, interchange
from benches.database.figures import disk_bytes, quickest, times
from benches.database.plan import NEIGHBOURS, NPROBES, RECALL, REFINE
from benches.database.posts import searched
from benches.database.run import Run
from benches.database.server import Server
from benches.database.texts import read_texts, write_documents
from benches.run import WAITING
from benches.worker import PeerError

COLLECTION = "rows"
SERVER = "server"
PEERS = {"faiss IVF-PQ": "ivf_pq", "faiss HNSW": "hnsw"}
EMPTY, FILLED = "empty", "filled"
PROBE = 2_000  # chunks
# Files of LanceDB that are never written again once they are there.
NEVER_CHANGED = (".lance", ".idx")


def measure(run: Run, groups: set[str], save: Callable[[str, dict], None]) -> None:
    """`groups` are `search`, `growth` or both. What is measured is saved after each number of rows."""
    queries = Queries(run)
    more = run.scratch / "more.jsonl"
    write_documents(more, run.corpus.query_documents(), run.chunker, run.plan.more_chunks)
    found: dict[str, dict] = {name: {"neighbours": NEIGHBOURS, "queries": queries.count, "points": []} for name in sorted(groups)}
    found.get("growth", {})["more_chunks"] = run.plan.more_chunks
    for rows in run.rows:
        run.say(f" {rows:,} chunks")
        data = run.folder("data")
        try:
            point = {"rows": rows} | fill(run, data, rows) | own_index(run, data, queries)
            if "search" in groups:
                found["search"]["points"].append(point | against_peers(run, data, rows, point, queries) | serving(run, data, queries))
                save("search", found["search"])
            if "growth" in groups:
                found["growth"]["points"].append(point | {"cases": ingesting(run, data, more)})
                save("growth", found["growth"])
        except PeerError as error:
            run.leave_out(f"a collection of {rows:,} chunks", str(error))
        shutil.rmtree(data)


class Queries:
    """The first chunks of the corpus' `valid`, as `retro index --measure` takes them."""

    def __init__(self, run: Run):
        self.vectors, texts = run.scratch / "queries.f32", run.scratch / "queries.texts"
        given = ("--chunks", run.plan.queries, "--vectors", self.vectors, "--texts", texts)
        self.count = run.retro.embed(run.folder("embed"), [run.corpus.queries], *given)["chunks"]
        self.texts = read_texts(texts)


def fill(run: Run, data: Path, rows: int) -> dict:
    """Puts the chunks in with the embeddings that are kept."""
    parts = embeddings.parts(run, rows)
    file = run.scratch / "rows.parquet"
    written = interchange.write(file, interchange.documents(parts, run.chunker, rows), run.identity, COLLECTION)
    if written != rows:
        raise PeerError(f"{written} chunks were written instead of {rows}")
    done = run.retro.load(data, file, COLLECTION)
    file.unlink()
    run.say(f"  imported in {done['process_seconds']:.1f} s")
    return {"import_seconds": done["process_seconds"]}


def own_index(run: Run, data: Path, queries: Queries) -> dict:
    """The index, and the settings of a search that serve best."""
    every = ("--nprobes", ",".join(map(str, NPROBES)), "--refine", ",".join(map(str, REFINE)))
    built, tried = run.retro.index(data, COLLECTION, *asked(run, queries), *every)
    best = quickest(tried, RECALL)
    sizes = {"bytes": built["bytes_on_disk"], "disk_bytes": disk_bytes(data), "index_bytes": disk_bytes(data / f"lance/{COLLECTION}.lance/_indices")}
    run.say(f"  indexed in {built['seconds']:.1f} s; recall {best['recall']:.3f}, p50 {best['p50_ms']:.2f} ms, p99 {best['p99_ms']:.2f} ms")
    settings = {name: best[name] for name in ("nprobes", "refine")}
    return {"build": {"seconds": built["seconds"], "index": built["index"], **sizes}, "tried": tried, "settings": settings, "best": best}


def asked(run: Run, queries: Queries) -> tuple:
    return ("--measure", run.corpus.queries, "--queries", queries.count, "--neighbours", NEIGHBOURS)


def against_peers(run: Run, data: Path, rows: int, point: dict, queries: Queries) -> dict:
    """Searches in turns with those of faiss, each with the settings that serve it best."""
    chosen = point["settings"]

    def own() -> dict:
        given = ("--nprobes", chosen["nprobes"], "--refine", chosen["refine"])
        return run.retro.index(data, COLLECTION, *asked(run, queries), *given)[1][0]

    cases, built = {SERVER: own}, {}
    with faiss(run, rows, queries) as peer:
        for name, kind in PEERS.items() if peer else ():
            try:
                built[name] = peer.measure(what="build", kind=kind)
                tuned = peer.measure(what="tune", kind=kind, recall=RECALL)
            except PeerError as error:
                run.leave_out(f"{name}, {rows:,} chunks", str(error))
                continue
            built[name]["settings"] = tuned["settings"]
            run.say(f"  {name}: built in {built[name]['seconds']:.1f} s, {tuned['settings']}, recall {tuned['recall']:.3f}")
            cases[name] = partial(peer.measure, what="search", kind=kind, settings=tuned["settings"])
        return {"peer": peer and peer.about, "peers": built, "cases": run.in_turns(cases)}


@contextmanager
def faiss(run: Run, rows: int, queries: Queries):
    """The peer with its threads waiting in the way that makes an index sooner, of a few chunks."""
    taken, left = [], rows
    for part in embeddings.parts(run, rows):
        count = min(left, part.read()["chunks"])
        taken.append((str(part.vectors), count))
        left -= count
    given = {"dimension": run.identity.dimension, "queries": str(queries.vectors), "neighbours": NEIGHBOURS, "folder": str(run.scratch)}
    file, count = taken[0]
    seconds: dict[str, float] = {}
    for waiting, environment in WAITING.items():
        with run.worker("faiss", "faiss_peer", environment=environment, parts=[(file, min(count, PROBE))], **given) as peer:
            if peer is None:
                yield None
                return
            seconds[waiting] = peer.measure(what="build", kind="ivf_pq")["seconds"]
    chosen = min(seconds, key=seconds.get)
    run.say(f"  faiss: threads {chosen}, of " + ", ".join(f"{way} {spent:.1f} s" for way, spent in seconds.items()))
    with run.worker("faiss", "faiss_peer", environment=WAITING[chosen], parts=taken, **given) as peer:
        if peer:
            peer.about["waiting"] = chosen
        yield peer


def serving(run: Run, data: Path, queries: Queries) -> dict:
    """A server with the collection: memory after as many searches as there are queries, and how long each took by HTTP."""
    with Server(run.retro, data) as server, server.client() as client:
        taken = [searched(client, text, collection=COLLECTION) for text in queries.texts]
        memory = server.memory()
    run.say(f"  serving takes {memory['resident_bytes'] / 2**20:.0f} MiB")
    return {"serving": memory | times(taken)}


def ingesting(run: Run, data: Path, more: Path) -> dict[str, list[dict]]:
    """More documents into a copy of the collection, in turns with the same into an empty folder."""

    def ingest(copied: bool) -> dict:
        folder = run.folder("growth")
        if copied:
            copy(data, folder)
        report = run.retro.ingest(folder, [more], "--collection", COLLECTION)
        shutil.rmtree(folder)
        return report

    return run.in_turns({EMPTY: partial(ingest, False), FILLED: partial(ingest, True)})


def copy(data: Path, target: Path) -> None:
    """Files that never change are linked: the copy takes hardly any room."""

    def one(source: str, goal: str) -> str:
        if source.endswith(NEVER_CHANGED):
            Path(goal).hardlink_to(source)
            return goal
        return shutil.copy2(source, goal)

    shutil.copytree(data, target, copy_function=one, dirs_exist_ok=True)
