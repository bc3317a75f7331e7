"""Disks that are full or read-only, and a catalogue that somebody else holds."""

import contextlib
import resource
import select
import subprocess
import sys
import time

from ledger import ABSENT, Check, Counts, Ledger, State
from retro import Server, Skipped, catalogue, eventually, expect, is_root, text_of

# Documents that are acknowledged and wait when the fault comes.
WAITING = 120


@contextlib.contextmanager
def mounted(folder, *arguments):
    """Something mounted on a folder, for as long as this lasts."""
    if not (sys.platform == "linux" and is_root()):
        raise Skipped("a mount needs root on Linux")
    made = subprocess.run(["mount", *arguments, str(folder)], capture_output=True, text=True)
    if made.returncode != 0:
        raise Skipped(f"this machine mounts nothing: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def submit(server, ledger, states, **query):
    """Sends documents; gives the answer, and writes down what it promised."""
    documents = [{"id": name, "text": state.text, "collection": state.collection} for name, state in states.items()]
    answer = server.ask("POST", "/v1/documents", {"documents": documents}, **query)
    if answer.status in (200, 202):
        for name, state in states.items():
            ledger.promised(name, state, "POST")
    return answer


def some(random, prefix, number, collection="default", words=None):
    return {f"{prefix}-{place}": State(collection, text_of(random, f"{prefix}-{place}", words)) for place in range(number)}


def goes_on(server):
    """What needs no room."""
    for method, path, body in [
        ("GET", "/readyz", None),
        ("GET", "/livez", None),
        ("GET", "/v1/documents", None),
        ("GET", "/metrics", None),
        ("POST", "/v1/retrieve", {"text": "The tide in the orchard"}),
        ("POST", "/v1/complete", {"prompt": "The tide", "max_tokens": 8}),
    ]:
        answer = server.ask(method, path, body)
        expect(f"{method} {path} goes on", answer.status == 200, answer)


def is_full(answer):
    return (answer.status, answer.code) == (507, "insufficient_storage") and answer.headers["content-type"] == "application/problem+json"


def without_room(server, ledger, random, fill, free):
    """What is promised where the disk takes no more: `fill` brings that about, `free` ends it."""
    first = some(random, "first", 3)
    expect("documents are taken in", submit(server, ledger, first, wait="true").status == 200)
    expect("documents wait", submit(server, ledger, some(random, "waiting", WAITING)).status == 202)
    fill()
    # What a file has room for already may still go into it.
    for number in range(40):
        answer = submit(server, ledger, some(random, f"late-{number}", 1, words=8000))
        if answer.status != 202:
            break
    expect("a document that has no room is refused with 507", is_full(answer), answer)
    big = {"text": text_of(random, "more", 8000)}
    boundary = "faults"
    form = (f'--{boundary}\r\ncontent-disposition: form-data; name="files"; filename="big.txt"\r\n\r\n{big["text"]}\r\n--{boundary}--\r\n').encode()
    for answer in (server.ask("PUT", "/v1/documents/first-0", big),
                   server.ask("POST", "/v1/documents", big, wait="true"),
                   server.ask("POST", "/v1/documents", form, {"content-type": f"multipart/form-data; boundary={boundary}"})):
        expect("whatever brings a document is refused with 507", is_full(answer), answer)
    goes_on(server)
    # A deletion needs little room, and may have found it.
    answer = server.ask("DELETE", "/v1/documents/first-1")
    expect("a deletion is done or refused", answer.status == 204 or is_full(answer), answer)
    (ledger.promised if answer.status == 204 else ledger.asked)("first-1", ABSENT, "DELETE")
    tries = ("cannot be taken in for now", "cannot be written for now")
    eventually("the worker tries again and again", lambda: sum(map(server.log().count, tries)) >= 4)
    with catalogue(server.data) as connection:
        failed = connection.execute("SELECT id, error FROM documents WHERE status = 'failed'").fetchall()
    expect("no document fails for want of room", not failed, failed)
    goes_on(server)
    free()
    # Without a new start.
    server.settle(60)
    expect("documents are taken in again", submit(server, ledger, some(random, "after", 3), wait="true").status == 200)
    Check(server, ledger, Counts(), random).run()
    expect("nothing panics", "panicked" not in server.log(), server.log()[-2000:])


def full_disk(retro, folder, random):
    """The data folder on a disk that fills up."""
    data = folder / "data"
    data.mkdir()
    filler = data / "filler"

    def fill():
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            for size in (1 << 16, 1 << 10, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size) == size:
                        pass

    with mounted(data, "-t", "tmpfs", "-o", "size=24m", "faults"):
        ledger = Ledger()
        with Server(retro, data, log=folder / "log") as server:
            without_room(server, ledger, random, fill, filler.unlink)
        # One that starts on a full disk serves what is there, or says what it lacks.
        fill()
        server = Server(retro, data, log=folder / "log")
        eventually("a start on a full disk comes to an end", lambda: server.process.poll() is not None or is_ready(server))
        if server.process.poll() is None:
            goes_on(server)
        else:
            expect("it says why it does not start", "No space left" in server.log() or "disk is full" in server.log(), server.log()[-1000:])
        server.kill()
        filler.unlink()
        with Server(retro, data, log=folder / "log") as server:
            server.settle()
            Check(server, ledger, Counts(), random).run()


def is_ready(server):
    if select.select([server.process.stdout], [], [], 0)[0] and server.process.poll() is None:
        server.ready()
        return True
    return False


def file_size_limit(retro, folder, random):
    """The same without a mount: the process may write no file beyond some bytes."""
    if sys.platform != "linux":
        raise Skipped("the limit of another process can be set on Linux alone")

    # Python ignores the signal, which ends a process otherwise, and so does what it starts like this.
    with Server(retro, folder / "data", log=folder / "log", through_pipe=True, restore_signals=False) as server:
        limit = lambda most: resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        without_room(server, Ledger(), random, lambda: limit(512), lambda: limit(resource.RLIM_INFINITY))


def catalogue_locked(retro, folder, random):
    """Another program holds the catalogue for longer than a statement waits for it."""
    ledger, data = Ledger(), folder / "data"
    with Server(retro, data, log=folder / "log") as server:
        expect("documents are taken in", submit(server, ledger, some(random, "first", 2), wait="true").status == 200)
        expect("documents wait", submit(server, ledger, some(random, "waiting", WAITING)).status == 202)
        with catalogue(data, write=True) as holder:
            holder.execute("BEGIN EXCLUSIVE")
            begin = time.monotonic()
            goes_on(server)
            answer = submit(server, ledger, some(random, "refused", 1))
            expect("a document is refused with 503", (answer.status, answer.code) == (503, "catalogue_unavailable"), answer)
            expect("the answer says when to come again", int(answer.headers["retry-after"]) > 0, dict(answer.headers))
            expect("after some patience", 5 < time.monotonic() - begin < 40, time.monotonic() - begin)
            goes_on(server)
            holder.execute("ROLLBACK")
        expect("documents are taken in again", submit(server, ledger, some(random, "after", 2), wait="true").status == 200)
        server.settle()
        Check(server, ledger, Counts(), random).run()


@contextlib.contextmanager
def read_only(folder):
    if is_root():
        with mounted(folder, "--bind", str(folder)):
            subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
            yield
        return
    paths = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in paths:
        path.chmod(0o555)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(0o755)


def database_read_only(retro, folder, random):
    """The folder of the neighbours takes nothing, while the catalogue does."""
    ledger, data = Ledger(), folder / "data"
    with Server(retro, data, log=folder / "log") as server:
        first = some(random, "first", 3) | some(random, "other", 2, "other")
        expect("documents are taken in", submit(server, ledger, first, wait="true").status == 200)
        with read_only(data / "lance"):
            late = some(random, "late", 3) | some(random, "new", 1, "new")
            expect("documents are acknowledged", submit(server, ledger, late).status == 202)
            answer = server.ask("DELETE", "/v1/documents/first-0")
            expect("a deletion that cannot be done says so", answer.status in (500, 503, 507), answer)
            ledger.asked("first-0", ABSENT, "DELETE")
            # As long as five attempts take, and one more.
            eventually("the worker tries again and again", lambda: server.log().count("cannot be written for now") >= 6, 30)
            for name in late:
                status = server.ok("GET", f"/v1/documents/{name}")["status"]
                expect("a document waits for the store", status == "pending", name, status)
            goes_on(server)
        server.settle(60)
        expect("documents are taken in again", submit(server, ledger, some(random, "after", 2), wait="true").status == 200)
        Check(server, ledger, Counts(), random).run()


FAULTS = (full_disk, file_size_limit, catalogue_locked, database_read_only)
