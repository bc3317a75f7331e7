"""What was promised: of each document the states in which it may be, from all that was answered and all that was not."""

import hashlib
import threading
import time
from collections import defaultdict

from retro import Failed, expect

ABSENT = None


class State:
    """A document as it was sent."""

    def __init__(self, collection, text, tag=None):
        self.collection, self.text, self.tag = collection, text, tag
        self.sha256 = hashlib.sha256(text.encode()).hexdigest()

    def fits(self, listed):
        return (self.collection, self.sha256) == (listed["collection"], listed["sha256"])

    def __repr__(self):
        return f"{self.collection}/{self.sha256[:8]}"


class Ledger:
    """Operations on one document follow one another, so that the answers say in which order they were done."""

    def __init__(self):
        self.possible = {}
        self.history = defaultdict(list)
        # What was last sent of each, and what was last looked at whole.
        self.sent, self.verified = {}, {}
        # Requests with several documents that had no answer, and how often each document was changed.
        self.together, self.changes = [], defaultdict(int)
        self.moment = "start"
        self.acknowledged = 0
        self.unanswered = 0
        self.lock = threading.RLock()
        self.begin = time.monotonic()

    def note(self, name, what):
        self.changes[name] += 1
        self.history[name].append(f"{time.monotonic() - self.begin:9.3f} s, {self.moment}: {what}")

    def states(self, name):
        return self.possible.get(name, [ABSENT])

    def promised(self, name, state, what):
        """It was answered for: from now on it is in this state and no other."""
        with self.lock:
            if state:
                self.sent[name] = (state.collection, state.text)
            self.possible[name] = [state]
            self.acknowledged += 1
            self.note(name, f"{what}: {state}")

    def asked(self, name, state, what):
        """Nobody answered: it may be in this state as well."""
        with self.lock:
            self.possible[name] = [*self.states(name), state]
            self.unanswered += 1
            self.note(name, f"{what} unanswered: perhaps {state}")

    def asked_together(self, states, what):
        """Nobody answered, and all of them are taken in or none."""
        with self.lock:
            for name, state in states.items():
                self.asked(name, state, what)
            self.together.append({name: (state, self.changes[name]) for name, state in states.items()})

    def torn(self, found):
        """A document of a request of which some were taken in and some were not, as they were found; none where there is no such request."""
        requests, self.together = self.together, []
        for request in requests:
            taken = {name: found[name] is state for name, (state, change) in request.items() if self.changes[name] == change}
            if len(set(taken.values())) > 1:
                return next(name for name, is_taken in taken.items() if not is_taken), taken
        return None

    def narrowed(self, name, states, what):
        """Something was seen of it, so that it can be in these states only."""
        with self.lock:
            if not states:
                raise Broken(self, name, f"{what}, and that fits none of {self.states(name)}")
            self.possible[name] = states
            self.note(name, f"{what}: {states}")

    def of_collection(self, collection):
        with self.lock:
            return [name for name, states in self.possible.items() if any(state and state.collection == collection for state in states)]

    def tagged(self, collection, tag):
        """Documents that fulfil a filter on the tag surely, and those that may."""
        fits = lambda state: state is not ABSENT and (state.collection, state.tag) == (collection, tag)
        with self.lock:
            may = {name: states for name, states in self.possible.items() if any(map(fits, states))}
            return {name for name, states in may.items() if all(map(fits, states))}, set(may)

    def told(self, name):
        return "\n    ".join([f"history of {name}:", *self.history[name]])


class Broken(Failed):
    """A promise that was not kept, with all that is known of the document."""

    def __init__(self, ledger, name, what):
        super().__init__(f"{name}: {what}\n    {ledger.told(name)}")


class Counts:
    """What a run comes to."""

    def __init__(self):
        self.kills = self.restarts = self.failed_restarts = self.checks = 0
        self.lost = self.doubled = self.orphans = 0
        self.lock = threading.Lock()

    def add(self, name, number=1):
        with self.lock:
            setattr(self, name, getattr(self, name) + number)


class Check:
    """Compares a server with nothing left to do with the ledger: the catalogue's list, each document's chunks, and the sums of both stores."""

    def __init__(self, server, ledger, counts, random):
        self.server, self.ledger, self.counts, self.random = server, ledger, counts, random

    def broken(self, kind, name, what):
        self.counts.add(kind)
        raise Broken(self.ledger, name, what)

    def run(self):
        listed, ledger = {}, self.ledger
        for document in self.server.documents():
            name = document["id"]
            if name in listed:
                self.broken("doubled", name, "is listed twice")
            listed[name] = document
            if name not in ledger.possible:
                self.broken("orphans", name, f"nobody sent it: {document}")
        found = {name: self.state(name, states, listed.get(name)) for name, states in ledger.possible.items()}
        if torn := ledger.torn(found):
            self.broken("lost", torn[0], f"was not taken in with the others of its request: {torn[1]}")
        ledger.possible = {name: [state] for name, state in found.items()}
        self.sums(listed)
        gone = [name for name, states in ledger.possible.items() if states == [ABSENT] and name in ledger.sent]
        for name in self.random.sample(gone, min(4, len(gone))):
            self.search(name, listed)
        self.counts.add("checks")
        return listed

    def state(self, name, states, found):
        """The state that a document is in, one of those that are possible."""
        if found is None:
            if ABSENT not in states:
                self.broken("lost", name, f"is lost; it must be one of {states}")
            return ABSENT
        fitting = [state for state in states if state is not ABSENT and state.fits(found)]
        if not fitting:
            kind = "orphans" if states == [ABSENT] else "lost"
            self.broken(kind, name, f"must be one of {states}, and is {found}")
        if found["status"] != "ready":
            self.broken("lost", name, f"is {found['status']}: {found['error']}")
        seen = (found["created_at"], found["revision"])
        if self.ledger.verified.get(name) != seen:
            self.chunks(name, fitting[-1], found)
            self.ledger.verified[name] = seen
        return fitting[-1]

    def chunks(self, name, state, found):
        """The chunks of a document tile its text, each once."""
        chunks = self.server.ok("GET", f"/v1/documents/{name}/chunks", limit=1000)["data"]
        indices = [chunk["chunk_index"] for chunk in chunks]
        if indices != list(range(found["chunks"])):
            self.broken("doubled" if len(set(indices)) < len(indices) else "lost", name, f"its chunks are {indices} of {found['chunks']}")
        if "".join(chunk["text"] for chunk in chunks) != state.text:
            self.broken("lost", name, "its chunks do not make up its text")

    def sums(self, listed):
        """Each collection holds as many chunks as its documents have together: none is there twice, and none belongs to nobody."""
        wanted = defaultdict(int)
        for document in listed.values():
            wanted[document["collection"]] += document["chunks"]
        for collection in self.server.ok("GET", "/v1/info")["collections"]:
            name, chunks = collection["name"], collection["chunks"]
            expected = wanted.pop(name, 0)
            if chunks != expected:
                self.counts.add("orphans" if chunks > expected else "lost")
                raise Failed(f"collection {name} holds {chunks} chunks, its documents have {expected} together")
        expect("every collection is in the database", not any(wanted.values()), dict(wanted))

    def search(self, name, listed):
        """No search finds a document that is gone."""
        collection, text = self.ledger.sent[name]
        answer = self.server.ask("POST", "/v1/retrieve", {"text": text[:200], "collection": collection, "neighbours": 8})
        if answer.status == 404 and answer.code == "collection_not_found":
            return
        expect("a search for a document that is gone is answered", answer.status == 200, answer)
        for neighbour in (neighbour for chunk in answer.body["chunks"] for neighbour in chunk["neighbours"]):
            found = neighbour["document_id"]
            if found not in listed or listed[found]["collection"] != collection:
                self.broken("orphans", found, f"is gone, and a search of {collection} finds it")
