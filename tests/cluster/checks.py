"""What has to be true of the stores after all that happened."""

import collections
import json
import os
import statistics
import subprocess
import sys
import time

from load import ask
from stores import BUCKET, environment, wait_for

# Documents whose way from one replica to the others is looked at.
FOLLOWED = 40
SEARCHES = 200
# How long a start may take to fail.
START_FAILS_WITHIN = 60
# How long a repair may wait for a lease to run out.
MENDED_WITHIN = 60
# How long the queue may take to become empty after the last post.
TAKEN_IN_WITHIN = 180


class Checks:
    def __init__(self):
        self.passed = self.failed = 0

    def __call__(self, what, good, seen=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
        print(f"{'passed' if good else 'FAILED'}: {what}{f' ({seen})' if seen != '' else ''}", flush=True)


def a_start_says_what_is_wrong(check, retro, root, folder, objects, careless):
    """Object stores that a server cannot use, with words of what it has to say."""
    good = environment(objects.url)
    for what, words, uri, own in (
        ("a wrong secret key", "it refuses these credentials", f"s3://{BUCKET}/lance", good | {"AWS_SECRET_ACCESS_KEY": "wrong"}),
        ("no credentials", "no credentials were found", f"s3://{BUCKET}/lance", {name: value for name, value in good.items() if "ACCESS" not in name}),
        ("no such bucket", "there is no such bucket", "s3://elsewhere/lance", good),
        ("a store that does not answer", "error sending request", f"s3://{BUCKET}/lance", good | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}),
        ("a store that knows no conditions", "let 8 through instead of one", f"s3://{BUCKET}/lance", good | {"AWS_ENDPOINT_URL": careless.url}),
    ):
        begin = time.monotonic()
        command = [retro, "serve", "--listen", "127.0.0.1:0", "--data-dir", folder / "fails", "--lance-uri", uri]
        own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | own
        try:
            done = subprocess.run(command, cwd=root, env=own, capture_output=True, text=True, timeout=START_FAILS_WITHIN)
            code, said = done.returncode, done.stderr.strip().splitlines()[-1]
        except subprocess.TimeoutExpired:
            code, said = None, "it did not end"
        seconds = time.monotonic() - begin
        check(f"a start with {what} ends and says so", code == 1 and "object store" in said and words in said, f"{seconds:.1f} s: {said[:230]}")


def documents(replica):
    """All documents by id, as the API lists them."""
    found, cursor = {}, ""
    while cursor is not None:
        status, page = ask(replica, "GET", f"/v1/documents?limit=500{f'&cursor={cursor}' if cursor else ''}", seconds=30)
        if status != 200:
            raise SystemExit(f"cluster: documents cannot be listed: {status} {page}")
        found |= {document["id"]: document for document in page["data"]}
        cursor = page["next_cursor"]
    return found


def pending(replica):
    status, collection = ask(replica, "GET", "/v1/collections/default", seconds=30)
    return collection["documents"]["pending"] if status == 200 else None


ROWS = """
import json, sys
import lance
table = lance.dataset(sys.argv[1]).to_table(columns=["document_id", "chunk_index", "byte_start", "neighbour"])
print(json.dumps(table.to_pylist()))
"""


def rows(objects, packages):
    """All rows of the table, read by pylance past the server."""
    own = os.environ | environment(objects.url) | {"PYTHONPATH": str(packages)}
    command = [sys.executable, "-c", ROWS, f"s3://{BUCKET}/lance/default.lance"]
    done = subprocess.run(command, env=own, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def nothing_lost_nothing_double(check, replicas, clients, objects, packages):
    promised = {identifier: text for client in clients for identifier, text in client.promised.items()}
    deleted = set().union(*(client.deleted for client in clients))
    begin = time.monotonic()
    wait_for("the end of the queue", lambda: pending(replicas[0]) == 0, TAKEN_IN_WITHIN)
    print(f"the queue was empty {time.monotonic() - begin:.0f} s after the last post")

    for replica in replicas:
        listed = documents(replica)
        not_ready = [identifier for identifier, document in listed.items() if document["status"] != "ready"]
        check(f"{replica.name} lists every promised document and no other", set(listed) == set(promised),
              f"{len(listed)} of {len(promised)}; missing {sorted(set(promised) - set(listed))[:3]}, beyond {sorted(set(listed) - set(promised))[:3]}")
        check(f"{replica.name} says that all are ready", not not_ready, not_ready[:3] or "")

    found = rows(objects, packages)
    places = collections.Counter((row["document_id"], row["chunk_index"]) for row in found)
    doubled = [place for place, times in places.items() if times > 1]
    check("no chunk is in the table twice", not doubled, doubled[:3] or f"{len(found)} rows")
    texts = collections.defaultdict(str)
    for row in sorted(found, key=lambda row: (row["document_id"], row["chunk_index"])):
        texts[row["document_id"]] += row["neighbour"]
    orphans = set(texts) - set(promised)
    check("no chunk in the table is of a document that is not there", not orphans, sorted(orphans)[:3] or "")
    check("no deleted document is in the table", not deleted & set(texts), f"{len(deleted)} were deleted")
    wrong = [identifier for identifier, text in promised.items() if texts.get(identifier) != text]
    check("the chunks in the table are the text that was promised last", not wrong, wrong[:3] or f"{len(promised)} documents")
    counted = sum(document["chunks"] for document in listed.values())
    check("the catalogue counts the chunks that the table has", counted == len(found), f"{counted} and {len(found)}")


class Doctor:
    """`retro doctor` on the cluster's stores."""

    def __init__(self, retro, root, folder, postgres, objects):
        url = f"postgres://retro@127.0.0.1:{postgres.port}/postgres"
        self.command = [retro, "doctor", "--json", "--data-dir", folder / "doctor", "--database-url", url, "--lance-uri", f"s3://{BUCKET}/lance"]
        self.root, self.environment = root, os.environ | environment(objects.url)

    def __call__(self, flag):
        """Its exit code, what it found by kind, and all that it said."""
        done = subprocess.run([*self.command, flag], cwd=self.root, env=self.environment, capture_output=True, text=True)
        if not done.stdout.startswith("{"):
            raise SystemExit(f"cluster: retro doctor {flag} says {done.stdout!r} {done.stderr[-500:]!r}")
        said = json.loads(done.stdout)
        return done.returncode, said.get("consistency", {}).get("found"), done.stdout


def the_doctor_agrees(check, doctor):
    """While the replicas serve."""
    code, found, said = doctor("--check")
    check("retro doctor --check finds nothing wrong", code == 0 and not found, f"code {code}, found {found}")
    code, found, said = doctor("--repair")
    check("nothing is mended while replicas work", code == 1 and found is None and "stop it first" in said, f"code {code}")


def the_doctor_mends(check, doctor, postgres, clients):
    """Once none serves: what was damaged by hand in the catalogue."""
    counted, orphaned, unplaced = sorted(identifier for client in clients for identifier in client.promised)[:3]
    postgres.asked(f"UPDATE documents SET chunks = chunks + 1 WHERE id = '{counted}'")
    postgres.asked(f"DELETE FROM documents WHERE id = '{orphaned}'")
    postgres.asked(f"DELETE FROM placements WHERE document_id = '{unplaced}'")
    kinds = {"wrong_counts", "orphan_chunks", "wrong_places"}
    code, found, _ = doctor("--check")
    check("retro doctor --check names what was damaged", code == 1 and set(found) == kinds, f"code {code}, found {found}")
    # The lease of the last replica that wrote may not have run out.
    code, found, _ = wait_for("a repair", lambda: (done := doctor("--repair"))[1] is not None and done, MENDED_WITHIN)
    check("retro doctor --repair mends it", code == 0 and set(found) == kinds, f"code {code}, found {found}")
    code, found, _ = doctor("--check")
    check("after it nothing is wrong", (code, found) == (0, {}), f"code {code}, found {found}")


def found_ids(replica, text):
    status, answer = ask(replica, "POST", "/v1/retrieve", {"text": text, "neighbours": 4}, seconds=30)
    if status != 200:
        raise SystemExit(f"cluster: {replica.name} cannot search: {status} {answer}")
    return {neighbour["document_id"] for chunk in answer["chunks"] for neighbour in chunk["neighbours"]}


def every_replica_sees_every_change(check, replicas):
    """What one replica has answered for, the next search of each of the others has to show."""
    unseen, stale, delays = [], [], []
    for place in range(FOLLOWED):
        writer = replicas[place % len(replicas)]
        others = [replica for replica in replicas if replica is not writer]
        name, text = f"followed-{place}", f"The followed note {place} of {writer.name} is about the {'very ' * (place % 7)}last lighthouse number {place}."
        status, answer = ask(writer, "POST", "/v1/documents?wait=true", {"id": name, "text": text}, seconds=60)
        if status != 200 or answer["task"]["status"] != "succeeded":
            raise SystemExit(f"cluster: {writer.name} does not take a document in: {status} {answer}")
        unseen += [(name, other.name) for other in others if name not in found_ids(other, text)]
        status, answer = ask(writer, "DELETE", f"/v1/documents/{name}", seconds=60)
        answered = time.monotonic()
        if status != 204:
            raise SystemExit(f"cluster: {writer.name} does not delete a document: {status} {answer}")
        for other in others:
            begin = time.monotonic()
            if name in found_ids(other, text):
                stale.append((name, other.name, round(begin - answered, 4)))
            else:
                delays.append(begin - answered)
    searches = FOLLOWED * (len(replicas) - 1)
    check("a document that is ready on one replica is found by the first search on every other", not unseen, unseen[:3] or f"{searches} searches")
    check("a document that was deleted on one replica is found by no search on another", not stale,
          stale[:3] or f"{searches} searches, which began {min(delays) * 1000:.1f} to {max(delays) * 1000:.1f} ms after the answer")


def searches_agree(check, replicas, clients):
    texts = [text for client in clients for text in list(client.promised.values())[:: max(1, len(client.promised) // 10)]]
    differing = [text for text in texts if len({tuple(sorted(found_ids(replica, text))) for replica in replicas}) > 1]
    check("all replicas find the same", not differing, differing[:1] or f"{len(texts)} texts")
    milliseconds = []
    for place in range(SEARCHES):
        begin = time.perf_counter()
        found_ids(replicas[place % len(replicas)], texts[place % len(texts)])
        milliseconds.append((time.perf_counter() - begin) * 1000)
    cuts = statistics.quantiles(milliseconds, n=100)
    print(f"a search, one after the other: p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms")
