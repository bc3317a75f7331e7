"""Clients of the cluster: what they were promised is what has to be there at the end."""

import http.client
import json
import random
import threading
import time
import uuid
from urllib.parse import urlsplit

# How long a client waits for an answer before it asks another replica.
PATIENCE = 8
# How long it leaves a replica alone that did not answer.
AVOIDED = 5
# Until when a request has to be answered by one of them.
ANSWERED_WITHIN = 120
WORDS = """anchor basil candle delta ember fjord garnet harbour island jasmine kettle lantern meadow nectar orchard pebble quarry river saddle
thistle umbrella valley willow yarrow zephyr bronze cobalt dagger easel falcon glacier hazel ivory jigsaw knapsack ladder marble needle oyster
pillow quiver ribbon silver timber urchin velvet walnut yogurt zinc almond beacon cedar domino engine feather granite""".split()


class Balancer:
    """Takes turns among the replicas, as a balancer in front of them would, and passes over those that did not answer."""

    def __init__(self, replicas):
        self.replicas, self.turn, self.avoided = replicas, 0, {}
        self.lock = threading.Lock()
        self.resent = 0

    def next(self):
        with self.lock:
            for _ in self.replicas:
                self.turn += 1
                replica = self.replicas[self.turn % len(self.replicas)]
                if self.avoided.get(replica.name, 0) < time.monotonic():
                    return replica
            return replica

    def ask(self, method, path, body=None, headers=None):
        """The status and the answer of the first replica that gives one that is no failure of its own."""
        end = time.monotonic() + ANSWERED_WITHIN
        while True:
            replica = self.next()
            try:
                status, answer = ask(replica, method, path, body, headers)
                if status < 500:
                    return status, answer
                last = f"{status} {answer}"
            except (OSError, http.client.HTTPException) as error:
                last = repr(error)
            with self.lock:
                self.avoided[replica.name] = time.monotonic() + AVOIDED
                self.resent += 1
            if time.monotonic() > end:
                raise SystemExit(f"cluster: no replica answers {method} {path}: {last}")


def ask(replica, method, path, body=None, headers=None, seconds=PATIENCE):
    """The status and the answer of one replica."""
    connection = http.client.HTTPConnection(urlsplit(replica.url).netloc, timeout=seconds)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"content-type": "application/json"} | (headers or {}))
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data[:1] in (b"{", b"[") else data.decode()
    finally:
        connection.close()


def text_of(name, revision, chance):
    """A text like no other; of a few words, or of some hundred, which are several chunks."""
    words = chance.choices(WORDS, k=12 if chance.random() < 0.9 else 150)
    return f"Note {name}, revision {revision}: {' '.join(words)}."


class Client(threading.Thread):
    """Sends documents one by one, at a pace; replaces some and deletes some of its own."""

    def __init__(self, number, documents, balancer, seconds):
        super().__init__(daemon=True)
        self.number, self.count, self.balancer, self.pace = number, documents, balancer, seconds / documents
        self.chance = random.Random(number)
        # By id the text that was promised, and the ids whose deletion was.
        self.promised, self.deleted = {}, set()
        self.sent = self.replaced = 0
        self.failed = None

    def run(self):
        try:
            begin = time.monotonic()
            for place in range(self.count):
                self.send(place)
                if place % 20 == 19:
                    self.replace()
                if place % 25 == 24:
                    self.delete()
                # The pace of a source, not a wait for anything.
                time.sleep(max(0, begin + (place + 1) * self.pace - time.monotonic()))
        except BaseException as error:
            self.failed = error
            raise

    def send(self, place):
        name = f"c{self.number}-{place:04}"
        document = {"text": text_of(name, 1, self.chance), "title": name, "metadata": {"client": self.number}}
        # Every tenth has no id: sent again, only its key keeps it from being there twice.
        if place % 10:
            document["id"] = name
        status, answer = self.balancer.ask("POST", "/v1/documents", document, {"idempotency-key": str(uuid.UUID(int=self.chance.getrandbits(128)))})
        self.expect(status, (200, 202), answer)
        (identifier,) = answer["document_ids"]
        self.promised[identifier] = document["text"]
        self.sent += 1

    def replace(self):
        identifier = self.chance.choice(sorted(self.promised))
        text = text_of(identifier, 2, self.chance)
        status, answer = self.balancer.ask("PUT", f"/v1/documents/{identifier}", {"text": text, "title": identifier})
        self.expect(status, (200, 202), answer)
        self.promised[identifier] = text
        self.replaced += 1

    def delete(self):
        identifier = self.chance.choice(sorted(self.promised))
        status, answer = self.balancer.ask("DELETE", f"/v1/documents/{identifier}")
        # Where an answer was lost on the way, the second request finds nothing more.
        self.expect(status, (204, 404), answer)
        del self.promised[identifier]
        self.deleted.add(identifier)

    def expect(self, status, statuses, answer):
        if status not in statuses:
            raise SystemExit(f"cluster: client {self.number} was answered {status}: {answer}")
