"""A client that changes documents all the time, and writes down what it was answered."""

import json
import uuid

from ledger import ABSENT, Broken, State
from retro import Gone, expect, text_of

NAMES = 30
TAGS = 4


class Client:
    """Has documents and collections of its own, and one change at a time, so that what it was answered says what must be there."""

    def __init__(self, name, ledger, random):
        self.name, self.ledger, self.random = name, ledger, random
        # The first two are for all; imports go into one of them, and put its fragments together.
        self.collections = ["default", "imported", f"{name}-a", f"{name}-b"]
        self.names = [f"{name}-{number}" for number in range(NAMES)]
        self.once_number = 0
        # Requests with a key of their own that nobody answered: they are sent again.
        self.to_repeat = []
        self.resting, self.error = False, None

    def work(self, server):
        self.resting = False
        kinds = {self.post: 26, self.post_many: 16, self.put: 14, self.delete: 12, self.delete_tagged: 6, self.delete_collection: 4,
                 self.create_collection: 3, self.post_once: 8, self.upload: 5, self.read: 6}
        try:
            while not self.resting:
                self.random.choices(list(kinds), list(kinds.values()))[0](server)
        except Gone:
            pass
        except Exception as error:  # noqa: BLE001: the thread that waits for this one raises it
            self.error = error

    def rest(self):
        self.resting = True

    def document(self, name, collections=None, tag=None):
        tag = self.random.randrange(TAGS) if tag is None else tag
        state = State(self.random.choice(collections or self.collections), text_of(self.random, name), tag)
        return state, {"id": name, "text": state.text, "collection": state.collection, "metadata": {"tag": state.tag}}

    def submit(self, states, what, send):
        """Sends documents that are all taken in or none."""
        try:
            answer = send()
        except Gone:
            self.ledger.asked_together(states, what)
            raise
        expect(f"{what} is taken in", answer.status in (200, 202), answer)
        if answer.status == 200:
            expect(f"{what} is searchable at once", answer.body["task"]["status"] == "succeeded", answer)
        for name, state in states.items():
            self.ledger.promised(name, state, what)
        return answer

    def query(self):
        return {"wait": "true"} if self.random.random() < 0.25 else {}

    def post(self, server):
        name = self.random.choice(self.names)
        state, document = self.document(name)
        query = self.query()
        self.submit({name: state}, f"POST {query}", lambda: server.ask("POST", "/v1/documents", document, **query))

    def post_many(self, server):
        documents = {name: self.document(name) for name in self.random.sample(self.names, self.random.randrange(2, 12))}
        bodies = [document for _, document in documents.values()]
        states, query = {name: state for name, (state, _) in documents.items()}, self.query()
        if self.random.random() < 0.5:
            lines = "".join(json.dumps(body) + "\n" for body in bodies).encode()
            kind = {"content-type": "application/x-ndjson"}
            self.submit(states, f"POST of lines {query}", lambda: server.ask("POST", "/v1/documents", lines, kind, **query))
        else:
            self.submit(states, f"POST of many {query}", lambda: server.ask("POST", "/v1/documents", {"documents": bodies}, **query))

    def put(self, server):
        name = self.random.choice(self.names)
        state, document = self.document(name)
        query = self.query()
        self.submit({name: state}, f"PUT {query}", lambda: server.ask("PUT", f"/v1/documents/{name}", document, **query))

    def post_once(self, server):
        """With a key: if nobody answers it is sent again, and must be there once. Until then nobody may delete it with its collection or by
        its tag, so it has one of those that stay, and a tag that no other has."""
        self.once_number += 1
        name = f"{self.name}-once-{self.once_number}"
        state, document = self.document(name, self.collections[:2], TAGS)
        self.names = [*self.names[:NAMES], *self.names[NAMES:][-6:], name]
        self.once(server, (name, state, document, str(uuid.UUID(int=self.random.getrandbits(128)))))

    def once(self, server, request):
        name, state, document, key = request
        try:
            self.submit({name: state}, f"POST with key {key}",
                        lambda: server.ask("POST", "/v1/documents", document, {"idempotency-key": key}))
        except Gone:
            # Nothing else is done to it until it is known.
            self.names.remove(name)
            self.to_repeat.append(request)
            raise

    def repeat(self, server):
        """Sends what had no answer again, which must not count as a second time."""
        requests, self.to_repeat = self.to_repeat, []
        for request in requests:
            name = request[0]
            self.once(server, request)
            revision = server.ok("GET", f"/v1/documents/{name}")["revision"]
            if revision != 1:
                raise Broken(self.ledger, name, f"was taken in {revision} times with one key")
            self.names = [*self.names, name]

    def upload(self, server):
        """Two files in a form. Their names are their ids."""
        states = {}
        boundary = f"b{self.random.getrandbits(64):x}"
        collection = self.random.choice(self.collections)
        parts = [f'--{boundary}\r\ncontent-disposition: form-data; name="collection"\r\n\r\n{collection}\r\n']
        for number in self.random.sample(range(4), 2):
            name = f"{self.name}-file-{number}.txt"
            states[name] = State(collection, text_of(self.random, name))
            parts.append(
                f'--{boundary}\r\ncontent-disposition: form-data; name="files"; filename="{name}"\r\n'
                f"content-type: text/plain\r\n\r\n{states[name].text}\r\n")
        body = ("".join(parts) + f"--{boundary}--\r\n").encode()
        kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
        self.submit(states, "upload", lambda: server.ask("POST", "/v1/documents", body, kind))

    def delete(self, server):
        name = self.random.choice(self.names)
        try:
            answer = server.ask("DELETE", f"/v1/documents/{name}")
        except Gone:
            self.ledger.asked(name, ABSENT, "DELETE")
            raise
        states = self.ledger.states(name)
        if answer.status == 404:
            self.ledger.narrowed(name, [state for state in states if state is ABSENT], "DELETE found nothing")
        else:
            expect("a document is deleted", answer.status == 204, answer)
            if all(state is ABSENT for state in states):
                raise Broken(self.ledger, name, "DELETE found it")
            self.ledger.promised(name, ABSENT, "DELETE")

    def delete_tagged(self, server):
        collection, tag = self.random.choice(self.collections), self.random.randrange(TAGS)
        # In the collection that all share, only its own.
        condition = {"and": [{"field": "metadata.tag", "op": "eq", "value": tag}, {"field": "document_id", "op": "prefix", "value": f"{self.name}-"}]}
        surely, maybe = self.ledger.tagged(collection, tag)
        surely, maybe = ({name for name in names if name.startswith(f"{self.name}-")} for names in (surely, maybe))
        try:
            answer = server.ask("POST", "/v1/documents/delete", {"collection": collection, "filter": condition})
        except Gone:
            for name in maybe:
                self.ledger.asked(name, ABSENT, f"deletion of tag {tag}")
            raise
        deleted = set()
        if answer.status != 404:
            expect("documents are deleted by a filter", answer.status == 200, answer)
            deleted = set(answer.body["document_ids"])
        for name in surely - deleted:
            raise Broken(self.ledger, name, f"was not found by a filter: {answer}")
        for name in deleted - maybe:
            raise Broken(self.ledger, name, f"was found by a filter that it does not fulfil: {answer}")
        for name in deleted:
            self.ledger.promised(name, ABSENT, f"deletion of tag {tag}")
        for name in maybe - deleted:
            left = [state for state in self.ledger.states(name) if state is ABSENT or (state.collection, state.tag) != (collection, tag)]
            self.ledger.narrowed(name, left, f"deletion of tag {tag} did not find it")

    def delete_collection(self, server):
        collection = self.random.choice(self.collections[2:])
        names = self.ledger.of_collection(collection)
        try:
            answer = server.ask("DELETE", f"/v1/collections/{collection}")
        except Gone:
            for name in names:
                self.ledger.asked(name, ABSENT, f"deletion of collection {collection}")
            raise
        expect("a collection is deleted", answer.status in (204, 404), answer)
        for name in names:
            left = [state for state in self.ledger.states(name) if state is ABSENT or state.collection != collection]
            if answer.status == 204 and ABSENT not in left:
                left.append(ABSENT)
            self.ledger.narrowed(name, left, f"deletion of collection {collection}: {answer.status}")

    def create_collection(self, server):
        answer = server.ask("POST", "/v1/collections", {"name": self.random.choice(self.collections[2:])})
        expect("a collection is made or is there", answer.status in (201, 409), answer)

    def read(self, server):
        """Readers beside the writers."""
        prompt = {"prompt": "The tide", "max_tokens": 8, "stream": self.random.random() < 0.5}
        answer = server.ask("POST", "/v1/complete", prompt)
        expect("a completion is made", answer.status == 200, answer)
