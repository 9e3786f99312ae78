"""The page of errors has every error of the package, its cause and its cure, and no other.

What an error says is quoted there; each is really caused here, and has to say it.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import error_causes.devices
import error_causes.engine
import error_causes.outside
import error_causes.tools
import pytest
from error_causes.table import CAUSES

import horus_trio
from horus_trio.cli import parser
from horus_trio.cli.errors import FAILED, USAGE, CommandFailed
from horus_trio.cli.last_resort import STUCK_EXIT
from horus_trio.errors import HorusError

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "errors.md"

SLOW = {"CancellationBroken", "ContractBroken", "WorkerFailed"}
"""Those whose causes take about a second."""

NEVER_RAISED = {"DriverError", "HorusTransformError", "WrongReply"}
"""Those that only users raise, or only catch."""

INTERNAL = {
    "BadAnswer": "becomes ReceiveFailed",
    "CannotConnect": "becomes ConnectFailed or DeviceGone",
    "Evicted": "ends what a test has left hanging, and passes no test's end",
    "Lost": "becomes DeviceGone",
    "NoAnswer": "becomes ReceiveFailed, and DeviceGone after several",
    "NotAFile": "becomes the DriverError of what was being done",
    "NotRedis": "becomes DeviceGone",
    "NotThere": "becomes ReceiveFailed",
    "NotTried": "becomes a line of a report",
    "Refused of redis.replies": "becomes SendFailed or ConnectFailed",
    "Refused of websocket.happenings": "becomes ConnectFailed",
    "Trouble": "is the base of three of these",
    "WorldError": "becomes a line of the demo",
    "YamlError": "becomes ConfigurationError",
    "_Slow": "becomes a hang-up",
}
"""Those that no user meets, and what becomes of them."""


def error_classes() -> list[type[BaseException]]:
    """All exception classes that the package defines."""
    found: dict[type[BaseException], None] = {}
    for module in pkgutil.walk_packages(horus_trio.__path__, "horus_trio."):
        if module.name.endswith("__main__"):
            continue
        for thing in vars(importlib.import_module(module.name)).values():
            ours = getattr(thing, "__module__", "").startswith("horus_trio.")
            if ours and inspect.isclass(thing) and issubclass(thing, BaseException):
                found[thing] = None
    return list(found)


def is_public(kind: type[BaseException]) -> bool:
    """Whether users can meet it."""
    where = kind.__module__.removeprefix("horus_trio.drivers.")
    return kind.__name__ not in INTERNAL and f"{kind.__name__} of {where}" not in INTERNAL


CAUSED = (error_causes.devices, error_causes.engine, error_causes.outside, error_causes.tools)
"""The modules that fill the table."""

CLASSES = error_classes()
PUBLIC = {kind.__name__: kind for kind in CLASSES if is_public(kind)}
SECTIONS = dict[str, str](
    re.findall(r"^### (\w+)\n(.+?)(?=^##|\Z)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
)
QUOTED = {
    name: quote.group(1)
    for name, text in SECTIONS.items()
    if (quote := re.search(r"^> `` ?(.+?) ?``$", text, re.MULTILINE))
}


def shape(message: str, folder: Path) -> str:
    """What an error says in its first line, without numbers, and without the places of files."""
    line = message.partition("\n")[0].replace(str(folder), "/tmp")
    line = re.sub(r"\S*/error_causes/\w+\.py", "robot.py", line)
    return re.sub(r"\d+(\.\d+)?", "#", line)


def test_every_error_is_there_and_no_other() -> None:
    assert sorted(SECTIONS) == sorted(PUBLIC)
    assert {name for name, kind in PUBLIC.items() if not issubclass(kind, HorusError)} == {
        CommandFailed.__name__
    }


def test_every_error_of_the_public_tree_is_public() -> None:
    """An internal one is no `HorusError`: who catches those is to know what there is."""
    hidden = [kind for kind in CLASSES if not is_public(kind) and issubclass(kind, HorusError)]
    assert hidden == []
    names = {kind.__name__ for kind in CLASSES}
    assert {name.partition(" of ")[0] for name in INTERNAL} <= names


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_an_error_has_a_meaning_a_cause_and_a_cure(name: str) -> None:
    text = " ".join(SECTIONS[name].split())
    meaning, *parts = re.split(r" - \*\*(?:Cause|Cure|Raised in):\*\* ", text)
    assert len(parts) == 3
    assert all(len(part) > 15 for part in (meaning, *parts))
    kind = PUBLIC[name]
    for base in kind.__bases__:
        if base is not Exception and not issubclass(base, HorusError):
            assert base.__name__ in meaning, f"it is also a {base.__name__}"


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_it_is_raised_where_the_page_says(name: str) -> None:
    modules = re.findall(r"`(horus_trio(?:\.\w+)+)`", SECTIONS[name].partition("**Raised in:**")[2])
    assert modules
    for module in modules:
        source = inspect.getsource(importlib.import_module(module))
        given = rf"|\b{name}\b.*\bkind\(" if name in ("ReceiveFailed", "SendFailed") else ""
        there = re.search(rf"\b{name}\({given}", source, re.DOTALL)
        assert there, f"not in {module}, but in {', '.join(makers_of(name))}"


def makers_of(name: str) -> list[str]:
    """The modules that make errors of a class."""
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "horus_trio").rglob("*.py")
        if re.search(rf"(?<!class )\b{name}\(", path.read_text("utf-8"))
    )


def test_what_nobody_raises_is_raised_by_nobody() -> None:
    for source in (ROOT / "horus_trio").rglob("*.py"):
        for name in NEVER_RAISED:
            assert not re.search(rf"(?<!class ){name}\(", source.read_text("utf-8")), source


def test_every_error_has_an_example() -> None:
    caused = {kind.__name__ for kind in CAUSES}
    assert set(QUOTED) == caused
    assert set(SECTIONS) - caused == {"DriverError", "HorusTransformError"}


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Some causes are programs, which may switch logging off for the whole process."""
    before = logging.root.manager.disable
    yield
    logging.disable(before)


@pytest.mark.usefixtures("logging_as_before")
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.slow if kind.__name__ in SLOW else (), id=name)
        for name, kind in sorted((kind.__name__, kind) for kind in CAUSES)
    ],
)
def test_an_error_says_what_the_page_quotes(kind: type[BaseException], tmp_path: Path) -> None:
    error = CAUSES[kind](tmp_path)
    assert type(error) is kind
    assert shape(str(error), tmp_path) == shape(QUOTED[kind.__name__], tmp_path)


def test_the_exit_codes_are_those_of_the_commands() -> None:
    text = PAGE.read_text("utf-8").partition("### Exit codes")[2]
    codes = re.findall(r"^\| (\S+) \|", text, re.MULTILINE)[1:]
    assert [code for code in codes if set(code) != {"-", ":"}] == re.findall(
        r"^  (\S+)  +", parser.EPILOG.partition("exit codes:\n")[2], re.MULTILINE
    )
    assert {str(code) for code in (0, FAILED, USAGE, STUCK_EXIT)} < set(codes)
