"""A peer in a process of its own: its threads, its memory and its faults stay there.

The other side answers one line of JSON for each line that it reads. It is stopped while nothing is asked of it: threads that spin while
they wait would take a core from what is measured next.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback


class PeerError(Exception):
    """Why a peer gives no figures, in words for the report."""


class Worker:
    """The peer that `module` has as `Peer`. `about` is what it says of itself."""

    def __init__(self, module: str, threads: int, environment: dict[str, str] | None = None, **settings):
        self.log = tempfile.TemporaryFile()
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)} | (environment or {})
        command = [sys.executable, "-m", "benches.worker", module]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.log}
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)
        try:
            self.about = self.exchange({"threads": threads, **settings})
        except PeerError:
            self.close()
            raise

    def measure(self, **request) -> dict:
        return self.exchange(request)

    def exchange(self, message: dict) -> dict:
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerError(f"its process ended with code {self.process.wait()}: {self.last_words()}")
        self.process.send_signal(signal.SIGSTOP)
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer["result"]

    def last_words(self) -> str:
        """The last line of its log."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace").strip().rpartition("\n")[2] or "it said nothing"

    def close(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def answer(work) -> dict:
    try:
        return {"result": work()}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    # Peers print what they do; only answers may go to the pipe.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer = None

    def start(settings: dict) -> dict:
        nonlocal peer
        peer = importlib.import_module(sys.argv[1]).Peer(**settings)
        return peer.about

    for line in sys.stdin:
        message = json.loads(line)
        said = answer(lambda given=message: start(given) if peer is None else peer.measure(**given))
        print(json.dumps(said), file=answers, flush=True)


if __name__ == "__main__":
    main()
