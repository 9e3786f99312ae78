"""The examples in docstrings run, on stand-ins that have the signatures of what they stand for.

Most of them talk to a device, a broker or a server that is nowhere near. So each class of the
package that is opened is its `unittest.mock.create_autospec`: a call with an argument that the
class does not take fails, and so does a method that it does not have. What an example has from
elsewhere, such as ``read_lidar``, is listed here.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import itertools
import os
import re
import struct
import textwrap
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest

import horus_trio
from horus_trio import drivers, helpers, profiling
from horus_trio.bridges import horus as facade
from horus_trio.bridges import horus_process
from horus_trio.drivers import framing

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "horus_trio").rglob("*.py"))

SHOWN_OTHERWISE = re.compile(r"^ *(>>>|```|\.\. (code|code-block|sourcecode|doctest)::)", re.M)

ROOMS = (horus_trio, drivers, framing, helpers, horus_process, profiling)
"""Where the names of the package are looked up."""

OPENED = (
    drivers.Driver,
    drivers.DriverNode,
    drivers.QueryDriver,
    helpers.Helper,
    horus_process.HorusBridge,
    profiling.Profiler,
)
"""What has stand-ins."""

ELSEWHERE: dict[str, Any] = {
    "CmdVel": facade.CmdVel,
    "LaserScan": facade.LaserScan,
    "horus": horus_trio,
    "os": os,
    "struct": struct,
    "print": lambda *values: None,
    "now": 12.5,
    "row": (12.5, "started"),
}
ELSEWHERE |= {
    name: mock.MagicMock(name=name)
    for name in (
        *("Connection", "connect", "fuse", "plan", "query", "read_camera", "read_lidar"),
        *("read_sonar", "save", "write_rows"),
    )
}
"""What an example has from nowhere."""

LOOPS = 3
"""How often a device has something to say, where an example reads for ever."""

RECEIVED = {
    drivers.DirectoryWatch: drivers.FileEvent(
        path=mock.create_autospec(Path, instance=True), change=drivers.FileChange.WRITTEN
    ),
    drivers.RedisPubSub: drivers.ChannelMessage(channel="commands", data=b"go"),
}
"""What a device says, where that matters."""


class Example(NamedTuple):
    where: str
    text: str


def docstrings(module: Path) -> Iterator[tuple[str, str]]:
    """Those of a module, of its classes and functions, and of what they have, by their place."""
    for node in ast.walk(ast.parse(module.read_text())):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    place = module.relative_to(ROOT).with_suffix("")
                    yield f"{place}:{statement.lineno}", inspect.cleandoc(text)


DOCSTRINGS = [found for module in MODULES for found in docstrings(module)]

EXAMPLES = [
    Example(where, textwrap.dedent(block))
    for where, text in DOCSTRINGS
    for block in re.findall(r"::\n\n((?: +\S.*(?:\n|$)|\n)+)", text)
]
"""What is indented behind ``::``."""


def stand_in(kind: Any) -> mock.MagicMock:
    """Of a class, whose instances are opened by ``with`` and have something to say."""
    stand_in: mock.MagicMock = mock.create_autospec(kind)
    instance = stand_in.return_value
    for enter, leave in (("__aenter__", "__aexit__"), ("__enter__", "__exit__")):
        if hasattr(kind, enter):
            getattr(instance, enter).return_value = instance
            getattr(instance, leave).return_value = False
    if hasattr(kind, "receive"):
        said = itertools.repeat(RECEIVED.get(kind, mock.MagicMock()), LOOPS)
        instance.receive.side_effect = lambda: next(said)
    if hasattr(kind, "query"):
        instance.query.return_value = b"12.5"
    return stand_in


def found(name: str) -> Any:
    """What an example finds under a name."""
    match name:
        case "scheduler":
            return stand_in(horus_trio.Scheduler).return_value
        case "sensors":
            return stand_in(helpers.AsyncAggregator).return_value
        case "sqlite_pool" | "postgres_pool":
            opener = mock.create_autospec(getattr(helpers, name))
            kind = helpers.SqlitePool if name == "sqlite_pool" else helpers.PostgresPool
            opener.return_value = stand_in(kind).return_value
            return opener
    for room in ROOMS:
        if name in room.__all__:
            value = getattr(room, name)
            opened = isinstance(value, type) and issubclass(value, OPENED)
            return stand_in(value) if opened else value
    return ELSEWHERE[name]


def run(text: str) -> None:
    """Raises what is wrong with an example."""
    tree = ast.parse(text)
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    made = {node.id for node in used if isinstance(node.ctx, ast.Store)}
    made |= {n.name for n in ast.walk(tree) if isinstance(n, ast.ClassDef | ast.FunctionDef)}
    made |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    wanted = {node.id for node in used} - made - (vars(builtins).keys() - ELSEWHERE.keys())
    names = {name: found(name) for name in wanted}
    code = compile(text, "<example>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result: Coroutine[Any, Any, None] | None = eval(code, names)  # noqa: S307 - text of our own
    if result is None:
        return
    try:
        result.send(None)
    except StopIteration:
        return
    except RuntimeError as error:
        # A device has said all that it has to say, to an example that listens for ever.
        if not isinstance(error.__cause__, StopIteration):
            raise
    else:
        raise AssertionError("it waits for something")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example.where))
def test_an_example_runs(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    run(example.text)


@pytest.mark.parametrize(
    "text",
    [
        'async with TcpClient("127.0.0.1", 5025, frame=Lines()) as device: ...',
        'async with TcpClient("127.0.0.1", 5025, framing=Lines()) as device: await device.read()',
        'async with TcpClient("127.0.0.1", 5025, framing=Lines()) as device: await device.send()',
        "limiter = RateLimiter(100, burst=20, bust=1)",
        "print(NoSuchName)",
        "CanFrame(number=1)",
        'sqlite_pool("robot.sqlite3", sizes=3)',
    ],
)
def test_an_example_that_is_wrong_is_noticed(text: str) -> None:
    with pytest.raises((TypeError, AttributeError, KeyError)):
        run(text)


def test_nothing_is_shown_in_another_way() -> None:
    assert [where for where, text in DOCSTRINGS if SHOWN_OTHERWISE.search(text)] == []
