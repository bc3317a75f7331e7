"""Tests of a served retro from outside: what other people's programs make of it.

    python3 tests/outside/run.py --retro target/release/retro
    python3 tests/outside/run.py --retro target/release/retro --examples 200 schemathesis

It starts a server with an empty database in a temporary folder, and asks it one suite after the other. What they need is installed from lock files
into ~/.cache/retro-server/tests, and not again until a lock file changes. Python 3.11 with pip and Node.js 20 with npm are asked for; a suite whose
program is missing is skipped with a line that says so, or fails where RETRO_TESTS=all says that nothing may be skipped.
"""

import argparse
import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retro-server" / "tests"
# Examples that schemathesis makes for each operation where the command does not say.
EXAMPLES = 5


class Missing(Exception):
    """A program that a suite needs is not on this machine."""


def say(text):
    print(f"outside: {text}", flush=True)


def run(*command, **more):
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT, **more)


def installed(name, lock, version, install):
    """The folder with what the lock file names: made by `install` where it is not there yet."""
    key = hashlib.sha256(lock.read_bytes() + version.encode() + platform.platform().encode()).hexdigest()[:12]
    folder = CACHE / f"{name}-{key}"
    if not folder.exists():
        say(f"installing what {lock.relative_to(ROOT)} names")
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as making:
            making = Path(making) / name
            making.mkdir()
            install(making)
            # Whole or not at all; another process may have been quicker.
            with contextlib.suppress(OSError):
                making.rename(folder)
    return folder


def python_packages(name, requirements):
    """The environment of a Python that has the packages."""
    if sys.version_info < (3, 11):
        raise Missing(f"Python 3.11 or newer (this one is {platform.python_version()})")

    def install(folder):
        quiet = ("--quiet", "--disable-pip-version-check", "--no-warn-conflicts", "--root-user-action=ignore")
        run(sys.executable, "-m", "pip", "install", *quiet, "--no-deps", "--target", folder, "-r", requirements)

    folder = installed(name, requirements, platform.python_version(), install)
    return os.environ | {"PYTHONPATH": str(folder)}


def node_packages(project):
    """Puts the packages of a project's lock file in its node_modules."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            raise Missing("Node.js 20 or newer with npm (Debian, Ubuntu: apt-get install nodejs npm; macOS: brew install node)")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < 20:
        raise Missing(f"Node.js 20 or newer (this one is {version})")

    def install(folder):
        for file in ("package.json", "package-lock.json"):
            shutil.copy(project / file, folder)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], check=True, cwd=folder)

    folder = installed(f"node-{project.name}", project / "package-lock.json", version, install) / "node_modules"
    link = project / "node_modules"
    if link.is_symlink():
        if Path(os.readlink(link)) == folder:
            return
        link.unlink()
    # What somebody installed by hand stays.
    if not link.exists():
        link.symlink_to(folder)


class Server:
    """A served retro with a database of its own."""

    def __init__(self, retro, data):
        self.retro, self.data = retro, data
        self.process = subprocess.Popen(
            [retro, "serve", "--listen", "127.0.0.1:0", "--data-dir", data, "--log-level", "warn"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        greeting = self.process.stdout.readline().strip()
        if not greeting.startswith("retro-server listening on "):
            raise SystemExit(f"the server did not start: {greeting}")
        self.url = greeting.rsplit(" ", 1)[1]

    def command(self, *arguments):
        """What a command on the same data says."""
        command = [self.retro, *arguments, "--data-dir", self.data]
        return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def take_in_samples(self):
        """Those that are there are left alone."""
        self.command("ingest", "samples/")

    def stop(self):
        self.process.terminate()
        if self.process.wait(60) != 0:
            raise SystemExit("the server did not end in order")


def node_tests(server, *files, **more):
    run("node", "--test", *files, env=os.environ | {"RETRO_URL": server.url} | more)


def pages(server, _):
    """The playground: its modules, and the page itself in a browser. The first suite, since it tries the first visit, of an empty database."""
    node_packages(TESTS / "pages")
    files = sorted((TESTS / "pages").glob("*.test.mjs"))
    names = [os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]
    browser = next(filter(None, (shutil.which(name) for name in names if name)), None)
    if browser:
        node_tests(server, *files, CHROMIUM=browser)
    else:
        node_tests(server, *(file for file in files if file.name != "browser.test.mjs"))
        raise Missing("Chromium, for the browser test (Debian, Ubuntu: apt-get install chromium; elsewhere CHROMIUM names one)")


def readme(server, _):
    """The examples of README and documents, as they stand."""
    server.take_in_samples()
    run(sys.executable, "-m", "unittest", "discover", "-s", TESTS / "outside", env=os.environ | {"RETRO_URL": server.url})


def clients(server, _):
    """OpenAI's clients, and one that is generated from the description."""
    server.take_in_samples()
    environment = python_packages("openai", TESTS / "clients" / "requirements.txt") | {"RETRO_URL": server.url}
    run(sys.executable, "-m", "unittest", "discover", "-s", TESTS / "clients", env=environment)
    node_packages(TESTS / "clients")
    programs, build = TESTS / "clients" / "node_modules" / ".bin", TESTS / "clients" / "build"
    run(programs / "openapi-typescript", "openapi/openapi.json", "-o", build / "openapi.d.ts")
    run(programs / "tsc", "-p", TESTS / "clients")
    node_tests(server, *sorted((TESTS / "clients").glob("*.test.mjs")), build / "typed.test.js")


def schemathesis(server, examples):
    """The description, with requests that are made from it: right ones and wrong ones. The last suite, since it adds and deletes what it likes,
    and the server has keys afterwards."""
    server.take_in_samples()
    folder = TESTS / "schemathesis"
    environment = python_packages("schemathesis", folder / "requirements.txt")
    environment |= {"PYTHONPATH": f"{environment['PYTHONPATH']}{os.pathsep}{folder}", "SCHEMATHESIS_HOOKS": "hooks"}
    run(sys.executable, "-m", "openapi_spec_validator", ROOT / "openapi" / "openapi.json", env=environment)
    failed = None
    for config, key in (("open", False), ("keys", True)):
        arguments = ["--header", f"Authorization: Bearer {server.command('keys', 'create', 'schemathesis', '--scope', 'admin')}"] if key else []
        # The short form is the same each time, and what the coverage of schemas finds it finds without a key.
        chance = []
        if examples <= EXAMPLES:
            chance = ["--generation-deterministic", *(["--phases", "examples,fuzzing,stateful"] if key else [])]
        say(f"schemathesis, {'with a key' if key else 'without keys'}, {examples} examples an operation")
        command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "--config-file", folder / f"{config}.toml", "run"]
        try:
            run(*command, f"{server.url}/openapi.json", "--max-examples", examples, *chance, *arguments, env=environment)
        except subprocess.CalledProcessError as error:
            # What is wrong with a key is worth knowing as well.
            failed = error
    if failed:
        raise failed


SUITES = (pages, readme, clients, schemathesis)


def main():
    names = [suite.__name__ for suite in SUITES]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--retro", required=True, type=Path, help="the program")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help=f"examples that schemathesis makes for each operation (default {EXAMPLES})")
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"some of {', '.join(names)} (default: all)")
    arguments = parser.parse_args()
    if unknown := set(arguments.suites) - set(names):
        parser.error(f"there is no suite {', '.join(unknown)}")
    failed = []
    with tempfile.TemporaryDirectory() as data:
        server = Server(arguments.retro.resolve(), data)
        for suite in SUITES:
            if arguments.suites and suite.__name__ not in arguments.suites:
                continue
            begin = time.monotonic()
            try:
                suite(server, arguments.examples)
                say(f"{suite.__name__} passed in {time.monotonic() - begin:.0f} s")
            except Missing as missing:
                say(f"SKIPPED in {suite.__name__}, for want of {missing}")
                if os.environ.get("RETRO_TESTS") == "all":
                    failed.append(suite.__name__)
            except subprocess.CalledProcessError as error:
                say(f"{suite.__name__} FAILED: {' '.join(error.cmd)} ended with {error.returncode}")
                failed.append(suite.__name__)
        server.stop()
    if failed:
        sys.exit(f"outside: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
