"""What figures were taken with: the machine, the versions, the source, the command.

A rival that has an environment of its own is found by an environment variable that names its
interpreter.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import inspect
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent

RIVALS = {"horus-robotics": "HORUS_PYTHON", "dora-rs": "DORA_PYTHON"}
"""Rivals in environments of their own, and the variables that name their interpreters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a program was run with.

    Attributes:
        about: What the program says of itself.
        machine: Processor, cores, memory in GiB, kernel, load average when the program began.
        versions: Of CPython and of packages, by name.
        date: When it began, UTC, to the minute.
        commit: Of the source, and whether files differ from it.
        command: That does it again.
    """

    about: str
    machine: str
    versions: dict[str, str]
    date: str
    commit: str
    command: str

    def to_json(self) -> dict[str, object]:
        """It as what JSON knows."""
        return asdict(self)


def look_around() -> Surroundings:
    """What this program runs with, now."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = " ".join(f"{average:.2f}" for average in os.getloadavg())
    return Surroundings(
        about=inspect.cleandoc(sys.modules["__main__"].__doc__ or ""),
        machine=f"{_processor()}, {os.cpu_count()} cores, {memory:.1f} GiB, "
        f"{platform.system()} {platform.release()} {platform.machine()}, load average {load}",
        versions=_versions(),
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=_commit(),
        command=f"{_ahead()}{_glimpse()}nox -s bench -- {Path(sys.argv[0]).stem}",
    )


def _ahead() -> str:
    """What tells that other programs of the machine had to wait for these."""
    policy = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else 0
    names = {1: "--fifo", 2: "--rr"}  # as Linux numbers them
    if policy not in names:
        return ""
    return f"chrt {names[policy]} {os.sched_getparam(0).sched_priority} "


def _glimpse() -> str:
    """What tells that these are figures of a glimpse, which mean nothing."""
    quick = os.environ.get("BENCH_QUICK", "")
    return f"BENCH_QUICK={quick} " if quick else ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "processor unknown"
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _versions() -> dict[str, str]:
    found = {"CPython": platform.python_version()}
    for package in ("trio", "trio-util", "horus-trio"):
        found[package] = importlib.metadata.version(package)
    for package, variable in RIVALS.items():
        python = os.environ.get(variable)
        if python:
            found[package] = _said(
                python, "-c", f"from importlib.metadata import version; print(version('{package}'))"
            )
    return found


def _commit() -> str:
    commit = _said("git", "rev-parse", "--short=10", "HEAD")
    # What this very session writes is not a change of the source.
    changed = _said("git", "status", "--porcelain", "--", ".", ":!docs/performance")
    return f"{commit} and changes that are not committed" if changed else commit


def _said(*command: str) -> str:
    """What a command prints, in the project's folder; "unknown" if there is no such thing."""
    try:
        finished = subprocess.run(
            command, cwd=PROJECT, capture_output=True, text=True, timeout=30, check=False
        )
    except OSError:
        return "unknown"
    return finished.stdout.strip() if finished.returncode == 0 else "unknown"
