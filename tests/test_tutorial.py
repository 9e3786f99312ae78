"""The tutorial, followed as it is written: each command is typed, and answers as its page says.

What readers have made before, a clone and an environment, is there by links to those of the tests.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import short_folder, wait_for_socket
from pages import blocks
from test_docs import ROOT, TUTORIAL, commands, shape

STEPS = sorted(TUTORIAL.glob("step*.md"))
PAGES = [TUTORIAL / "index.md", *STEPS]
PROGRAMS = sorted((ROOT / "examples" / "tutorial").glob("*.py"))

SET_UP = re.compile(r"^(python3 -m venv|\.venv/bin/pip) .*\n", re.MULTILINE)
"""What has been done before."""

CLONE = "/home/you/horus_trio"
"""Where the pages say that it is."""


def name_of(path: Path) -> str:
    return path.stem


def shown_on(page: Path) -> list[Path]:
    """The programs of a page."""
    return [(page.parent / b.included).resolve() for b in blocks(page) if b.included]


class Terminal:
    """Where commands are typed: a folder in which the clone and its environment are.

    Arguments:
        folder: An empty one.
        runtime: Where robots have their sockets.
    """

    def __init__(self, folder: Path, runtime: Path) -> None:
        self._folder = folder
        self._runtime = runtime
        (folder / ".venv").symlink_to(sys.prefix)
        (folder / "examples").symlink_to(ROOT / "examples")
        self._environment = os.environ | {
            "HORUS_TRIO_RUNTIME_DIR": str(runtime),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",  # lines come in their order, as on a terminal
        }
        self._shells: list[int] = []

    def type(self, script: str) -> str:
        """What there is to see when it has ended."""
        shell = subprocess.Popen(
            ["sh", "-e", "-c", script],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        self._shells.append(shell.pid)
        seen, _ = shell.communicate(timeout=60)
        assert shell.returncode == 0, seen
        if " &\n" in script:
            wait_for_socket(self._runtime)  # longer than a reader is told to, if need be
        return seen.replace(str(self._folder), CLONE)

    def close(self) -> None:
        """What still runs in the background is ended."""
        for shell in self._shells:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell, signal.SIGKILL)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with short_folder() as runtime:
        terminal = Terminal(tmp_path, runtime)
        yield terminal
        terminal.close()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_shows_what_it_says(page: Path, terminal: Terminal) -> None:
    shown = blocks(page)
    typed = 0
    for block, after in itertools.pairwise([*shown, shown[-1]]):
        if block.kind == "sh":
            script = SET_UP.sub("", block.text)
            seen = shape(terminal.type(script))
            typed += 1
            if after.kind == "text":
                # What is shown happens in real time: a machine that pauses is given three attempts.
                for _ in range(2):
                    if seen != shape(after.text):
                        seen = shape(terminal.type(script))
                assert seen == shape(after.text)
    assert typed
    assert shown[-1].kind == "text"


@pytest.mark.parametrize(("page", "program"), [*zip(STEPS, PROGRAMS, strict=True)], ids=name_of)
def test_a_step_has_a_program_of_its_own(page: Path, program: Path) -> None:
    assert shown_on(page) == [program]
    assert program.stem.startswith(f"{page.stem}_")
    assert any(str(program.relative_to(ROOT)) in command for command in commands(page))
    text = program.read_text()
    assert len(text.splitlines()) <= 80
    assert f"python examples/tutorial/{program.name}" in text.split('"""')[1]


def test_a_reader_begins_with_what_the_steps_need() -> None:
    (install,) = [c for c in commands(TUTORIAL / "index.md") if "pip install" in c]
    assert "-e '.[serial,pytest]'" in install
