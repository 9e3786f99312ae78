"""What the documentation shows is true: programs run, sessions answer so, no name is missing.

A block of code on a page is one of these, and nothing else:

- ``{literalinclude}`` of a program, which is run here (in ``examples/`` it has tests of its own),
  of a text file, which is a picture, or of a unit file, which systemd finds no fault with;
- ``text`` right after a program: what it prints, up to the numbers in it;
- ``python`` with ``>>>``: a doctest, and all of a page are one session;
- ``sh``: commands, of which those of this project exist;
- a directive of Sphinx.
"""

from __future__ import annotations

import doctest
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

import horus_trio
import horus_trio.bridges.asyncio
import horus_trio.bridges.horus_process
import horus_trio.drivers
import horus_trio.drivers.framing
import horus_trio.helpers
import horus_trio.profiling
import horus_trio.testing

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.usefixtures("untraced_children")

DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
PROGRAMS = sorted((DOCS / "guide" / "programs").glob("*.py"))

AS_HORUS = sorted((DOCS / "guide" / "programs" / "as_horus").glob("*.py"))
"""Programs for HORUS, which run on the engine unchanged."""

UNITS = sorted((DOCS / "guide" / "programs").glob("*.service"))

DIRECTIVES = {"{toctree}", "{eval-rst}", "{include}"}


class Block(NamedTuple):
    kind: str
    """The info string."""
    text: str
    line: int

    @property
    def included(self) -> str | None:
        """The file a ``literalinclude`` names."""
        kind, _, name = self.kind.partition(" ")
        return name if kind == "{literalinclude}" else None


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    lines = enumerate(page.read_text().splitlines(), 1)
    for number, line in lines:
        if not line.startswith("```"):
            assert "```" not in line, f"{page.name}:{number}: a fence begins its line"
            continue
        body: list[str] = []
        for _, inner in lines:
            if inner.startswith("```"):
                break
            body.append(inner)
        found.append(Block(line.strip("`").strip(), "\n".join(body) + "\n", number))
    return found


def id_of(path: Path) -> str:
    return str(path.relative_to(DOCS).with_suffix(""))


def output_of(program: Path, folder: Path) -> str:
    as_horus = ("-m", "horus_trio.cli", "run", "--as-horus") if program in AS_HORUS else ()
    finished = subprocess.run(
        [sys.executable, "-W", "error", *as_horus, str(program)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def shape(text: str) -> list[str]:
    """The text without its numbers and without the widths of its columns."""
    return [" ".join(re.sub(r"\d+(\.\d+)?", "#", line).split()) for line in text.splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_every_block_is_one_that_is_tested(page: Path) -> None:
    previous: Block | None = None
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        if block.included is not None:
            file = (page.parent / block.included).resolve()
            checked = file in (*PROGRAMS, *AS_HORUS, *UNITS) or file.parent == ROOT / "examples"
            assert checked or file.suffix == ".txt", where
            assert file.is_file(), where
        elif block.kind == "text":
            assert previous is not None, where
            assert (previous.included or "").endswith(".py"), f"{where}: of which program?"
        elif block.kind == "python":
            assert ">>> " in block.text, f"{where}: make it a doctest or a program"
        else:
            kind = block.kind.partition(" ")[0]
            assert kind in DIRECTIVES | {"sh"}, f"{where}: {block.kind!r} is not tested"
        previous = block


@pytest.mark.slow
@pytest.mark.parametrize("program", [*PROGRAMS, *AS_HORUS], ids=id_of)
def test_a_program_prints_what_its_page_says(program: Path, tmp_path: Path) -> None:
    said = [
        after.text if after.kind == "text" else None
        for page in PAGES
        for block, after in itertools.pairwise([*blocks(page), Block("", "", 0)])
        if block.included and (page.parent / block.included).resolve() == program
    ]
    assert said, "no page shows it"
    output = output_of(program, tmp_path)
    for text in said:
        if text is not None:
            assert shape(output) == shape(text)


@pytest.mark.parametrize("unit", UNITS, ids=id_of)
def test_systemd_finds_no_fault_with_a_unit_file(
    unit: Path, tmp_path: Path, require: Callable[[str, bool, str], None]
) -> None:
    analyze = shutil.which("systemd-analyze")
    require("systemd-analyze", analyze is not None, "apt install systemd")
    text, python = unit.read_text(), "/opt/robot/bin/python"
    assert python in text
    there = tmp_path / unit.name
    there.write_text(text.replace(python, sys.executable))
    finished = subprocess.run(
        [analyze or "", "verify", str(there)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    about_it = [line for line in finished.stderr.splitlines() if unit.name in line]
    assert (finished.returncode, about_it) == (0, [])


def test_a_unit_file_leaves_the_stop_its_time() -> None:
    for unit in UNITS:
        (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit.read_text(), re.MULTILINE)
        assert int(seconds) > horus_trio.Scheduler().settings.stop_timeout + 2


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_a_session_answers_as_it_says(page: Path) -> None:
    sessions = [block for block in blocks(page) if block.kind == "python"]
    text = "\n".join(block.text for block in sessions)
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner(verbose=False)
    said: list[str] = []
    runner.run(test, out=said.append)
    assert not said, "".join(said)


@pytest.mark.slow
def test_every_command_is_one() -> None:
    commands = {
        line.split()[1]
        for page in PAGES
        for block in blocks(page)
        if block.kind == "sh"
        for line in block.text.splitlines()
        if line.startswith("horus-trio ")
    }
    for command in commands:
        subprocess.run(
            [sys.executable, "-m", "horus_trio.cli", command, "--help"],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            timeout=30,
        )


@pytest.mark.parametrize(
    ("pages", "module"),
    [
        ("names", horus_trio),
        ("drivers devices", horus_trio.drivers),
        ("profiling", horus_trio.profiling),
        ("testing", horus_trio.testing),
        ("drivers-framing", horus_trio.drivers.framing),
        ("helpers", horus_trio.helpers),
        ("asyncio", horus_trio.bridges.asyncio),
        ("horus-bridge", horus_trio.bridges.horus_process),
    ],
)
def test_the_reference_has_every_public_name(pages: str, module: ModuleType) -> None:
    parts = [part for page in pages.split() for part in (DOCS / "reference").glob(f"{page}*.md")]
    listed = re.findall(
        r"^\.\. auto(?:class|function|exception|data):: (\w+)",
        "".join(part.read_text() for part in parts),
        re.MULTILINE,
    )
    assert sorted(listed) == sorted(module.__all__)


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
