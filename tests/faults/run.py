"""What a killed, starved, stopped or damaged retro does: the promises of docs/faults.md, tried on the program itself.

    python3 tests/faults/run.py --retro target/release/retro
    python3 tests/faults/run.py --retro target/release/retro --kills 1000 kills
    python3 tests/faults/run.py --retro target/release/retro full_disk clock_set_back

Python 3.11 alone. Full disks and read-only folders are made with mounts, which needs root on Linux; without it other ways are taken where there
are some, and a fault that cannot be made is skipped with a line that says why.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import damage
import disk
import living
from kills import kills
from retro import Failed, Gone, Skipped

# Kills in the short form.
KILLS = 40
FAULTS = {fault.__name__: fault for module in (disk, damage, living) for fault in module.FAULTS}


def say(text):
    print(f"faults: {text}", flush=True)


def tried(name, fault, retro, folder, seed):
    """Whether what was promised was kept; none where the fault cannot be made here."""
    begin, here = time.monotonic(), folder / name
    here.mkdir()
    try:
        fault(retro, here, random.Random(f"{seed}/{name}"))
    except Skipped as reason:
        say(f"SKIPPED {name}: {reason}")
        return None
    except (Failed, Gone, OSError, subprocess.SubprocessError) as error:
        say(f"FAILED {name} after {time.monotonic() - begin:.0f} s: {error}\n    its files are in {here}")
        return False
    shutil.rmtree(here)
    say(f"{name} passed in {time.monotonic() - begin:.1f} s")
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--retro", required=True, type=Path, help="the program")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"kills at random instants (default {KILLS})")
    parser.add_argument("--seed", type=int, default=None, help="what chance begins with (default: the time)")
    parser.add_argument("--folder", type=Path, help="where data folders are made (default: a temporary folder)")
    parser.add_argument("--jobs", type=int, default=3, help="faults that are tried at a time (default 3)")
    parser.add_argument("names", nargs="*", metavar="name", help=f"some of kills, {', '.join(FAULTS)} (default: all)")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - {"kills", *FAULTS}:
        parser.error(f"there is no fault {', '.join(unknown)}")
    retro = arguments.retro.resolve()
    seed = arguments.seed if arguments.seed is not None else int(time.time())
    folder = Path(tempfile.mkdtemp(prefix="retro-faults-", dir=arguments.folder))
    say(f"seed {seed}; --seed {seed} makes the same choices again")
    # The longest first; several wait for most of their time.
    faults = {"kills": lambda retro, folder, _: kills(retro, folder, arguments.kills, seed), **FAULTS}
    chosen = {name: fault for name, fault in faults.items() if not arguments.names or name in arguments.names}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        outcomes = list(pool.map(lambda name: tried(name, chosen[name], retro, folder, seed), chosen))
    if False not in outcomes:
        shutil.rmtree(folder)
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed")
    sys.exit(1 if False in outcomes else 0)


if __name__ == "__main__":
    main()
