"""A cluster of three served retros on PostgreSQL and an S3 server, while one of them is killed and another is cut off from both.

    python3 tests/cluster/run.py --retro target/release/retro

Eight clients post 2,000 documents meanwhile, replace some and delete some. At the end every document that was answered for has to be there once,
and no other, in the catalogue and in LanceDB's own files. It takes some minutes and two cores. PostgreSQL is Debian's (apt-get install postgresql);
the S3 server is compiled and the Python packages are installed into ~/.cache/retro-server the first time.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from checks import (
    Checks, Doctor, a_start_says_what_is_wrong, every_replica_sees_every_change, nothing_lost_nothing_double, searches_agree, the_doctor_agrees,
    the_doctor_mends,
)
from load import Balancer, Client, ask
from stores import Objects, Postgres, Replica, postgres_programs, wait_for

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
CLIENTS, DOCUMENTS = 8, 2000
# How long the posts take, at the pace of the clients.
SECONDS = 100
# How long a replica is cut off: twice as long as a lease lasts.
CUT = 30
# How long a replica may take to load its model.
SERVES_WITHIN = 120


def say(text):
    print(f"cluster: {text}", flush=True)


def s3_program(outside):
    """The S3 server, compiled where it is not yet."""
    def install(folder):
        target = folder / "target"
        own = os.environ | {"CARGO_TARGET_DIR": str(target)}
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", HERE / "s3" / "Cargo.toml"], check=True, env=own)
        shutil.move(target / "release" / "retro-test-s3", folder)
        shutil.rmtree(target)

    sources = (HERE / "s3" / "src" / "main.rs").read_text()
    return outside.installed("test-s3", HERE / "s3" / "Cargo.lock", sources, install) / "retro-test-s3"


def is_ready(replica):
    try:
        return ask(replica, "GET", "/readyz")[0] == 200
    except OSError:
        if replica.process.poll() is not None:
            raise SystemExit(f"cluster: {replica.name} ended with {replica.process.returncode}") from None
        return False


def serve(replicas):
    for replica in replicas:
        replica.start()
        # The first makes the tables of both stores.
        wait_for(f"{replica.name}", lambda replica=replica: is_ready(replica), SERVES_WITHIN)


def taken_in(replica):
    """Documents that a replica's worker has made ready since its start."""
    status, metrics = ask(replica, "GET", "/metrics")
    lines = metrics.splitlines() if status == 200 else []
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith('retro_ingest_documents_total{outcome="ready"}'))


def writing(postgres, replicas):
    """The replica that writes to LanceDB at this moment, by the lease that it holds; none where nobody does."""
    holders = postgres.asked("SELECT holder FROM leases WHERE name = 'changes' AND until > now()")
    return next((replica for replica in replicas for holder in holders if holder.endswith(f" {replica.process.pid}")), None)


def goes_on(check, what, replicas):
    """Waits until one of the replicas has taken more documents in."""
    begin, before = time.monotonic(), [taken_in(replica) for replica in replicas]
    wait_for(f"more documents, {what}", lambda: any(taken_in(replica) > count for replica, count in zip(replicas, before)), 90)
    check(f"the others take documents in {what}", True, f"after {time.monotonic() - begin:.1f} s")


def disturb(check, postgres, replicas, begin):
    """Kills a replica in the midst of a write, starts it again, and cuts another off in the midst of one."""
    def at(part):
        time.sleep(max(0, begin + part * SECONDS - time.monotonic()))

    at(0.15)
    killed = wait_for("a replica that writes", lambda: writing(postgres, replicas), 60)
    killed.kill()
    say(f"{killed.name}, which was writing, was killed")
    goes_on(check, "when one is killed", [replica for replica in replicas if replica is not killed])
    at(0.35)
    killed.start()
    wait_for(killed.name, lambda: is_ready(killed), SERVES_WITHIN)
    say(f"{killed.name} serves again")
    cut = wait_for("a replica that writes", lambda: writing(postgres, replicas), 60)
    cut.cut()
    then = time.monotonic()
    say(f"{cut.name}, which was writing, is cut off from both stores")
    goes_on(check, "when one is cut off", [replica for replica in replicas if replica is not cut])
    try:
        status, answer = ask(cut, "POST", "/v1/retrieve", {"text": "A note.", "neighbours": 1}, seconds=20)
    except OSError:
        status, answer = None, ""
    check("a replica that is cut off answers no search from what it remembers", status != 200, f"status {status} {str(answer)[:80]}")
    time.sleep(max(0, then + CUT - time.monotonic()))
    cut.mend()
    say(f"{cut.name} reaches the stores again, after {time.monotonic() - then:.0f} s")
    wait_for(f"{cut.name} to be ready", lambda: is_ready(cut), SERVES_WITHIN)


def test(check, retro, outside, folder, programs):
    packages = outside.python_packages("cluster", HERE / "requirements.txt")["PYTHONPATH"]
    program = s3_program(outside)
    postgres, objects, careless = Postgres(programs, folder), Objects(program, folder), Objects(program, folder, "careless")
    replicas = [Replica(f"replica-{number}", retro, ROOT, folder, postgres, objects) for number in (1, 2, 3)]
    try:
        a_start_says_what_is_wrong(check, retro, ROOT, folder, objects, careless)
        serve(replicas)
        say("three replicas serve")
        clients = [Client(number, DOCUMENTS // CLIENTS, Balancer(replicas), SECONDS) for number in range(CLIENTS)]
        begin = time.monotonic()
        for client in clients:
            client.start()
        disturb(check, postgres, replicas, begin)
        for client in clients:
            client.join(SECONDS * 3)
        check("every request was answered", not any(client.failed or client.is_alive() for client in clients))
        sent, replaced = sum(client.sent for client in clients), sum(client.replaced for client in clients)
        deleted, resent = sum(len(client.deleted) for client in clients), sum(client.balancer.resent for client in clients)
        say(f"{sent} documents were posted in {time.monotonic() - begin:.0f} s, {replaced} replaced, {deleted} deleted; {resent} requests were sent again")
        nothing_lost_nothing_double(check, replicas, clients, objects, packages)
        doctor = Doctor(retro, ROOT, folder, postgres, objects)
        the_doctor_agrees(check, doctor)
        every_replica_sees_every_change(check, replicas)
        searches_agree(check, replicas, clients)
        codes = [replica.stop() for replica in replicas]
        check("all replicas end in order", codes == [0, 0, 0], codes)
        the_doctor_mends(check, doctor, postgres, clients)
    finally:
        for replica in replicas:
            if replica.process and replica.process.poll() is None:
                replica.kill()
        for store in (objects, careless, postgres):
            store.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--retro", required=True, type=Path, help="the program")
    parser.add_argument("--keep", action="store_true", help="leave the folder with the logs and the stores")
    arguments = parser.parse_args()
    programs = postgres_programs()
    if programs is None:
        sys.exit("cluster: PostgreSQL is not installed (Debian, Ubuntu: apt-get install postgresql)")
    spec = spec_from_file_location("outside", ROOT / "tests" / "outside" / "run.py")
    # It installs what tests need where it is not yet.
    outside = module_from_spec(spec)
    spec.loader.exec_module(outside)
    check, begin = Checks(), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="retro-cluster-"))
    # PostgreSQL has another user.
    folder.chmod(0o755)
    try:
        test(check, arguments.retro.resolve(), outside, folder, programs)
    except SystemExit as error:
        check("the test came to its end", False, error)
    if arguments.keep or check.failed:
        say(f"logs and stores are in {folder}")
    else:
        shutil.rmtree(folder)
    say(f"took {time.monotonic() - begin:.0f} s")
    print(f"{check.passed} passed, {check.failed} failed")
    sys.exit(1 if check.failed else 0)


if __name__ == "__main__":
    main()
