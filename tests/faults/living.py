"""Clients that are slow or vanish, signals, and a clock that is set back: the server lives through them."""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

from disk import goes_on, some, submit
from ledger import Check, Counts, Ledger, State
from retro import Server, Skipped, eventually, expect

STREAM = {"prompt": "The tide", "max_tokens": 400, "stream": True}


def begun(server, method, path, body, length=None):
    """A connection on which a request was sent, with a length that may be more than what is sent."""
    connection = server.connection()
    data = json.dumps(body).encode()
    head = (f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"content-length: {len(data) if length is None else length}\r\n\r\n").encode()
    connection.sendall(head + data)
    return connection


def at_rest(server):
    """No request and no completion is under way but the scrape itself."""
    eventually("slots come back", lambda: server.metric("retro_sequences_running") == 0 and server.metric("retro_queue_length") == 0, 60)
    eventually("requests come to an end", lambda: server.metric("retro_http_requests_in_flight") <= 1, 60)


def clients_that_vanish(retro, folder, random):
    """In the middle of a stream, of a body, of an upload, and of a wait."""
    ledger = Ledger()
    with Server(retro, folder / "data", log=folder / "log") as server:
        for _ in range(6):
            for connection in (
                begun(server, "POST", "/v1/complete", STREAM),
                begun(server, "POST", "/v1/documents", {"text": "half"}, length=1 << 20),
                begun(server, "POST", "/v1/complete", {"prompt": "The"}, length=1 << 16),
            ):
                if random.random() < 0.7:
                    connection.settimeout(0.3)
                    with contextlib.suppress(TimeoutError):
                        connection.recv(64)
                connection.close()
        states = some(random, "waited", 12)
        documents = [{"id": name, "text": state.text} for name, state in states.items()]
        connection = begun(server, "POST", "/v1/documents?wait=true", {"documents": documents})
        eventually("the documents are taken in", lambda: server.ask("GET", "/v1/documents/waited-0").status == 200)
        connection.close()
        for name, state in states.items():
            ledger.promised(name, state, "POST whose client left")
        boundary = "faults"
        connection = server.connection()
        connection.sendall((f"POST /v1/documents HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999999\r\ncontent-type: multipart/form-data; boundary={boundary}"
                            f'\r\n\r\n--{boundary}\r\ncontent-disposition: form-data; name="files"; filename="a.txt"\r\n\r\n' + "x" * 50_000).encode())
        uploads = folder / "data" / "uploads"
        eventually("the upload lies on the disk", lambda: any(uploads.iterdir()))
        connection.close()
        at_rest(server)
        eventually("what an upload has left is removed", lambda: not any(uploads.iterdir()))
        goes_on(server)
        server.settle()
        Check(server, ledger, Counts(), random).run()
        server.stop()


def clients_that_are_slow(retro, folder, _):
    """More readers than there are slots take a byte a second; others are served meanwhile."""
    with Server(retro, folder / "data", log=folder / "log") as server:
        slow = []
        for _ in range(6):
            connection = socket.socket()
            # So little that the answer does not fit.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect(server.address)
            body = json.dumps(STREAM).encode()
            connection.sendall(b"POST /v1/complete HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            slow.append(connection)
        for _ in range(3):
            for connection in slow:
                connection.recv(1)
            begin = time.monotonic()
            goes_on(server)
            time.sleep(max(0, 1 - (time.monotonic() - begin)))
        # Slots go to those that wait, whether or not what was made is read.
        eventually("slots come back", lambda: server.metric("retro_sequences_running") == 0 and server.metric("retro_queue_length") == 0, 60)
        for connection in slow:
            connection.close()
        at_rest(server)
        server.stop()


def terminated(retro, folder, random):
    """SIGTERM at start-up, in the middle of streams and of ingestion: the end is in order, and what was acknowledged is there."""
    ledger, data = Ledger(), folder / "data"
    for delay in (0.02, 0.15, 0.4):
        server = Server(retro, data, log=folder / "log")
        time.sleep(delay)
        server.signal(signal.SIGTERM)
        code = server.process.wait(30)
        server.kill()
        # Until it is ready nothing is lost if it ends at once.
        expect("a server that starts ends", code in (0, -signal.SIGTERM), code, server.log())
    with Server(retro, data, log=folder / "log") as server:
        expect("documents wait", submit(server, ledger, some(random, "waiting", 150)).status == 202)
        streams = [begun(server, "POST", "/v1/complete", {**STREAM, "max_tokens": 60}) for _ in range(3)]
        for stream in streams:
            stream.recv(100)
        server.stop()
        for stream in streams:
            rest = b""
            with contextlib.suppress(OSError):
                while part := stream.recv(1 << 16):
                    rest += part
            stream.close()
            expect("a stream that has begun comes to its end", b"event: done" in rest and rest.endswith(b"0\r\n\r\n"), rest[-300:])
    with Server(retro, data, log=folder / "log") as server:
        server.settle()
        Check(server, ledger, Counts(), random).run()


def stopped(retro, folder, random):
    """SIGSTOP for some seconds: what was asked meanwhile is answered afterwards."""
    ledger, data = Ledger(), folder / "data"
    with Server(retro, data, log=folder / "log") as server:
        expect("documents wait", submit(server, ledger, some(random, "waiting", 60)).status == 202)
        answers = []
        ask = lambda: answers.append(server.ask("POST", "/v1/complete", {"prompt": "The tide", "max_tokens": 40}))
        before = threading.Thread(target=ask)
        before.start()
        time.sleep(0.05)
        server.signal(signal.SIGSTOP)
        try:
            meanwhile = threading.Thread(target=ask)
            meanwhile.start()
            time.sleep(3)
        finally:
            server.signal(signal.SIGCONT)
        before.join()
        meanwhile.join()
        expect("what was asked is answered", [answer.status for answer in answers] == [200, 200], *answers)
        goes_on(server)
        at_rest(server)
        server.settle()
        Check(server, ledger, Counts(), random).run()
        server.stop()


def clock_library():
    found = [path for folder in ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib") for path in Path(folder).glob("**/faketime/libfaketimeMT.so.1")]
    if not found:
        raise Skipped("there is no libfaketime (Debian, Ubuntu: apt-get install faketime)")
    return found[0]


def clock_set_back(retro, folder, random):
    """The machine's clock goes back by a day while the server runs, and by another before it starts again."""
    data, now = folder / "data", folder / "clock"
    environment = os.environ | {
        "LD_PRELOAD": str(clock_library()), "FAKETIME_TIMESTAMP_FILE": str(now), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    now.write_text("+0")
    ledger = Ledger()
    with Server(retro, data, log=folder / "log", env=environment) as server:
        expect("documents are taken in", submit(server, ledger, some(random, "before", 5), wait="true").status == 200)
        first = server.ok("GET", "/v1/documents/before-0")
        now.write_text("-1d")
        expect("documents are taken in", submit(server, ledger, some(random, "back", 5), wait="true").status == 200)
        late = server.ok("GET", "/v1/documents/back-0")
        expect("the clock was set back", late["created_at"] < first["created_at"], late["created_at"], first["created_at"])
        expect("a document is replaced", submit(server, ledger, {"before-0": some(random, "x", 1)["x-0"]}, wait="true").status == 200)
        again = server.ok("GET", "/v1/documents/before-0")
        expect("with a new revision", (again["revision"], again["created_at"]) == (2, first["created_at"]), again)
        expect("a document goes", server.ask("DELETE", "/v1/documents/before-1").status == 204)
        ledger.promised("before-1", None, "DELETE")
        for kind in ("documents", "tasks"):
            seen, cursor = [], {}
            while True:
                page = server.ok("GET", f"/v1/{kind}", limit=3, **cursor)
                seen += [item["id"] for item in page["data"]]
                if not page["next_cursor"]:
                    break
                cursor = {"cursor": page["next_cursor"]}
            expect(f"the pages of {kind} have each once", len(seen) == len(set(seen)) == {"documents": 9, "tasks": 3}[kind], seen)
        version = server.ok("GET", "/v1/collections/default")["version"]
        expect("versions grow", version >= 4, version)
        key = {"idempotency-key": "clock"}
        tasks = [server.ask("POST", "/v1/documents", {"id": "once", "text": "Once only."}, key) for _ in range(2)]
        expect("a key is known", tasks[0].body["task"]["id"] == tasks[1].body["task"]["id"], *tasks)
        ledger.promised("once", State("default", "Once only."), "POST with a key")
        server.settle()
        Check(server, ledger, Counts(), random).run()
        server.stop()
    now.write_text("-2d")
    with Server(retro, data, log=folder / "log", env=environment) as server:
        # Enough writes for housekeeping, which finds versions of the future.
        for number in range(40):
            expect("documents are taken in", submit(server, ledger, some(random, f"many{number}", 1, words=8), wait="true").status == 200)
        server.settle()
        Check(server, ledger, Counts(), random).run()
        expect("nothing panics", "panicked" not in server.log(), server.log()[-2000:])
        server.stop()
    with Server(retro, data, log=folder / "log") as server:
        Check(server, ledger, Counts(), random).run()
        goes_on(server)


FAULTS = (clients_that_vanish, clients_that_are_slow, terminated, stopped, clock_set_back)
