"""Many small documents posted one by one by several clients, while one more searches all the time."""

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benches.database.figures import disk_bytes, times
from benches.database.run import Run
from benches.database.server import Client, Server
from benches.database.texts import line
from benches.worker import PeerError

LENGTH = 400  # characters of a document
SEARCHES = 20_000  # texts to search for; a repeated one is found in the server's memory
PAGE = 1000
QUIET_SECONDS = 120  # the housekeeping comes after a minute
LOOK_SECONDS = 5


def measure(run: Run) -> dict:
    documents = short_documents(run)
    texts = list(itertools.islice(query_chunks(run), SEARCHES))
    data = run.folder("posts")
    with Server(run.retro, data) as server:
        posted = post_all(run, server, documents, texts)
        with server.client() as client:
            kept = check(run, client, documents)
            state = {"after": look(client, data), "rested": rest(run, client, data)}
        memory = server.memory()
    return posted | {"kept": kept, **state, "memory": memory, "at_once": at_once(run, documents)}


def short_documents(run: Run) -> dict[str, str]:
    """By id. Each is cut from a document of its own, and no two begin with the same chunk."""
    found, seen = {}, set()
    cuts = (cut for _, text in run.corpus.documents() if (cut := text[:LENGTH]).strip())
    for cut, chunks in run.chunker.of_documents(cuts):
        beginning = chunks[0][0]
        if beginning in seen:
            continue
        seen.add(beginning)
        found[f"post-{len(found):06}"] = cut
        if len(found) == run.plan.posts:
            return found
    raise PeerError(f"the corpus has only {len(found)} documents that differ")


def query_chunks(run: Run) -> Iterator[str]:
    seen = set()
    for _, chunks in run.chunker.of_documents(run.corpus.query_documents()):
        for text, _ in chunks:
            if text.strip() and text not in seen:
                seen.add(text)
                yield text


def searched(client: Client, text: str, **more) -> float:
    """Milliseconds of one search."""
    begin = time.perf_counter()
    client.post("/v1/retrieve", {"text": text, **more})
    return 1000 * (time.perf_counter() - begin)


def post_all(run: Run, server: Server, documents: dict[str, str], texts: list[str]) -> dict:
    waiting, lock = iter(documents.items()), threading.Lock()
    posts: list[float] = []
    searches: list[float] = []
    failures: list[str] = []
    done = threading.Event()

    def post() -> None:
        with server.client() as client:
            while not done.is_set():
                with lock:
                    name, text = next(waiting, (None, None))
                if name is None:
                    return
                begin = time.perf_counter()
                client.post("/v1/documents?wait=true", {"id": name, "text": text})
                posts.append(1000 * (time.perf_counter() - begin))
                if len(posts) % 1000 == 0:
                    run.say(f"  {len(posts):,} posts")

    def search() -> None:
        with server.client() as client:
            for text in itertools.cycle(texts):
                if done.is_set():
                    return
                searches.append(searched(client, text))

    def guarded(work) -> None:
        try:
            work()
        except PeerError as error:
            failures.append(str(error))
            done.set()

    clients = [threading.Thread(target=guarded, args=(post,)) for _ in range(run.plan.clients)]
    searcher = threading.Thread(target=guarded, args=(search,))
    begin = time.perf_counter()
    for thread in (searcher, *clients):
        thread.start()
    for thread in clients:
        thread.join()
    seconds = time.perf_counter() - begin
    done.set()
    searcher.join()
    if failures:
        raise PeerError(failures[0])
    run.say(f"  {len(posts) / seconds:.1f} posts/s, {len(searches):,} searches")
    about = {"clients": run.plan.clients, "seconds": seconds, "posts_per_second": len(posts) / seconds, "posts": times(posts)}
    return about | {"searches": times(searches), "searches_repeat": len(searches) > len(texts)}


def check(run: Run, client: Client, documents: dict[str, str]) -> dict:
    """Whether each document is there once, is ready, and, of some, is found by its own beginning."""
    listed = list(pages(client, f"/v1/documents?limit={PAGE}"))
    names = [document["id"] for document in listed]
    ready = sum(document["status"] == "ready" for document in listed)
    step = max(1, len(documents) // run.plan.sample)
    sample = list(documents.items())[::step][: run.plan.sample]
    found = 0
    for (name, _), chunks in zip(sample, run.chunker.chunks([text for _, text in sample]), strict=True):
        # The beginning, since that differs from all others.
        answer = client.post("/v1/retrieve", {"text": chunks[0][0], "neighbours": 4, "distinct": False})
        found += any(one["document_id"] == name for chunk in answer["chunks"] for one in chunk["neighbours"])
    return {
        "missing": len(documents.keys() - set(names)),
        "twice": len(names) - len(set(names)),
        "unknown": len(set(names) - documents.keys()),
        "ready": ready,
        "documents": len(documents),
        "sample": len(sample),
        "found": found,
    }


def pages(client: Client, path: str) -> Iterator[dict]:
    cursor = None
    while True:
        page = client.get(path + (f"&cursor={cursor}" if cursor else ""))
        yield from page["data"]
        cursor = page.get("next_cursor")
        if not cursor:
            return


def look(client: Client, data: Path) -> dict:
    """Parts of the newest version of the collection, and room on the disk of all versions."""
    status, answer = client.ask("GET", "/v1/collections/default")
    files = len(list((data / "lance/default.lance/data").glob("*")))
    fragments = answer["fragments"] if status == 200 else None
    return {"fragments": fragments, "files": files, "disk_bytes": disk_bytes(data / "lance")}


def rest(run: Run, client: Client, data: Path) -> dict:
    """The same when nothing has changed for longer than the housekeeping waits."""
    begin = changed = time.monotonic()
    before = look(client, data)
    while (now := time.monotonic()) - changed < QUIET_SECONDS and now - begin < run.plan.rest_seconds:
        time.sleep(LOOK_SECONDS)
        after = look(client, data)
        if after != before:
            before, changed = after, time.monotonic()
    return before | {"seconds": time.monotonic() - begin}


def at_once(run: Run, documents: dict[str, str]) -> dict:
    """The same documents by `retro ingest`, into a folder of their own."""
    file, data = run.scratch / "posts.jsonl", run.folder("posts")
    with file.open("w") as out:
        out.writelines(line(name, text) for name, text in documents.items())
    report = run.retro.ingest(data, [file])
    return report | {"disk_bytes": disk_bytes(data / "lance")}
