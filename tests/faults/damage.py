"""Files that the disk or somebody has changed."""

import json
import shutil

from disk import goes_on, some, submit
from ledger import Ledger
from retro import ROOT, Failed, Server, catalogue, eventually, expect

MODEL, EMBEDDER = ROOT / "models" / "retro-nano", ROOT / "runtime" / "all-MiniLM-L6-v2"


def cut(path):
    """Takes the second half of a file away."""
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)


def flip(path, at, bit=0x10):
    """Changes a bit at a part of a file's length, from 0 to 1."""
    place = min(int(path.stat().st_size * at), path.stat().st_size - 1)
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ bit]))


def newest(folder, pattern):
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns)


def refused(retro, data, log, *names, flags=()):
    """A start that has to fail, with words that name what is wrong."""
    server = Server(retro, data, *flags, log=log)
    eventually("the start comes to an end", lambda: server.process.poll() is not None)
    said = server.log()
    server.kill()
    expect("it fails in order", server.process.returncode == 1, server.process.returncode, said)
    for name in names:
        expect(f"it names {name}", name in said, said)


def prepared(retro, folder, random, collections):
    """A data folder with a few documents in each of these collections."""
    ledger, data = Ledger(), folder / "data"
    with Server(retro, data, log=folder / "log") as server:
        for collection in collections:
            expect("documents are taken in", submit(server, ledger, some(random, collection, 6, collection), wait="true").status == 200)
            if collection.startswith("index"):
                server.ok("POST", f"/v1/collections/{collection}/index", wait="true")
        server.stop()
    return ledger, data


def database_damaged(retro, folder, random):
    """A data file, a manifest and an index, each cut or with a changed bit: whoever asks for the collection is told, and no other suffers."""
    damages = {
        "data-cut": lambda path: cut(newest(path, "data/*.lance")),
        "data-flipped": lambda path: flip(newest(path, "data/*.lance"), 0.97),
        "data-gone": lambda path: newest(path, "data/*.lance").unlink(),
        "manifest-cut": lambda path: cut(newest(path, "_versions/*.manifest")),
        "manifest-flipped": lambda path: flip(newest(path, "_versions/*.manifest"), 0.5),
        "index-cut": lambda path: cut(newest(path, "_indices/*/*.idx")),
        "index-flipped": lambda path: flip(newest(path, "_indices/*/*.idx"), 0.97),
    }
    ledger, data = prepared(retro, folder, random, ["good", "default", *damages])
    for collection, damage in damages.items():
        damage(data / "lance" / f"{collection}.lance")
    # From the files, as a collection is that does not fit the memory.
    with Server(retro, data, "--vectors-mb", "0", log=folder / "log") as server:
        goes_on(server)
        told = []
        for collection in damages:
            names = [name for name in ledger.possible if name.startswith(f"{collection}-")]
            answers = [server.ask("POST", "/v1/retrieve", {"text": ledger.possible[names[0]][0].text[:200], "collection": collection})]
            answers += [server.ask("GET", f"/v1/documents/{name}", text="true") for name in names]
            for name, answer in zip([None, *names], answers, strict=True):
                expect(f"{collection} is answered", answer.status in (200, 500), answer)
                if answer.status == 500:
                    expect("the error has a code", answer.code in ("retrieval_failed", "internal", "data_damaged"), answer)
                elif name:
                    expect("a text that is given is the right one", answer.body["text"] == ledger.possible[name][0].text, name)
            if any(answer.status == 500 for answer in answers):
                told.append(collection)
                expect("the log names the collection", collection in server.log(), server.log()[-2000:])
        expect("what is gone or cut is noticed", {"data-cut", "data-gone", "manifest-cut"} <= set(told), told)
        # The others.
        good = {name: states[0] for name, states in ledger.possible.items() if name.startswith("good-")}
        for name, state in good.items():
            expect("another collection is whole", server.ok("GET", f"/v1/documents/{name}", text="true")["text"] == state.text, name)
        answer = submit(server, ledger, some(random, "hopeless", 2, "manifest-cut"))
        expect("documents for a damaged collection are acknowledged", answer.status == 202, answer)
        expect("and hold up no other", submit(server, ledger, some(random, "good-late", 3, "good"), wait="true").status == 200)
        for name in ("hopeless-0", "hopeless-1"):
            expect("they wait", server.ok("GET", f"/v1/documents/{name}")["status"] == "pending", name)
        expect("a deletion in another collection is done", server.ask("DELETE", "/v1/documents/good-0").status == 204)
        goes_on(server)
        expect("nothing panics", "panicked at" not in server.log(), server.log()[-3000:])
        # The way out of it.
        for collection in told:
            expect("a damaged collection can be removed", server.ask("DELETE", f"/v1/collections/{collection}").status == 204, collection)
        goes_on(server)
        server.stop()


def database_bytes_changed(retro, folder, random):
    """A changed bit anywhere in a data file: an error, or an answer, but no end of the server."""
    ledger, data = prepared(retro, folder, random, ["default"])
    file = newest(data / "lance" / "default.lance", "data/*.lance")
    whole = file.read_bytes()
    wrong = noticed = 0
    with Server(retro, data, "--vectors-mb", "0", log=folder / "log") as server:
        texts = {name: states[0].text for name, states in ledger.possible.items()}
        for _ in range(24):
            changed = bytearray(whole)
            changed[random.randrange(len(whole))] ^= 1 << random.randrange(8)
            file.write_bytes(changed)
            for name, text in texts.items():
                answer = server.ask("GET", f"/v1/documents/{name}", text="true")
                expect("it is answered", answer.status in (200, 500), answer)
                noticed += answer.status == 500
                expect("a text that is given is the right one", answer.status == 500 or answer.body["text"] == text, name)
            answer = server.ask("POST", "/v1/retrieve", {"text": texts["default-0"][:200], "neighbours": 6})
            expect("it is answered", answer.status in (200, 500), answer)
            if answer.status == 200:
                found = [neighbour["neighbour"] for chunk in answer.body["chunks"] for neighbour in chunk["neighbours"]]
                wrong += not all(any(part in text for text in texts.values()) for part in found)
        file.write_bytes(whole)
        for name, text in texts.items():
            expect("the right bytes give the right answers again", server.ok("GET", f"/v1/documents/{name}", text="true")["text"] == text)
        goes_on(server)
    print(f"faults: of 24 changed bits, {noticed} of {24 * len(texts)} readings of a text were refused and none was wrong; "
          f"{wrong} of 24 searches gave a changed text", flush=True)


def catalogue_damaged(retro, folder, random):
    """The file of the catalogue, cut or with changed bits, at its head and in the middle."""
    ledger, data = prepared(retro, folder, random, ["default"])
    file = data / "catalogue.sqlite"
    with catalogue(data, write=True) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root, page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'documents'").fetchone()[0], 4096
    whole = file.read_bytes()
    flip(file, 0)
    refused(retro, data, folder / "log", "catalogue.sqlite", "not a database")
    file.write_bytes(whole)
    cut(file)
    outcome(retro, data, folder, "malformed")
    file.write_bytes(whole)
    # The kind of the page that the table of documents begins with.
    flip(file, (root - 1) * page / len(whole))
    outcome(retro, data, folder, "malformed")
    file.write_bytes(whole)
    with Server(retro, data, log=folder / "log") as server:
        for name, states in ledger.possible.items():
            expect("the right bytes give the right answers again",
                   server.ok("GET", f"/v1/documents/{name}", text="true")["text"] == states[0].text)


def outcome(retro, data, folder, word):
    """A start that names what is wrong, or a server that names it at the request."""
    server = Server(retro, data, log=folder / "log")
    try:
        server.ready()
    except Failed:
        expect("it says what is wrong", word in server.log() and "catalogue" in server.log(), server.log())
        return
    with server:
        answers = [server.ask("GET", "/v1/documents"), server.ask("GET", "/v1/documents/default-0"),
                   server.ask("POST", "/v1/documents", {"text": "A late text."})]
        expect("what needs it fails", any(answer.status == 500 for answer in answers), *answers)
        expect("and the log says what is wrong", word in server.log(), server.log())
        expect("a completion goes on", server.ask("POST", "/v1/complete", {"prompt": "The tide", "max_tokens": 4}).status == 200)


def catalogue_log_damaged(retro, folder, random):
    """SQLite's log (WAL) with a changed bit, after a kill: what comes after it is taken for not written, and nothing is half there."""
    ledger, data = Ledger(), folder / "data"
    with Server(retro, data, log=folder / "log") as server:
        for number in range(8):
            expect("documents are taken in", submit(server, ledger, some(random, f"round{number}", 2), wait="true").status == 200)
        server.kill()
    flip(data / "catalogue.sqlite-wal", 0.6)
    with Server(retro, data, log=folder / "log") as server:
        server.settle()
        for document in server.documents():
            state = ledger.possible[document["id"]][0]
            expect("a document is whole", document["status"] == "ready" and state.fits(document), document)
            expect("with its text", server.ok("GET", f"/v1/documents/{document['id']}", text="true")["text"] == state.text, document)
        expect("it takes documents in", submit(server, ledger, some(random, "after", 2), wait="true").status == 200)
        goes_on(server)


def model_altered(retro, folder, random):
    """A byte of a model's file: the start is refused, and the file named."""
    manifest = json.loads((MODEL / "retro.json").read_text())
    files = sorted(name for name in manifest["files"] if name.startswith("int8/") or "/" not in name)
    for place, altered in enumerate([*files, None]):
        model, embedder = folder / f"model-{place}", folder / f"embedder-{place}"
        linked(MODEL, model)
        linked(EMBEDDER, embedder)
        file = model / altered if altered else max((path for path in embedder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        whole = file.read_bytes()
        file.unlink()
        file.write_bytes(whole)
        flip(file, random.random())
        refused(retro, folder / "data", folder / "log", file.name, flags=("--model", model, "--embedder", embedder, "--precision", "int8"))
        shutil.rmtree(model)
        shutil.rmtree(embedder)


def linked(folder, copy):
    """A copy of a folder whose files are links."""
    for path in sorted(folder.rglob("*")):
        to = copy / path.relative_to(folder)
        if path.is_file():
            to.parent.mkdir(parents=True, exist_ok=True)
            to.symlink_to(path.resolve())


FAULTS = (database_damaged, database_bytes_changed, catalogue_damaged, catalogue_log_damaged, model_altered)
