"""The program under test: its processes, and requests to them."""

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[2]
# A machine that is busy may be slow; nothing that ends by itself needs as long.
PATIENCE = 120
# One thread for the graphs: two servers run side by side, and a start takes less.
FLAGS = ("--threads", "1", "--slots", "2")


class Gone(Exception):
    """No answer came: the server was killed, or closed the connection."""


class Failed(Exception):
    """What was promised was not kept."""


class Skipped(Exception):
    """This machine lacks what the fault needs."""


def expect(what, condition, *seen):
    if not condition:
        raise Failed(": ".join([what, *(str(part)[:2000] for part in seen)]))


def eventually(what, condition, seconds=PATIENCE):
    """What `condition` gives once it gives something."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.05)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.raw = status, headers, body
        try:
            self.body = json.loads(body)
        except ValueError:
            self.body = {}

    @property
    def code(self):
        return self.body.get("code") if isinstance(self.body, dict) else None

    def __str__(self):
        return f"{self.status} {self.raw[:600]!r}"


def send(address, method, path, body=None, headers=None, timeout=PATIENCE):
    """One request on a connection of its own; [`Gone`] where it has no whole answer."""
    data, headers = body, dict(headers or {})
    if isinstance(body, (dict, list)):
        data = json.dumps(body)
        headers.setdefault("content-type", "application/json")
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    try:
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    except (OSError, http.client.HTTPException) as error:
        raise Gone(f"{method} {path}: {error!r}") from None
    finally:
        connection.close()


class Server:
    """A served retro. Its log goes to a file beside its data."""

    def __init__(self, retro, data, *flags, log, through_pipe=False, **more):
        self.data, self.log_file = Path(data), Path(log)
        self.address = None
        command = [retro, "serve", "--listen", "127.0.0.1:0", "--data-dir", data, "--log-level", "info", *FLAGS, *flags]
        with open(self.log_file, "ab") as log:
            self.log_from = log.tell()
            self.process = subprocess.Popen(
                [str(part) for part in command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if through_pipe else log, **more)
        if through_pipe:
            threading.Thread(target=self.copy_log).start()

    def copy_log(self):
        """For a process that may write no files itself."""
        with open(self.log_file, "ab", buffering=0) as log, self.process.stderr as lines:
            while part := os.read(lines.fileno(), 1 << 16):
                log.write(part)

    def ready(self, seconds=PATIENCE):
        """Waits for the first line, which has the address; [`Failed`] where the server ends before."""
        stdout = self.process.stdout
        readable, _, _ = select.select([stdout], [], [], seconds)
        line = stdout.readline().decode() if readable else ""
        if not line.startswith("retro-server listening on "):
            self.kill()
            raise Failed(f"the server did not start: {line!r}; its log ends with: {self.log()[-1500:]}")
        host, port = line.strip().rsplit("/", 1)[1].rsplit(":", 1)
        self.address = (host, int(port))
        return self

    def __enter__(self):
        return self if self.address else self.ready()

    def __exit__(self, *_):
        self.kill()

    def ask(self, method, path, body=None, headers=None, timeout=PATIENCE, **query):
        query = f"?{urlencode(query)}" if query else ""
        return send(self.address, method, path + query, body, headers, timeout)

    def ok(self, method, path, body=None, **query):
        answer = self.ask(method, path, body, **query)
        expect(f"{method} {path} is answered well", answer.status < 300, answer)
        return answer.body

    def connection(self):
        return socket.create_connection(self.address, timeout=PATIENCE)

    def metric(self, name):
        for line in self.ask("GET", "/metrics").raw.decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise Failed(f"there is no metric {name}")

    def log(self):
        """What this process has logged."""
        with open(self.log_file, "rb") as file:
            file.seek(self.log_from)
            return file.read().decode(errors="replace")

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """SIGKILL, which leaves it no time for anything."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self, seconds=60):
        """SIGTERM; the server has to end in order."""
        self.signal(signal.SIGTERM)
        code = self.process.wait(seconds)
        self.process.stdout.close()
        expect("the server ends in order", code == 0, code, self.log()[-1000:])

    def documents(self):
        """All documents that the API lists."""
        documents, cursor = [], {}
        while True:
            page = self.ok("GET", "/v1/documents", limit=1000, **cursor)
            documents += page["data"]
            if not page["next_cursor"]:
                return documents
            cursor = {"cursor": page["next_cursor"]}

    def settle(self, seconds=PATIENCE):
        """Waits until nothing waits to be taken in or to be removed."""
        eventually("the queue is empty", lambda: queue_is_empty(self.data), seconds)


def command(retro, data, *arguments):
    return [str(part) for part in (retro, *arguments, "--data-dir", data, *(("--threads", "1") if arguments[0] != "keys" else ()))]


def run(retro, data, *arguments, seconds=PATIENCE, code=0, **more):
    """What a command says, which has to end with `code`."""
    ended = subprocess.run(
        command(retro, data, *arguments), cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, **more)
    expect(f"retro {' '.join(map(str, arguments))} ends with {code}", ended.returncode == code, ended.returncode, ended.stderr[-1500:])
    return ended.stdout


def catalogue(data, write=False):
    """A connection to the catalogue, which closes itself with `contextlib.closing`."""
    mode = "rw" if write else "ro"
    return contextlib.closing(sqlite3.connect(f"file:{data}/catalogue.sqlite?mode={mode}", uri=True, timeout=30, isolation_level=None))


def queue_is_empty(data):
    with catalogue(data) as connection:
        waiting = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM documents WHERE status IN ('pending', 'deleting')) OR EXISTS (SELECT 1 FROM collections WHERE deleting)")
        return waiting.fetchone()[0] == 0


def text_of(random, name, words=None):
    """A text of one to some chunks, with characters of one to four bytes, that no other has."""
    some = ["tide", "orchard", "Grüße", "字", "😀", "\n\n", "1984", "granite", "ein", "—", "voyage", "C3PO"]
    body = " ".join(random.choice(some) for _ in range(words or random.choice((8, 30, 120, 260))))
    return f"Document {name} {random.getrandbits(40):x}: {body}"


def is_root():
    return os.geteuid() == 0
