"""Text files of forms and sentences: blocks between blank lines, the first line of each its head."""

from pathlib import Path

FOLDER = Path(__file__).parent


def read(path: Path) -> dict[str, tuple[str, ...]]:
    """The lines of each block by its head."""
    parts = (part.split("\n") for part in path.read_text(encoding="utf-8").strip().split("\n\n"))
    return {head: tuple(lines) for head, *lines in parts}
