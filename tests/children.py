"""Programs in processes of their own, whose lines are read while they run."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import horus_trio

__all__ = ["PRELUDE", "Child", "Line", "line_of", "robot"]

ROOT = Path(horus_trio.__file__).parents[1]

PATIENCE = 20.0
"""Seconds for which a line, or the end, is waited for."""

PRELUDE = """
import ctypes, logging, os, queue, signal, sys, threading, time
import trio
import horus_trio as horus
from horus_trio import AsyncNode, Node, Scheduler

for signum in (signal.SIGINT, signal.SIGTERM):
    signal.signal(signum, signal.default_int_handler)

def say(text):
    os.write(2, f"{text} {time.monotonic()}\\n".encode())  # one write: lines do not mix

async def well(node):
    pass

_done = set()

def once(node, seq):  # that very release may be missed on a busy machine
    first = node.current_tick.seq >= seq and (node.name, seq) not in _done
    if first:
        _done.add((node.name, seq))
    return first
"""


def robot(body: str, *, after: str = "scheduler.run()") -> str:
    """A program that makes a scheduler of 50 Hz, does something with it, and runs it."""
    return f"scheduler = Scheduler(50.0)\n{textwrap.dedent(body)}\n{after}\n"


class Line(NamedTuple):
    """A line, and when it came, in seconds of `time.monotonic`, which all processes share."""

    text: str
    at: float


class Child:
    """A program that runs until the end of the block at the latest.

    Arguments:
        program: After `PRELUDE`; ``say(text)`` writes a line with the time to standard error.
        environment: Added to this process's.
        folder: Where the program's file is written.
        read: Whether what it says is read; else its pipe fills up.
    """

    def __init__(
        self,
        folder: Path,
        program: str,
        environment: Mapping[str, str] | None = None,
        *,
        read: bool = True,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "robot.py"
        self.file.write_text(PRELUDE + textwrap.dedent(program))
        self.seen: list[Line] = []
        self._lines: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(self.file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read, name="reader of a child")
        if read:
            self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self._lines.put(Line(line.rstrip("\n"), time.monotonic()))
        self._lines.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        if self._reader.ident is not None:
            self._reader.join()
        elif self.process.stderr is not None:
            self.process.stderr.close()

    def wait_for(self, pattern: str) -> Line:
        """The next line in which a regular expression is found."""
        give_up = time.monotonic() + PATIENCE
        while (left := give_up - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                break
            self.seen.append(line)
            if re.search(pattern, line.text):
                return line
        raise AssertionError(f"{pattern!r} did not come, but:\n{self.said}")

    def told(self, what: str) -> float:
        """The time which the child has put behind a text that it said."""
        return float(self.wait_for(rf"^{re.escape(what)} [\d.]+$").text.split()[-1])

    def listen(self, seconds: float) -> list[str]:
        """What it says meanwhile."""
        before = len(self.seen)
        give_up = time.monotonic() + seconds
        while (left := give_up - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                break
            self.seen.append(line)
        return [line.text for line in self.seen[before:]]

    def end(self) -> int:
        """Wait for its end and read the rest; returns its exit code."""
        code = self.process.wait(timeout=PATIENCE)
        self._reader.join(PATIENCE)
        while not self._lines.empty():
            line = self._lines.get()
            if line is not None:
                self.seen.append(line)
        return code

    def signal(self, signum: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(signum)

    @property
    def said(self) -> str:
        """All that has been read so far."""
        return "\n".join(line.text for line in self.seen)

    def line_of(self, mark: str) -> int:
        """The number of the one line of the program that ends with a mark."""
        return line_of(self.file, mark)


def line_of(file: Path, mark: str) -> int:
    """The number of the one line of a file that ends with a mark."""
    numbers = [n for n, line in enumerate(file.read_text().splitlines(), 1) if line.endswith(mark)]
    assert len(numbers) == 1, (mark, numbers)
    return numbers[0]
