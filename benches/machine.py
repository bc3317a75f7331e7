"""The machine, as the report names it."""

import os
import platform
import time
from pathlib import Path

LARGE = 256_000_000  # bytes; a buffer beyond the caches, where their size is unknown
CACHE_TIMES = 8


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def largest_cache() -> int | None:
    """Bytes; None where the system does not say."""
    sizes = []
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = file.read_text().strip()
        sizes.append(int(text.rstrip("KM")) * {"K": 1 << 10, "M": 1 << 20}.get(text[-1], 1))
    return max(sizes, default=None)


def large_buffer() -> int:
    cache = largest_cache()
    return max(LARGE, CACHE_TIMES * cache) if cache else LARGE


def busy(seconds: float = 1.0) -> float | None:
    """Share of the processor that others use now."""
    before = ticks()
    time.sleep(seconds)
    after = ticks()
    if before is None or after is None or after == before:
        return None
    idle, whole = (now - then for now, then in zip(after, before, strict=True))
    return max(0.0, 1 - idle / whole)


def ticks() -> tuple[int, int] | None:
    """Idle, and all."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    counts = [int(count) for count in stat.read_text().splitlines()[0].split()[1:9]]
    return counts[3] + counts[4], sum(counts)


def about() -> dict:
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "largest_cache_bytes": largest_cache(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "busy_before": busy(),
    }
