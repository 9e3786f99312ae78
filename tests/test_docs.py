"""What the documentation shows is true: programs run, sessions answer so, no name is missing.

A block of code on a page, however it is written, is one of these, and nothing else:

- ``{literalinclude}`` of a program, which is run here (in ``examples/`` it has tests of its own),
  of a text file, which is a picture, or of a unit file, which systemd finds no fault with;
- ``text`` right after a program: what it prints, up to the numbers in it; in the tutorial also
  right after commands, which `test_tutorial` types;
- ``python`` with ``>>>``: a doctest, and all of a page are one session;
- ``sh``: commands, which this project, its extras and its sessions of nox do have;
- in README.md a picture, or ``python``: `test_readme` runs all of those;
- a directive of Sphinx that shows no code.

What docstrings show is executed by `test_docstrings`.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import functools
import io
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from helpers.postgres_server import binaries, running_server
from pages import PAGES, Block, blocks

import horus_trio
import horus_trio.bridges.asyncio
import horus_trio.bridges.horus_process
import horus_trio.drivers
import horus_trio.drivers.framing
import horus_trio.helpers
import horus_trio.profiling
import horus_trio.testing
from horus_trio.cli.parser import make_parser

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

DOCS = ROOT / "docs"
PROGRAMS = sorted((DOCS / "guide" / "programs").glob("*.py"))

AS_HORUS = sorted((DOCS / "guide" / "programs" / "as_horus").glob("*.py"))
"""Programs for HORUS, which run on the engine unchanged."""

ROS2 = sorted((DOCS / "guide" / "programs" / "ros2").glob("*.py"))
"""Programs for ROS 2, which run on a stand-in of its client library."""

UNITS = sorted((DOCS / "guide" / "programs").glob("*.service"))

README = ROOT / "README.md"
TUTORIAL = DOCS / "tutorial"

REFERENCE = re.compile(
    r" *\.\. (currentmodule|auto(class|function|exception|data|method|property|attribute))"
    r":: [\w.]+(\(.*\))?"
)
"""What a directive of reStructuredText may be."""

TOOLS = {"echo", "ip", "journalctl", "sleep", "systemctl", "systemd-analyze"}
"""What else may be typed: tools of the system."""


def id_of(path: Path) -> str:
    return str(path.relative_to(ROOT).with_suffix(""))


def output_of(program: Path, folder: Path, environment: dict[str, str]) -> str:
    as_horus = ("-m", "horus_trio.cli", "run", "--as-horus") if program in AS_HORUS else ()
    library = ROOT / "tests" / "stand_ins" / "ros2" if program in ROS2 else ROOT
    finished = subprocess.run(
        [sys.executable, "-W", "error", *as_horus, str(program)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(library)} | environment,
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


def why_untested(page: Path, block: Block, previous: Block) -> str | None:
    """What is wrong with a block that no test looks at; None: one does."""
    if block.included is not None:
        file = (page.parent / block.included).resolve()
        if not file.is_file():
            return "there is no such file"
        checked = file in (*PROGRAMS, *AS_HORUS, *ROS2, *UNITS) or (
            file.is_relative_to(ROOT / "examples") and file.suffix == ".py"
        )
        picture = file.is_relative_to(DOCS) and file.suffix == ".txt"
        return None if checked or picture else "no test runs it"
    kind = block.kind.partition(" ")[0]
    match kind:
        case "{toctree}" | "sh":
            return None
        case "{include}":
            file = (page.parent / block.kind.partition(" ")[2]).resolve()
            return None if file in PAGES else "that is not one of the pages"
        case "{eval-rst}":
            lines = re.findall(r"^.*(?:::|>>>).*$", block.text, re.MULTILINE)
            bad = [line for line in lines if not REFERENCE.fullmatch(line)]
            return f"{bad[0]!r} is not looked at" if bad else None
        case "text" if (previous.included or "").endswith(".py"):
            return None
        case "text" if previous.kind == "sh" and page.parent == TUTORIAL:
            return None
        case "text":
            return "of which program?"
        case "python" if page == README:
            return None
        case "python":
            paragraphs = [part.lstrip("\n") for part in block.text.split("\n\n") if part.strip()]
            plain = [part for part in paragraphs if not part.startswith(">>> ")]
            skipped = "+SKIP" in block.text
            return "make it a doctest or a program" if plain or skipped or not paragraphs else None
        case "" if page == README and not is_python(block.text):
            return None
    return f"a block of kind {block.kind!r} is not tested"


def is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def untested(page: Path) -> list[str]:
    found: list[str] = []
    previous = Block("", "", 0)
    for block in blocks(page):
        why = why_untested(page, block, previous)
        if why:
            found.append(f"{page.name}:{block.line}: {why}")
        previous = block
    return found


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_every_block_is_one_that_is_tested(page: Path) -> None:
    assert untested(page) == []


UNTESTED = {
    "no kind": "```\nprint(1)\n```",
    "tildes": "~~~python\nprint(1)\n~~~",
    "colons": ":::python\nprint(1)\n:::",
    "a directive": "```{code-block} python\nprint(1)\n```",
    "a directive in colons": ":::{code-block} python\nprint(1)\n:::",
    "in a note": "````{note}\n```python\nprint(1)\n```\n````",
    "indented": "Text\n\n    print(1)\n",
    "in a list": "- item\n\n  ```python\n  print(1)\n  ```",
    "in a quotation": "> ```python\n> print(1)\n> ```",
    "html": "<pre><code>print(1)</code></pre>",
    "html in a line": "Text <code>print(1)</code> text",
    "reStructuredText": "```{eval-rst}\n.. code-block:: python\n\n   print(1)\n```",
    "literal reStructuredText": "```{eval-rst}\nSo::\n\n   print(1)\n```",
    "a session in reStructuredText": "```{eval-rst}\n>>> print(1)\n2\n```",
    "no session": "```python\nprint(1)\n```",
    "before a session": "```python\nprint(1)\n>>> 1\n1\n```",
    "behind a session": "```python\n>>> 1\n1\n\nprint(1)\n```",
    "skipped": "```python\n>>> print(1)  # doctest: +SKIP\n```",
    "an untested file": "```{literalinclude} conftest.py\n```",
    "no file": "```{literalinclude} missing.py\n```",
    "output of nothing": "```text\n1\n```",
    "another language": "```console\n$ echo\n```",
}


@pytest.mark.parametrize("text", UNTESTED.values(), ids=UNTESTED)
def test_a_block_that_no_test_looks_at_is_noticed(text: str, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").touch()
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{text}\n")
    (problem,) = untested(page)
    assert problem.startswith("page.md:")


@pytest.mark.slow
@pytest.mark.parametrize("program", [*PROGRAMS, *AS_HORUS, *ROS2], ids=id_of)
def test_a_program_prints_what_its_page_says(
    program: Path, tmp_path: Path, require: Callable[[str, bool, str], None]
) -> None:
    said = [
        after.text if after.kind == "text" else None
        for page in PAGES
        for block, after in itertools.pairwise([*blocks(page), Block("", "", 0)])
        if block.included and (page.parent / block.included).resolve() == program
    ]
    assert said, "no page shows it"
    with contextlib.ExitStack() as stack:
        environment: dict[str, str] = {}
        if "postgres" in program.stem:
            require("PostgreSQL", binaries() is not None, "apt install postgresql")
            server = stack.enter_context(running_server())
            environment = {
                "PGHOST": str(server.folder),
                "PGUSER": "robot",
                "PGDATABASE": "postgres",
            }
        output = output_of(program, tmp_path, environment)
    for text in said:
        if text is not None:
            assert shape(output) == shape(text)


@pytest.mark.parametrize("unit", UNITS, ids=id_of)
def test_systemd_finds_no_fault_with_a_unit_file(
    unit: Path, tmp_path: Path, require: Callable[[str, bool, str], None]
) -> None:
    analyze = shutil.which("systemd-analyze")
    require("systemd-analyze", analyze is not None, "apt install systemd")
    text, programs = unit.read_text(), "/opt/robot/bin"
    assert programs in text
    there = tmp_path / unit.name
    there.write_text(text.replace(programs, str(Path(sys.executable).parent)))
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
        ((command, target),) = re.findall(
            r"^ExecStart=\S+/(horus-trio) (.+)$", unit.read_text(), re.M
        )
        assert why_wrong(f"{command} {target}") is None


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_a_session_answers_as_it_says(page: Path) -> None:
    sessions = [block for block in blocks(page) if block.kind == "python" and page != README]
    text = "\n".join(block.text for block in sessions)
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner(verbose=False)
    said: list[str] = []
    runner.run(test, out=said.append)
    assert not said, "".join(said)


def commands(page: Path) -> list[str]:
    """What is typed, each command by itself."""
    lines = [
        line for block in blocks(page) if block.kind == "sh" for line in block.text.split("\n")
    ]
    return [part for line in lines for part in line.split(" && ") if part.strip()]


parser = functools.cache(make_parser)


def why_wrong(command: str) -> str | None:
    """What is wrong with a command; None: nothing."""
    words = shlex.split(re.split(r" [>&]", command)[0])
    while words[0] in ("sudo", "env") or words[0].startswith("-") or "=" in words[0]:
        del words[: 2 if words[0] == "-u" else 1]
    program, *arguments = (Path(words[0]).name, *words[1:])
    if program == "horus-trio":
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                parser().parse_args(arguments)
        except SystemExit as error:
            return said.getvalue() if error.code else None
        return None
    if program == "pip":
        extras = {e for word in words for e in re.findall(r"\w[\w-]*", word.partition("[")[2])}
        missing = extras - set(PROJECT["project"]["optional-dependencies"])
        return f"there is no extra {missing}" if missing or arguments[0] != "install" else None
    if program == "nox":
        names = [arguments[arguments.index("-s") + 1]] if "-s" in arguments else []
        sessions = re.findall(r"^def (\w+)\(", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
        return None if set(names) <= set(sessions) else f"there is no session {names}"
    if program in ("python", "python3"):
        if arguments[:2] in (["-m", "venv"], ["-m", "pytest"]):
            return None
        files = [word for word in arguments if word.endswith(".py")]
        return None if files and all((ROOT / file).is_file() for file in files) else "no such file"
    return None if program in TOOLS else f"{program} is no command of ours"


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_every_command_is_one(page: Path) -> None:
    wrong = {command: why for command in commands(page) if (why := why_wrong(command))}
    assert wrong == {}


@pytest.mark.parametrize(
    "command",
    [
        "horus-trio pose camera",
        "horus-trio run robot.py --durations 60",
        "pip install 'horus-trio[cereal]'",
        "nox -s benches",
        "python examples/missing.py",
        "make",
        "sudo -u robot env A=1 /opt/robot/bin/horus-trio tops",
    ],
)
def test_a_command_that_is_none_is_noticed(command: str) -> None:
    assert why_wrong(command)


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
