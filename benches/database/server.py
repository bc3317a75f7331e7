"""`retro serve` in a process of its own, and requests to it."""

import http.client
import json
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from benches.database.retro import Retro
from benches.worker import PeerError

LISTENING = re.compile(r"listening on http://(\S+)")
START_SECONDS = 120
STOP_SECONDS = 60
LOOK_SECONDS = 0.05


class Client:
    """One connection that is kept."""

    def __init__(self, address: str):
        self.connection = http.client.HTTPConnection(address, timeout=600)

    def ask(self, method: str, path: str, body: dict | None = None) -> tuple[int, dict]:
        given = None if body is None else json.dumps(body)
        self.connection.request(method, path, given, {"content-type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else {}

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        try:
            status, answer = self.ask(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            raise PeerError(f"{method} {path} is not answered: {error}") from None
        if status >= 400:
            raise PeerError(f"{method} {path} answers {status}: {answer.get('detail') or answer.get('title')}")
        return answer

    def get(self, path: str) -> dict:
        return self.call("GET", path)

    def post(self, path: str, body: dict) -> dict:
        return self.call("POST", path, body)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.connection.close()


class Server:
    def __init__(self, retro: Retro, data_dir: Path, *arguments: object):
        if not retro.binary.exists():
            raise PeerError(f"there is no {retro.binary}: `make build` builds it")
        self.log = tempfile.NamedTemporaryFile()
        command = retro.command("serve", data_dir, "--listen", "127.0.0.1:0", *arguments)
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT)
        try:
            self.address = self.listening()
        except PeerError:
            self.stop()
            raise

    def listening(self) -> str:
        """The address that the first start-up line names."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            ended = self.process.poll()
            text = self.said()
            if found := LISTENING.search(text):
                return found[1]
            if ended is not None:
                raise PeerError(f"`retro serve` ended with code {ended}: {text.strip().rpartition(chr(10))[2] or 'it said nothing'}")
            time.sleep(LOOK_SECONDS)
        raise PeerError(f"`retro serve` did not listen within {START_SECONDS} s")

    def said(self) -> str:
        return Path(self.log.name).read_text(errors="replace")

    def client(self) -> Client:
        return Client(self.address)

    def memory(self) -> dict:
        """Bytes in memory now, and at most until now."""
        return read_memory(Path(f"/proc/{self.process.pid}/status").read_text())

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.stop()


def read_memory(status: str) -> dict:
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", status, re.MULTILINE))
    if len(found) != 2:
        raise PeerError("the system does not say how much memory the server takes")
    return {"resident_bytes": 1024 * int(found["VmRSS"]), "peak_bytes": 1024 * int(found["VmHWM"])}
