"""What a process has: memory, descriptors, threads, children, processor time. Linux's `/proc`."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["children", "descriptors", "machine_ticks", "processor_seconds", "resident", "threads"]

PAGE = os.sysconf("SC_PAGE_SIZE")
CLOCK = os.sysconf("SC_CLK_TCK")
SELF = Path("/proc/self")


def resident() -> int:
    """Bytes of memory that this process has in use (RSS)."""
    return int((SELF / "statm").read_text().split()[1]) * PAGE


def descriptors() -> int:
    """Open descriptors, without the one that counts them."""
    return len(os.listdir(SELF / "fd")) - 1  # noqa: PTH208 - of which `Path` makes many


def threads() -> int:
    """Threads, as the kernel counts them."""
    return len(os.listdir(SELF / "task"))  # noqa: PTH208


def children() -> int:
    """Children, dead ones that nobody has waited for included."""
    tasks = (SELF / "task").iterdir()
    found = 0
    for task in tasks:
        try:
            found += len((task / "children").read_text().split())
        except OSError:
            continue  # that thread has ended
    return found


def processor_seconds() -> float:
    """Processor time of this process."""
    times = os.times()
    return times.user + times.system


def machine_ticks() -> tuple[int, int]:
    """Ticks in which processors of the machine were busy, and all ticks."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)
