"""The engine inside an asyncio program: what a tick costs there, and what it costs a web server.

A tick of guest mode is held against the same run under `trio.run`: every wake-up comes through
Trio's I/O thread and the asyncio loop. The web server answers one request after the other, on one
connection from another process, alone and beside ten nodes of 100 Hz: in its own loop, and in a
thread of its own.
"""

from __future__ import annotations

import asyncio
import functools
import http.client
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import trio
from _compare import NotMeasured, Target, compare, percentile, print_machine
from _web_server import NODES, RATE, robot

import horus_trio as horus
from horus_trio.bridges import run_in_asyncio

SECONDS = 1.5
REQUESTS = 300
PAUSE = 0.003
"""Seconds between two requests: the server is not saturated."""

KEPT = 0.8
"""Of the ticks; else the machine was too busy to tell anything."""


def cpu_of_a_tick(run: Callable[[horus.Scheduler], horus.RunReport]) -> float:
    """CPU time of the process in µs, divided by the ticks."""
    scheduler = robot()
    begun = time.process_time()
    report = run(scheduler)
    spent = time.process_time() - begun
    return spent / sum(node.ok for node in report.statistics.nodes.values()) * 1e6


def lateness(run: Callable[[horus.Scheduler], horus.RunReport]) -> float:
    """The median of all ticks in µs."""
    scheduler = robot()
    late: list[float] = []
    scheduler.on_result(lambda result: late.append(result.lateness))
    run(scheduler)
    return percentile(late, 0.5) * 1e6


def native(scheduler: horus.Scheduler) -> horus.RunReport:
    """A run of Trio's own."""
    report: horus.RunReport = trio.run(scheduler.run, SECONDS)
    return report


def guest(scheduler: horus.Scheduler) -> horus.RunReport:
    """A run in an asyncio loop."""
    return asyncio.run(run_in_asyncio(scheduler.run, SECONDS))


def latency(engine: str, fraction: float = 0.95) -> float:
    """The percentile of one request's time in µs."""
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("_web_server.py")), engine],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        if server.stdin is None or server.stdout is None:
            raise RuntimeError("the server has no pipes")
        port = int(server.stdout.readline())
        taken = ask(port)
        server.stdin.close()
        if engine != "none" and float(server.stdout.readline()) < KEPT:
            raise NotMeasured("the machine was too busy: ticks were missed")
    return percentile(taken, fraction) * 1e6


def ask(port: int) -> list[float]:
    """Requests on one connection; how long each took, in seconds."""
    client = http.client.HTTPConnection("127.0.0.1", port)
    taken = []
    for number in range(REQUESTS + 20):
        begun = time.perf_counter()
        client.request("GET", "/")
        client.getresponse().read()
        if number >= 20:
            taken.append(time.perf_counter() - begun)
        time.sleep(PAUSE)
    client.close()
    return taken


def main() -> None:
    """Measure and print."""
    print_machine()
    many = f"{NODES} nodes of {RATE:g} Hz"
    compare(
        f"A no-op async tick, {many}",
        "µs of CPU a tick, timer and waiting included",
        {
            "trio.run": functools.partial(cpu_of_a_tick, native),
            "run_in_asyncio": functools.partial(cpu_of_a_tick, guest),
        },
        base="trio.run",
    )
    compare(
        f"How late a tick is, {many}",
        "µs, the median of a run",
        {
            "trio.run": functools.partial(lateness, native),
            "run_in_asyncio": functools.partial(lateness, guest),
        },
        base="trio.run",
    )
    for fraction in (0.5, 0.95):
        compare(
            f"A request to an asyncio web server, {many}, {fraction:.0%} answered within",
            "µs",
            {
                "no engine": functools.partial(latency, "none", fraction),
                "run_in_asyncio": functools.partial(latency, "guest", fraction),
                "background, in a thread": functools.partial(latency, "background", fraction),
            },
            base="no engine",
            targets={
                "run_in_asyncio": Target(at_most=2.0),
                "background, in a thread": Target(at_most=2.0),
            },
        )


if __name__ == "__main__":
    main()
