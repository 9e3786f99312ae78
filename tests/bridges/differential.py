"""The same small program on HORUS's own package and on the facade, and what each observed.

A program imports ``horus``, does something short, and hands what it saw to ``show``, which becomes
the last line of its output. Each run has a process and a HORUS namespace of its own, so that no two
runs, and nothing else on the machine, share a topic.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import horus_trio

__all__ = ["FACADE", "HOW_TO_INSTALL", "ORIGINAL", "Both", "Observed", "has_original", "observe"]

ROOT = Path(horus_trio.__file__).parents[1]

PATIENCE = 30.0
"""Seconds after which a program is taken to hang."""

HOW_TO_INSTALL = "pip install 'horus-robotics==0.4.1' (Linux on x86-64)"

ORIGINAL = ""
FACADE = """
import horus_trio.bridges.horus as _facade
_facade.install()
"""

# HORUS running as root makes its threads real-time ones of priority 80, which keep the tests beside
# it from the processor; without the capability it falls back to ordinary threads.
PRELUDE = """
import ctypes, json, os, sys, threading, time

def _be_ordinary():
    if sys.platform != "linux" or os.getuid() != 0:
        return
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capget(header, data) == 0:
        for n in (0, 1):  # effective, permitted
            data[n] &= ~(1 << 23)  # CAP_SYS_NICE
        libc.capset(header, data)

_be_ordinary()

_seen = {}

def show(**what):
    _seen.update(what)

def outcome(function, *args, **keywords):
    "What a call gives, or how it fails, as a short text."
    try:
        return repr(function(*args, **keywords))
    except BaseException as error:
        return type(error).__name__

def raised(function, *args, **keywords):
    "The type and message of what a call raises."
    try:
        return ["returned", repr(function(*args, **keywords))]
    except BaseException as error:
        return [type(error).__name__, str(error)]

import atexit
# Written in one piece, and last of all.
atexit.register(lambda: os.write(1, b"\\n" + json.dumps(_seen).encode() + b"\\n"))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a program saw on one package.

    Attributes:
        seen: What it handed to ``show``.
        code: Its exit code.
        out: What it wrote to standard output and error.
    """

    seen: dict[str, Any]
    code: int
    out: str

    def __getitem__(self, key: str) -> Any:
        assert key in self.seen, f"{key!r} was not shown:\n{self.out}"
        return self.seen[key]


class Both(NamedTuple):
    """The two observations of one program."""

    original: Observed
    facade: Observed

    def agree(self, *keys: str) -> dict[str, Any]:
        """Check that both saw the same under these keys, or under all; returns it."""
        chosen = keys or tuple(sorted(self.original.seen.keys() | self.facade.seen.keys()))
        different = {
            key: {"original": self.original[key], "facade": self.facade[key]}
            for key in chosen
            if self.original[key] != self.facade[key]
        }
        if different:
            raise AssertionError(json.dumps(different, indent=2))
        return {key: self.facade[key] for key in chosen}

    def close(self, key: str, tolerance: float) -> None:
        """Check that both saw nearly the same number."""
        original, facade = self.original[key], self.facade[key]
        assert abs(original - facade) <= tolerance, (key, original, facade)


def has_original() -> bool:
    """Whether HORUS's own package is installed here."""
    return "horus" in sys.modules or importlib.util.find_spec("horus") is not None


def observe(
    package: str,
    program: str,
    folder: Path,
    *,
    ending: Callable[[subprocess.Popen[str]], None] | None = None,
) -> Observed:
    """Run a program on `ORIGINAL` or `FACADE`.

    Arguments:
        package: One of the two.
        program: Its text; `PRELUDE` comes before it.
        folder: Where its file is written and where it runs.
        ending: What to do with the process while it runs, such as sending it a signal.
    """
    namespace = f"test_{uuid.uuid4().hex[:12]}"
    file = folder / f"{'facade' if package else 'original'}_{namespace}.py"
    file.write_text(PRELUDE + package + textwrap.dedent(program))
    process = subprocess.Popen(
        [sys.executable, "-u", str(file)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HORUS_NAMESPACE": namespace},
    )
    with process:
        try:
            if ending is not None:
                ending(process)
            out, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise AssertionError(f"it hangs:\n{process.communicate()[0]}") from error
        finally:
            process.kill()
            shutil.rmtree(Path("/dev/shm") / f"horus_{namespace}", ignore_errors=True)
    lines = out.rstrip("\n").splitlines()
    seen = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Observed(seen=seen, code=process.returncode, out=out)
