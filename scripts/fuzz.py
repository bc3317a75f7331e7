"""Runs the parsers on random bytes: `make fuzz`. fuzz/README.md says what this is."""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUZZ = ROOT / "fuzz"
TARGETS = re.compile(r'^    target\("(\w+)", (\d+), ', re.MULTILINE)
# An input may take so long and so much memory.
TIMEOUT_SECONDS = 10
MEMORY_MB = 1024
LAST = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/")


def targets() -> dict[str, int]:
    """Most bytes of an input, by the names of the targets."""
    found = {name: int(most) for name, most in TARGETS.findall((ROOT / "src/fuzzing.rs").read_text())}
    if not found:
        sys.exit("fuzz: src/fuzzing.rs lists no targets")
    return found


def toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


def profile() -> str:
    """The server's profile, as a configuration of cargo's, without what fuzz/Cargo.toml says otherwise."""
    ours = tomllib.loads((FUZZ / "Cargo.toml").read_text())["profile"]["release"]["package"]
    release = tomllib.loads((ROOT / "Cargo.toml").read_text())["profile"]["release"]
    packages = release.pop("package")
    lines = ["[profile.release]", *(f"{key} = {toml(value)}" for key, value in release.items())]
    for package, settings in packages.items():
        if package not in ours:
            lines += [f'[profile.release.package."{package}"]', *(f"{key} = {toml(value)}" for key, value in settings.items())]
    return "\n".join(lines) + "\n"


def build(target_folder: Path) -> Path:
    """Builds the program; where the server has been built there, its dependencies are there already."""
    shutil.copyfile(ROOT / "Cargo.lock", FUZZ / "Cargo.lock")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "profile.toml"
        config.write_text(profile())
        subprocess.run(
            ["cargo", "build", "--release", "--config", config],
            cwd=FUZZ,
            env={**os.environ, "CARGO_TARGET_DIR": str(target_folder), "RUSTC_WRAPPER": str(FUZZ / "rustc.sh")},
            check=True,
        )
    return target_folder / "release/retro-fuzz"


def fuzz(program: Path, name: str, most: int, seconds: int, corpus: Path) -> tuple[str, list[Path]]:
    """Figures of one target, and the inputs that it fails on, which are kept in fuzz/found."""
    grown = corpus / name
    grown.mkdir(parents=True, exist_ok=True)
    seeds = [folder for folder in (FUZZ / "corpus" / name, FUZZ / "found" / name) if folder.is_dir()]
    found = []
    # Files that are written thousands of times a second.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        artifacts = Path(folder) / "artifacts"
        work = Path(folder) / "work"
        artifacts.mkdir()
        work.mkdir()
        arguments = [
            program,
            f"-max_total_time={seconds}",
            f"-timeout={TIMEOUT_SECONDS}",
            f"-rss_limit_mb={MEMORY_MB}",
            f"-max_len={most}",
            f"-artifact_prefix={artifacts}/",
            grown,
            *seeds,
        ]
        began = time.monotonic()
        ran = subprocess.run(
            arguments,
            env={**os.environ, "RETRO_FUZZ_TARGET": name, "TMPDIR": str(work), "RUST_BACKTRACE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        took = time.monotonic() - began
        for artifact in sorted(artifacts.iterdir()):
            # Only told, and mostly of a machine that has other work.
            if artifact.name.startswith("slow-unit"):
                continue
            kind = artifact.name.split("-")[0]
            short = f"{kind}-{hashlib.sha256(artifact.read_bytes()).hexdigest()[:12]}"
            kept = FUZZ / "found" / name / short
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artifact, kept)
            found.append(kept)
    figures = LAST.findall(ran.stdout)
    inputs, edges, _, size = figures[-1] if figures else ("0", "0", "0", "0")
    said = f"{int(inputs):,} inputs in {took:.0f} s, {int(edges):,} edges reached by {int(size):,} inputs"
    caught = re.findall(r"^a library's own: panicked at (.*):$", ran.stdout, re.MULTILINE)
    said += "".join(f"\nfuzz: {name}: caught: {place}" for place in sorted(set(caught)))
    if ran.returncode != 0:
        said += f", {len(found)} found\n{ran.stdout[-6000:]}"
    return said, found if found or ran.returncode == 0 else [Path("?")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="for each target")
    parser.add_argument("--corpus", type=Path, default=Path.home() / ".cache/retro-server/fuzz", help="where inputs are kept")
    parser.add_argument("--program", type=Path, help="this, and build none")
    parser.add_argument("names", nargs="*", help="targets (default: all)")
    arguments = parser.parse_args()
    known = targets()
    for name in arguments.names:
        if name not in known:
            sys.exit(f"fuzz: there is no target {name}; there are {', '.join(known)}")
    program = arguments.program or build(Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")))
    passed = failed = 0
    for name in arguments.names or known:
        said, found = fuzz(program, name, known[name], arguments.seconds, arguments.corpus)
        print(f"fuzz: {name}: {said}", flush=True)
        for path in found:
            print(f"fuzz: {name} fails on {path}", flush=True)
        passed, failed = (passed, failed + 1) if found else (passed + 1, failed)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
