"""Nothing that comes from outside is run, and nothing is listened to but this machine.

The first is looked up in the source of the package: what could do it stands in a table, with the
reason why it may.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import horus_trio

PACKAGE = Path(horus_trio.__file__).parent
PROJECT = Path(__file__).parents[2]
PROGRAMS = sorted(
    [
        *(PROJECT / "examples").rglob("*.py"),
        *(PROJECT / "docs/guide/programs").glob("*.py"),
        *PACKAGE.rglob("*.py"),
    ]
)

RUNS_CODE = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "marshal.load",
    "marshal.loads",
    "shelve.open",
    "dill.loads",
    "cloudpickle.loads",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "runpy.run_path",
    "runpy.run_module",
    "importlib.import_module",
    "importlib.util.module_from_spec",
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "ctypes.CDLL",
}
"""Calls that run what they are given, or what it names."""

PERHAPS = re.compile(
    r"(?<![\w.])(eval|exec|compile|__import__)\b"
    r"|pickle|marshal|shelve|dill|yaml|runpy|importlib|subprocess|ctypes|system|popen"
)
"""What is in every module that has one of them."""

MAY = {
    # A tick of a thread="process" node: between a robot and the child it has started, by a pipe.
    ("executor/process/far_side.py", "pickle.loads"),
    ("executor/process/parcels.py", "pickle.loads"),
    # What the user names on the command line is the user's own program.
    ("cli/as_horus.py", "runpy.run_path"),
    ("cli/target.py", "importlib.import_module"),
    ("cli/target.py", "importlib.util.module_from_spec"),
    # Names of modules that stand in the source.
    ("bridges/asyncio/loop.py", "importlib.import_module"),
    ("bridges/horus/yaml.py", "importlib.import_module"),
    ("bridges/horus_process/package.py", "importlib.util.module_from_spec"),
    ("cli/parser.py", "importlib.import_module"),
    ("drivers/extra.py", "importlib.import_module"),
    ("drivers/http/polled.py", "importlib.import_module"),
    ("drivers/websocket/client.py", "importlib.import_module"),
    ("executor/process/ticks.py", "importlib.import_module"),
    # By a loader that is a SafeLoader.
    ("bridges/horus/yaml.py", "yaml.load"),
    # The operating system's own library.
    ("timer.py", "ctypes.CDLL"),
}


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """A module, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def named(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """What is named anywhere in a module, with dots; what was imported by its whole name."""
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update({n.asname or n.name: n.name for n in node.names})
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.update({n.asname or n.name: f"{node.module}.{n.name}" for n in node.names})
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)):
            first, dot, rest = dotted(node).partition(".")
            yield node, f"{imported.get(first, first)}{dot}{rest}"


def dotted(node: ast.expr) -> str:
    """Such as ``os.path``; empty where there is anything else in it."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def found_in(path: Path) -> set[str]:
    if not PERHAPS.search(path.read_text(encoding="utf-8")):
        return set()
    return {name for _, name in named(tree_of(path)) if name in RUNS_CODE}


def test_only_what_may_run_code_does() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in PACKAGE.rglob("*.py")
        for name in found_in(path)
    }
    assert found - MAY == set()
    assert MAY - found == set()  # the table is no longer than it has to be


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("eval(x)", "eval"),
        ("import pickle as p\np.loads(x)", "pickle.loads"),
        ("from pickle import loads as f\nmap(f, x)", "pickle.loads"),
        ("import os\nos.system(x)", "os.system"),
        ("from yaml import load", None),
        ("from yaml import load\nload(x)", "yaml.load"),
        ("import json\njson.loads(x)", None),
    ],
)
def test_it_would_be_found(text: str, name: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(text)
    assert found_in(path) == ({name} if name else set())


def test_no_program_is_started_by_a_shell() -> None:
    for path in PROGRAMS:
        if "shell" not in path.read_text(encoding="utf-8"):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.keyword):
                assert node.arg != "shell", f"{path}:{node.value.lineno}"


def test_yaml_with_tags_is_refused() -> None:
    yaml = pytest.importorskip("yaml")
    from horus_trio.bridges.horus.yaml import YamlError, read

    ran: list[str] = []
    yaml.add_constructor("!ran", lambda *_: ran.append("it"), yaml.Loader)
    for text in (
        "a: !!python/object/apply:os.system ['echo forged']",
        "a: !!python/name:os.system",
        "!!python/module:os",
        "a: !ran x",
    ):
        with pytest.raises(YamlError, match="could not determine a constructor"):
            read(text)
    assert ran == []


@pytest.mark.slow
def test_commands_that_look_take_no_module_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only ``run`` imports what is there, since it is told to."""
    for name in ("shtab", "httpx2", "paho", "cv2", "serial", "coredis", "yaml", "horus", "json"):
        (tmp_path / f"{name}.py").write_text("print('forged', flush=True)")
    command = Path(sys.executable).with_name("horus-trio")
    if not command.exists():
        pytest.skip("the command is not installed here")
    for words in (["doctor"], ["nodes"]):
        done = subprocess.run(
            [command, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert "forged" not in done.stdout + done.stderr


def test_no_outside_name_is_written_through_a_link(tmp_path: Path) -> None:
    """Files that are made in a folder that all share are made anew, for the user alone."""
    from horus_trio.executor.process.tally import Tally

    tally = Tally(1)
    assert Path(tally.path).stat().st_mode & 0o777 == 0o600
    tally.close()
    shared = [
        f"{path}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        if "/tmp" in path.read_text(encoding="utf-8")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(("/tmp", "/var/tmp"))
    ]
    # The folder of sockets alone, which is 0700 and checked.
    assert [place for place in shared if "cli/control/address.py" not in place] == []
