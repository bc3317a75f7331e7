"""SIGKILL at random instants, again and again, of a server with clients and of commands; and what is there afterwards."""

import hashlib
import json
import random
import shutil
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

from clients import Client
from ledger import Check, Counts, Ledger, State
from retro import ROOT, Failed, Gone, Server, command, expect, run, text_of

CLIENTS = 3
# Kills between two looks at everything.
CHECKED_EVERY = 10
# Starts' times in which a server that has work has surely begun its housekeeping.
HOUSEKEEPING_WITHIN = 15
# What a server or a command says that it did.
WORKS = ("put together", "old versions were removed", "chunks indexed")


class World:
    """A data folder with what happens to it. Two of them run side by side."""

    def __init__(self, retro, folder, seed, kills, counts):
        self.retro, self.folder, self.kills, self.counts = retro, Path(folder), kills, counts
        self.random = random.Random(seed)
        self.data = self.folder / "data"
        self.ledger = Ledger()
        self.clients = [Client(f"c{number}", self.ledger, random.Random(f"{seed}/{number}")) for number in range(CLIENTS)]
        # Lives in which a work was seen.
        self.seen = Counter()
        # Of the embedder: now, and when what is imported was exported.
        self.precision, self.exported = None, None
        self.done, self.error = 0, None
        # Seconds that a start takes on this machine as it is now; about 1 on an idle one. Random times are multiples of it.
        self.pace = 1.0

    def live(self):
        """Kills until there were enough, then looks at everything once more."""
        try:
            self.prepare()
            looked = 0
            while self.done < self.kills:
                kind = self.random.choices(
                    [self.kill_server, self.kill_housekeeping, self.kill_starting, self.kill_command_beside, self.kill_command,
                     self.kill_reindex, self.kill_migration],
                    [36, 6, 14, 16, 14, 4, 10])[0]
                self.ledger.moment = f"kill {self.done + 1} ({kind.__name__})"
                kind()
                if self.done >= looked + CHECKED_EVERY:
                    self.look()
                    looked = self.done
            self.look()
            shutil.rmtree(self.folder)
        except Exception as error:  # noqa: BLE001: whatever it is, the other world ends in order and the data stays
            self.error = error

    def killed(self):
        self.done += 1
        self.counts.add("kills")

    def serve(self):
        """A server that is ready, after whatever came before."""
        begin = time.monotonic()
        try:
            server = Server(self.retro, self.data, log=self.folder / "server.log").ready()
        except Failed:
            self.counts.add("failed_restarts")
            raise
        self.counts.add("restarts")
        self.pace = (self.pace + time.monotonic() - begin) / 2
        return server

    def prepare(self):
        """Documents that are there from the start, for imports and for an index, in a catalogue of the first version."""
        self.data.mkdir(parents=True)
        old_catalogue(self.data, self.ledger, self.random)
        self.imported = {}
        lines = []
        for number in range(24):
            name = f"import-{number}"
            state = State("imported", text_of(self.random, name))
            self.imported[name] = state
            lines.append({"id": name, "text": state.text, "collection": state.collection})
        self.file("import.jsonl", lines)
        run(self.retro, self.data, "ingest", self.folder / "import.jsonl")
        run(self.retro, self.data, "export", "imported", self.folder / "imported.parquet")
        for name, state in self.imported.items():
            self.ledger.promised(name, state, "ingested")
        with self.serve() as server:
            self.precision = self.exported = server.ok("GET", "/v1/info")["embedder"]["precision"]

    def file(self, name, lines):
        path = self.folder / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    def working(self, server):
        """Threads that ask the server for this and that until it does not answer any more."""
        threads = [threading.Thread(target=client.work, args=(server,)) for client in self.clients]
        for thread in threads:
            thread.start()
        return threads

    def joined(self, threads):
        for thread in threads:
            thread.join()
        for client in self.clients:
            if client.error:
                raise client.error

    def kill_working(self, wait):
        """A server that has clients, once `wait` returns."""
        server = self.serve()
        threads = self.working(server)
        wait(server)
        server.kill()
        self.joined(threads)
        self.killed()
        self.notes(server)

    def kill_server(self):
        def lived(_):
            # Soon more often than late.
            time.sleep(self.pace * (self.random.uniform(1, 5) if self.random.random() < 0.12 else 0.7 * self.random.random() ** 2))

        self.kill_working(lived)

    def kill_housekeeping(self):
        """A server in the middle of it: of its collections the first has been put together, and the others follow."""
        def begun(server):
            end = time.monotonic() + self.pace * HOUSEKEEPING_WITHIN
            while "put together" not in server.log() and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(self.pace * 0.4 * self.random.random() ** 2)

        self.kill_working(begun)

    def kill_starting(self):
        server = Server(self.retro, self.data, log=self.folder / "server.log")
        time.sleep(self.pace * 1.2 * self.random.random())
        server.kill()
        self.killed()
        self.notes(server)

    def kill_command(self):
        """A command that is killed, with a server beside it or without."""
        kind = self.random.choice(["ingest", "ingest", "import", "index"])
        said = self.folder / "command.log"
        if kind == "ingest":
            states = {}
            for number in self.random.sample(range(60), self.random.randrange(1, 30)):
                name = f"line-{number}"
                states[name] = State(f"lines-{number % 2}", text_of(self.random, name))
            path = self.file("lines.jsonl", [{"id": name, "text": state.text, "collection": state.collection} for name, state in states.items()])
            arguments = ["ingest", path]
        elif kind == "import":
            again = [] if self.precision == self.exported else ["--embed-again"]
            states, arguments = self.imported, ["import", self.folder / "imported.parquet", "--log-level", "info", *again]
        else:
            states, arguments = {}, ["index", "imported", "--rebuild"]
        with open(said, "wb") as log:
            process = subprocess.Popen(command(self.retro, self.data, *arguments), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            # Its start takes a part of this; some come to their end.
            code = process.wait(self.pace * self.random.uniform(0.3, 2))
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if code == -9:
            self.killed()
        else:
            # An empty collection cannot be indexed.
            expect(f"{kind} ends well", code == 0 or kind == "index", code, said.read_text()[-1000:])
        self.see(said.read_text())
        for name, state in states.items():
            (self.ledger.promised if code == 0 else self.ledger.asked)(name, state, kind)

    def kill_command_beside(self):
        server = self.serve()
        threads = self.working(server)
        self.kill_command()
        if self.random.random() < 0.5:
            server.kill()
            self.killed()
        else:
            for client in self.clients:
                client.rest()
        self.joined(threads)
        server.kill()
        self.notes(server)

    def kill_reindex(self):
        """Killed, and then brought to its end, since a server starts only when all collections are made with one embedder."""
        if self.exported != "int16":
            # This processor has one precision only.
            return
        self.precision = "fp32" if self.precision == "int16" else "int16"
        arguments = ["reindex", "--embedder-precision", self.precision]
        process = subprocess.Popen(
            command(self.retro, self.data, *arguments), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(self.pace * self.random.uniform(0.3, 4))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.killed()
        run(self.retro, self.data, *arguments, seconds=300)

    def kill_migration(self):
        """A catalogue of an earlier version, and the cheapest command that brings it up to date."""
        folder = self.folder / "old"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        ledger = Ledger()
        old_catalogue(folder, ledger, self.random)
        for _ in range(3):
            process = subprocess.Popen(command(self.retro, folder, "keys", "list"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.06 * self.random.random())
            process.kill()
            if process.wait() == -9:
                self.killed()
        run(self.retro, folder, "keys", "list")
        with sqlite3.connect(folder / "catalogue.sqlite") as connection:
            found = dict(connection.execute("SELECT id, text FROM documents JOIN outbox ON document_id = id WHERE status = 'pending'"))
        connection.close()
        expect("an old catalogue keeps its documents", found == {name: states[0].text for name, states in ledger.possible.items()}, found)

    def see(self, said):
        self.seen.update(what for what in WORKS if what in said)

    def notes(self, server):
        """Which of the server's own works were seen."""
        log = server.log()
        self.see(log)
        expect("the server does not panic", "panicked" not in log, log[-3000:])

    def look(self):
        """Everything has to be as it was promised."""
        server = self.serve()
        try:
            for client in self.clients:
                client.repeat(server)
            server.settle()
            Check(server, self.ledger, self.counts, self.random).run()
        except Gone as gone:
            raise Failed(f"the server does not answer: {gone}; {server.log()[-2000:]}") from None
        finally:
            server.kill()
        self.notes(server)
        said = run(self.retro, self.data, "doctor", "--check", "--json")
        expect("retro doctor --check finds nothing", json.loads(said)["healthy"], said)


def old_catalogue(data, ledger, random):
    """A catalogue as one of the earlier versions left it, with documents that wait."""
    migrations = sorted((ROOT / "migrations" / "sqlite").glob("*.sql"))
    with sqlite3.connect(data / "catalogue.sqlite") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, "
            "installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)")
        for migration in migrations[:random.randrange(1, len(migrations))]:
            version, description = migration.stem.split("_", 1)
            sql = migration.read_bytes()
            connection.executescript(sql.decode())
            connection.execute(
                "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (?, ?, 1, ?, 1)",
                (int(version), description.replace("_", " "), hashlib.sha384(sql).digest()))
        time_then = "2026-01-01T00:00:00.000000Z"
        task = "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867"
        connection.execute("INSERT INTO tasks (id, status, total, created_at) VALUES (?, 'queued', 8, ?)", (task, time_then))
        for number in range(8):
            name = f"old-{number}"
            state = State("default", text_of(random, name))
            connection.execute(
                "INSERT INTO documents (id, collection, title, source, metadata, status, bytes, sha256, task_id, created_at, updated_at) "
                "VALUES (?, ?, '', '', '{}', 'pending', ?, ?, ?, ?, ?)",
                (name, state.collection, len(state.text.encode()), state.sha256, task, time_then, time_then))
            connection.execute("INSERT INTO outbox (document_id, text) VALUES (?, ?)", (name, state.text))
            connection.execute("INSERT INTO waiting (document_id, task_id) VALUES (?, ?)", (name, task))
            ledger.promised(name, state, "in an old catalogue")
    connection.close()


def kills(retro, folder, number, seed, worlds=2):
    """Gives what it came to; [`Failed`] where a promise was broken."""
    counts = Counts()
    begin = time.monotonic()
    # One of them serves while the other loads its model.
    all_worlds = [World(retro, folder / f"world-{place}", f"{seed}/{place}", -(-number // worlds), counts) for place in range(worlds)]
    threads = [threading.Thread(target=world.live) for world in all_worlds]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.2)
        if any(world.error for world in all_worlds):
            for world in all_worlds:
                world.kills = 0
    for thread in threads:
        thread.join()
    acknowledged = sum(world.ledger.acknowledged for world in all_worlds)
    unanswered = sum(world.ledger.unanswered for world in all_worlds)
    works = sum((world.seen for world in all_worlds), Counter())
    print(
        f"faults: {counts.kills} kills in {time.monotonic() - begin:.0f} s, {counts.restarts} restarts, {counts.checks} looks at everything, "
        f"{acknowledged} changes of documents acknowledged, {unanswered} unanswered; lost {counts.lost}, doubled {counts.doubled}, "
        f"orphans {counts.orphans}, failed restarts {counts.failed_restarts}; seed {seed}")
    seen = ", ".join(f"{what} ({count})" for what, count in sorted(works.items())) or "none"
    print(f"faults: works that were seen, and in how many lives: {seen}", flush=True)
    errors = [f"{world.folder}: {world.error!r}" if not isinstance(world.error, Failed) else f"{world.folder}: {world.error}"
              for world in all_worlds if world.error]
    if errors:
        raise Failed("\n".join(errors))
    return counts
