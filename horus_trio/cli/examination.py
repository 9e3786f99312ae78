"""What ``horus-trio doctor`` finds out: facts by section, and warnings with their remedies."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import resource
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

import horus_trio as horus

from ..health import Distribution, Histogram
from ..timer import Timer
from .control.address import folders

__all__ = ["Findings", "examine"]

WAKE_UPS, APART = 200, 0.005
"""The timer is measured by so many wake-ups, so many seconds apart."""

LATE = 0.01
"""Seconds: from this p99 of lateness on, a 100 Hz loop skips ticks."""

FEW_FILES = 1024
"""A robot with hundreds of devices runs out of descriptors below this limit."""

FEW_PROCESSES = 256
"""Threads count as processes for this limit."""

DISTRIBUTION = "horus-trio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The result.

    Attributes:
        facts: By section and name; JSON-able.
        warnings: What may become a problem, and what to do about it.
    """

    facts: Mapping[str, Mapping[str, Any]]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        return {**self.facts, "warnings": list(self.warnings)}

    def lines(self) -> Iterator[str]:
        """Everything as text."""
        timer, limits, environment = (
            self.facts[section] for section in ("timer", "limits", "environment")
        )
        sections: dict[str, dict[str, str]] = {
            "versions": dict(self.facts["versions"]),
            "timer": {
                "source": timer["source"],
                "lateness": f"{1e3 * timer['late_p50']:.2f} ms (p50), "
                f"{1e3 * timer['late_p99']:.2f} ms (p99) of {timer['wake_ups']} wake-ups",
            },
            "limits": {
                "processors": str(limits["processors"]),
                "processor quota": _or(limits["cpu_quota"], "none"),
                "open files": _or(limits["open_files"], "unlimited"),
                "threads": _or(limits["processes"], "unlimited"),
                "switch interval": f"{1e3 * limits['switch_interval']:g} ms (less in a run)",
            },
            "environment": {
                "development mode": "on" if environment["dev_mode"] else "off",
                "tracing": "on" if environment["traced"] else "off",
                "NOTIFY_SOCKET": _or(environment["notify_socket"], "not set"),
                "sockets in": environment["sockets"],
            },
            "extras": {
                extra: ", ".join(f"{name} {version}" for name, version in packages.items())
                if all(packages.values())
                else f"not installed: pip install '{DISTRIBUTION}[{extra}]'"
                for extra, packages in self.facts["extras"].items()
            },
        }
        for section, facts in sections.items():
            yield section
            for name, value in facts.items():
                yield f"  {name:<17} {value}"
        yield ""
        for warning in self.warnings:
            yield f"WARNING {warning}"
        if not self.warnings:
            yield "No problems found."


def examine() -> Findings:
    """Look at this machine and this environment; takes about a second."""
    timer, lateness = trio.run(_measure_timer)
    facts: dict[str, Mapping[str, Any]] = {
        "versions": _versions(),
        "timer": {
            "source": timer,
            "late_p50": lateness.p50,
            "late_p99": lateness.p99,
            "wake_ups": lateness.count,
        },
        "limits": _limits(),
        "environment": _environment(),
        "extras": _extras(),
    }
    return Findings(facts=facts, warnings=tuple(_warnings(facts)))


def _versions() -> dict[str, str]:
    return {
        "horus_trio": horus.__version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        **{name: _version(name) or "?" for name in ("trio", "trio-util", "outcome")},
        "platform": platform.platform(),
    }


async def _measure_timer() -> tuple[str, Distribution]:
    """How late the engine's timer wakes a task on this machine, in seconds."""
    timer = Timer()
    late = Histogram()
    done = trio.Event()
    start = trio.current_time()
    count = 1

    def ring(now: float) -> None:
        nonlocal count
        late.record(now - (start + count * APART))
        count += 1
        if count > WAKE_UPS:
            done.set()
        else:
            alarm.set(start + count * APART)

    alarm = timer.alarm(ring)
    alarm.set(start + APART)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(timer.run)
            await done.wait()
            nursery.cancel_scope.cancel()
    finally:
        timer.close()
    return timer.source, late.summary()


def _limits() -> dict[str, Any]:
    return {
        "processors": _processors(),
        "cpu_quota": _cpu_quota(),
        "open_files": _limit(resource.RLIMIT_NOFILE),
        "processes": _limit(resource.RLIMIT_NPROC),
        "switch_interval": sys.getswitchinterval(),
    }


def _processors() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _limit(kind: int) -> int | None:
    soft, _ = resource.getrlimit(kind)
    return None if soft == resource.RLIM_INFINITY else soft


def _cpu_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """How many processors the control group may use, or None: no limit is known."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((root / file).read_text() for file in files).split()
        except (OSError, ValueError):
            continue
        if quota.isdigit() and period.isdigit() and int(period):
            return int(quota) / int(period)
    return None


def _environment() -> dict[str, Any]:
    return {
        "dev_mode": sys.flags.dev_mode,
        "traced": sys.gettrace() is not None,
        "notify_socket": os.environ.get("NOTIFY_SOCKET"),
        "sockets": str(folders()[0]),
    }


def _extras() -> Mapping[str, Mapping[str, str | None]]:
    """The packages of each extra, and which version of them is here."""
    found: dict[str, dict[str, str | None]] = {}
    try:
        metadata = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return {}
    for extra in metadata.get_all("Provides-Extra") or ():
        found[extra] = {}
        for requirement in metadata.get_all("Requires-Dist") or ():
            package, _, marker = requirement.partition(";")
            if re.search(rf"""extra\s*==\s*['"]{re.escape(extra)}['"]""", marker):
                name = re.match(r"[A-Za-z0-9._-]+", package.strip())
                if name is not None:
                    found[extra][name[0]] = _version(name[0])
    return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _warnings(facts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    timer, limits, environment = facts["timer"], facts["limits"], facts["environment"]
    if timer["source"] != "timerfd":
        yield (
            f"the timer is {timer['source']}, which wakes on whole milliseconds; Linux has a "
            "finer one"
        )
    if timer["late_p99"] > LATE:
        yield (
            f"one of a hundred wake-ups is {1e3 * timer['late_p99']:.1f} ms late or more; other "
            "programs keep this machine busy: end them, or give the robot processors of its own "
            "(taskset, CPUAffinity=)"
        )
    if limits["processors"] < 2:
        yield "there is one processor: blocking code competes with the loop; two are better"
    if limits["cpu_quota"] is not None and limits["cpu_quota"] < 1:
        yield (
            f"the control group may use {limits['cpu_quota']:.2f} processors, and pauses the robot "
            "when that is used up; raise its cpu.max"
        )
    if limits["open_files"] is not None and limits["open_files"] < FEW_FILES:
        yield f"only {limits['open_files']} files may be open; `ulimit -n 4096` raises that"
    if limits["processes"] is not None and limits["processes"] < FEW_PROCESSES:
        yield f"only {limits['processes']} threads may run; `ulimit -u 4096` raises that"
    if environment["dev_mode"]:
        yield (
            "Python's development mode is on, which compares messages after each send; unset "
            "PYTHONDEVMODE for a robot that works"
        )
    if environment["traced"]:
        yield "a debugger or a coverage tool traces every line; run without it to measure"


def _or(value: object, absent: str) -> str:
    return absent if value is None else str(value)
