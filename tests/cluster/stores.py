"""The stores of the cluster, each a process of its own in a temporary folder, and a proxy that can stop to forward."""

import asyncio
import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

from s3 import S3

ACCESS, SECRET, BUCKET = "cluster", "cluster-secret", "retro"
# How long a process may take to start.
STARTS_WITHIN = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, condition, seconds):
    """What the condition gives as soon as it gives anything."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise SystemExit(f"cluster: {what} did not come within {seconds} s")
        time.sleep(0.1)
    return found


class Postgres:
    """A PostgreSQL server, which does not run as root."""

    def __init__(self, programs, folder):
        self.port, data = free_port(), folder / "postgres"
        data.mkdir(mode=0o700)
        apart = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            apart = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(data, user.pw_uid, user.pw_gid)
        quiet = {"stdout": subprocess.DEVNULL, "cwd": data}
        subprocess.run([programs / "initdb", "-D", data, "-U", "retro", "--auth=trust", "--encoding=UTF8", "--no-sync"], check=True, **quiet, **apart)
        with open(folder / "postgres.log", "wb") as log:
            self.process = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", data, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1"],
                stderr=log, **quiet, **apart)
        ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        wait_for("PostgreSQL", lambda: subprocess.run(ready).returncode == 0, STARTS_WITHIN)

    def asked(self, sql):
        """The one column of a query."""
        command = ["psql", "-At", "-h", "127.0.0.1", "-p", str(self.port), "-U", "retro", "-c", sql, "postgres"]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()

    def stop(self):
        # Fast shutdown: clients are cut off.
        self.process.send_signal(2)
        self.process.wait(30)


class Objects:
    """An S3 server with an empty bucket."""

    def __init__(self, program, folder, *more):
        objects = folder / "-".join(("objects", *more))
        objects.mkdir()
        with open(objects.with_suffix(".log"), "wb") as log:
            self.process = subprocess.Popen([program, objects, ACCESS, SECRET, *more], stdout=subprocess.PIPE, stderr=log, text=True)
        self.url = self.process.stdout.readline().strip().rsplit(" ", 1)[1]
        self.port = int(self.url.rsplit(":", 1)[1])
        self.s3 = S3(self.url, ACCESS, SECRET)
        status, answer = self.s3.ask("PUT", f"/{BUCKET}")
        if status != 200:
            raise SystemExit(f"cluster: the S3 server makes no bucket: {status} {answer}")

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def environment(url):
    """What programs that use the S3 server at an address find there."""
    named = {"AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
    return named | {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}


class Proxy:
    """Forwards connections to a port of this machine. While it is cut it takes what comes and forwards nothing, as a network that lost its way;
    what it took goes on when it is mended."""

    def __init__(self, target):
        self.target = target
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        threading.Thread(target=self._run, args=(started,), daemon=True).start()
        started.wait(10)

    def _run(self, started):
        asyncio.set_event_loop(self.loop)
        self.open = asyncio.Event()
        self.open.set()
        server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self.loop.run_forever()

    async def _serve(self, reader, writer):
        await self.open.wait()
        try:
            there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._forward(reader, there[1]), self._forward(there[0], writer))

    async def _forward(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self.open.wait()
                writer.write(data)
                await writer.drain()
        # The other direction ends with it, once its turn comes.
        await self.open.wait()
        writer.close()

    def cut(self):
        self.loop.call_soon_threadsafe(self.open.clear)

    def mend(self):
        self.loop.call_soon_threadsafe(self.open.set)


class Replica:
    """A served retro on the cluster's stores, with a data folder of its own."""

    def __init__(self, name, retro, root, folder, postgres, objects):
        self.name, self.retro, self.root, self.folder = name, retro, root, folder / name
        self.folder.mkdir()
        self.proxies = Proxy(postgres.port), Proxy(objects.port)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        """Does not wait until it serves."""
        database, objects = self.proxies
        command = [
            self.retro, "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.folder, "--threads", "1", "--log-level", "info",
            "--database-url", f"postgres://retro@127.0.0.1:{database.port}/postgres", "--lance-uri", f"s3://{BUCKET}/lance",
        ]
        with open(self.folder.with_suffix(".log"), "ab") as log:
            own = os.environ | environment(f"http://127.0.0.1:{objects.port}")
            self.process = subprocess.Popen(command, cwd=self.root, env=own, stdout=log, stderr=log)

    def kill(self):
        self.process.kill()
        self.process.wait(30)

    def cut(self):
        for proxy in self.proxies:
            proxy.cut()

    def mend(self):
        for proxy in self.proxies:
            proxy.mend()

    def stop(self):
        """The code it ended with; None where it did not in a minute."""
        if self.process is None or self.process.poll() is not None:
            return self.process and self.process.returncode
        self.process.terminate()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            return None


def postgres_programs():
    """The folder of PostgreSQL's programs; None where it is not installed."""
    known = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if known:
        return known[-1].parent
    return (found := shutil.which("initdb")) and Path(found).parent
