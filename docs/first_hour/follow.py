"""Follows README and tutorial as a new user would, and keeps what was typed and what came.

    python docs/first_hour/follow.py [--wheel] [--quick] [--record]

There is an empty home and a bare environment. What stands in a ``sh`` block of the README and of
the tutorial is typed there, line by line, in their order, in one shell for each page; it stops at
the first command that fails, and at the first output that is not what the page says. ``--wheel``
installs the built wheel where the pages install a clone; ``--quick`` leaves out the README's test
command, which takes ten minutes; ``--record`` writes the transcript beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
PAGES = ("README.md", "docs/tutorial/index.md", *(f"docs/tutorial/step{n}.md" for n in range(1, 7)))
SPEAKS = re.compile(r"^```(\S*).*\n((?:.*\n)*?)^```$", re.MULTILINE)
EDITABLE = re.compile(r"-e (?P<quote>'?)\.(?P<extras>\[[\w,]+\])?(?P=quote)")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
TESTS = re.compile(r"/nox$")
END = "the command has ended:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """Commands of one block, and what the page says comes of the block.

    Attributes:
        page: Where they stand, relative to the project.
        commands: One a line.
        said: The text that follows, or None: the page does not say.
    """

    page: str
    commands: tuple[str, ...]
    said: str | None = None


@dataclass(slots=True)
class Session:
    """What has happened until now."""

    lines: list[str] = field(default_factory=list)
    trouble: str = ""


def read(page: str, text: str) -> Iterator[Typed]:
    """The blocks of commands of a page, in their order."""
    blocks = [(match[1], match[2], match.start(), match.end()) for match in SPEAKS.finditer(text)]
    for index, (kind, body, _, end) in enumerate(blocks):
        if kind != "sh":
            continue
        said = None
        if index + 1 < len(blocks):
            following, answer, start, _ = blocks[index + 1]
            if following == "text" and "\n#" not in text[end:start]:
                said = answer
        yield Typed(page=page, commands=tuple(body.splitlines()), said=said)


def shape(text: str) -> list[str]:
    """The text without numbers, widths of columns, empty lines and what pip says of itself."""
    lines = (" ".join(re.sub(r"\d+(\.\d+)?", "#", line).split()) for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("[notice]")]


def plain(text: str, home: Path) -> str:
    """What a reader sees: no colours, the last state of a line that was drawn anew, no paths."""
    text = ESCAPE.sub("", text).replace("\r\n", "\n")
    text = "\n".join(line.rpartition("\r")[2].rstrip() for line in text.split("\n"))
    return text.replace(str(home), "/home/you").strip("\n")


class Shell:
    """A shell in a bare environment, which is given one command after the other."""

    def __init__(self, home: Path, folder: Path) -> None:
        python = Path(sys.executable).resolve().parent
        path = os.pathsep.join([str(home / "bin"), "/usr/local/bin", "/usr/bin", "/bin"])
        (home / "bin").mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (home / "bin" / "python3").symlink_to(python / "python3")
        screen, terminal = pty.openpty()  # programs write as they do for somebody who looks
        self._screen = os.fdopen(screen, "rb")
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={"HOME": str(home), "PATH": path, "LANG": "C.UTF-8", "TERM": "dumb"},
            stdin=subprocess.PIPE,
            stdout=terminal,
            stderr=terminal,
            text=True,
        )
        os.close(terminal)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with self._screen, self._shell:  # closes its input, which ends it
            pass

    def type(self, command: str) -> tuple[str, int]:
        """Give it a command; what it prints, and its exit code."""
        assert self._shell.stdin is not None
        # What it reads from its input must not be the commands to come.
        self._shell.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n%s %s\\n' '{END}' $?\n")
        self._shell.stdin.flush()
        printed: list[str] = []
        with contextlib.suppress(OSError):  # that is what the end of a terminal is like
            for line in self._screen:
                text = line.decode(errors="replace").replace("\r\n", "\n")
                if text.startswith(END):
                    return "".join(printed)[:-1], int(text[len(END) :])
                printed.append(text)
        return "".join(printed), 1  # the command has ended the shell


def follow(pages: Sequence[Sequence[Typed]], home: Path, folder: Path, wheel: str) -> Session:
    """Type it all, until something is not as it should be."""
    session = Session()
    for blocks in pages:
        with Shell(home, folder) as shell:
            for block in blocks:
                come: list[str] = []
                for line in block.commands:
                    command = EDITABLE.sub(rf"'{wheel}\g<extras>'", line) if wheel else line
                    printed, code = shell.type(command)
                    printed = plain(printed, home)
                    session.lines += [f"$ {command}", *printed.splitlines()]
                    come.append(printed)
                    if code:
                        session.trouble = f"{block.page}: {command!r} exits with {code}"
                        return session
                if block.said is not None and shape("\n".join(come)) != shape(block.said):
                    session.trouble = f"{block.page}: it says something else:\n{block.said}"
                    return session
                session.lines.append("")
    return session


def main() -> int:
    """Follow the pages; the exit code says whether that went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    pages = [list(read(page, (PROJECT / page).read_text())) for page in PAGES]
    if options.quick or options.wheel:  # a wheel has no tests
        pages = [
            [block for block in blocks if not any(map(TESTS.search, block.commands))]
            for blocks in pages
        ]
    with tempfile.TemporaryDirectory(prefix="home-") as name:
        home = Path(name)
        folder = home / "horus_trio"
        wheel = ""
        if options.wheel:
            build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(home)]
            subprocess.run([*build, str(PROJECT)], check=True)
            [built] = home.glob("*.whl")
            wheel = f"../{built.name}"
            folder.mkdir()
            shutil.copytree(PROJECT / "examples", folder / "examples")
        else:
            subprocess.run(["git", "clone", "-q", str(PROJECT), str(folder)], check=True)
        session = follow(pages, home, folder, wheel)
    text = "\n".join(session.lines).rstrip() + "\n"
    sys.stdout.write(text)
    if session.trouble:
        sys.stdout.write(f"\nstopped: {session.trouble}\n")
        return 1
    if options.record:
        (HERE / ("wheel.txt" if options.wheel else "clone.txt")).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
