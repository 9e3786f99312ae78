"""`horus-trio new` makes projects that run and pass their tests, and refuses what would not."""

from __future__ import annotations

import ast
import errno
import importlib.util
import keyword
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horus_trio.cli import main
from horus_trio.cli.errors import CommandFailed
from horus_trio.cli.project.making import LONGEST, module_of

# What is copied is tried here, too.
from horus_trio.cli.project.robot_tests import (
    test_it_stops_before_the_wall as test_the_original_stops_before_the_wall,
)
from horus_trio.cli.project.robot_tests import (
    test_it_stops_when_the_sonar_hangs as test_the_original_stops_when_the_sonar_hangs,
)

ROOT = Path(__file__).parent.parent.parent

__all__ = [
    "test_the_original_stops_before_the_wall",
    "test_the_original_stops_when_the_sonar_hangs",
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which projects are made."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What is made


@pytest.mark.slow
@pytest.mark.usefixtures("untraced_children")
@pytest.mark.parametrize("name", ["my-robot", "Test.--_2"])
def test_the_printed_commands_run_the_robot_and_its_tests(here: Path, name: str) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONWARNINGS": "error",
    }

    def shell(command: str) -> str:
        done = subprocess.run(  # noqa: S602 - as users do with what is printed
            command,
            shell=True,
            cwd=here,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
        return done.stdout

    said = shell(f"{sys.executable} -m horus_trio.cli new {name}")
    run_it, test_it = (line.strip() for line in said.partition("next:\n")[2].splitlines())
    assert re.match(r"\S*horus-trio run |\S*python\S* -m horus_trio.cli run ", run_it)
    ran = shell(run_it.replace("--duration 5", "--duration 1"))
    assert re.search(r"ran 1\.\d\d s and ended", ran)
    assert re.search(r"^  sonar .*^  drive ", ran, re.MULTILINE | re.DOTALL)
    assert "2 passed" in shell(test_it)
    # In the folder, as a part of a suite, too.
    assert "2 passed" in shell(f"cd {name} && {sys.executable} -m pytest -p no:cacheprovider")


def test_it_makes_three_files(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "My-Robot.2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "made My-Robot.2: my_robot_2.py, test_my_robot_2.py, pyproject.toml"
    made = {path.name: path.read_text() for path in (here / "My-Robot.2").iterdir()}
    assert set(made) == {"my_robot_2.py", "test_my_robot_2.py", "pyproject.toml"}
    project = tomllib.loads(made["pyproject.toml"])
    assert project["project"]["name"] == "My-Robot.2"
    assert project["project"]["dependencies"] == ["horus-trio"]
    assert project["tool"]["setuptools"]["py-modules"] == ["my_robot_2"]
    assert "from my_robot_2 import Drive, Sonar" in made["test_my_robot_2.py"]
    for text in made.values():
        assert all(len(line) <= 88 for line in text.splitlines())  # as formatters have it


@pytest.mark.parametrize("name", ["my-robot", "a" * LONGEST, "lawn.mower"])
def test_its_code_imports_nothing_but_what_is_there(here: Path, name: str) -> None:
    assert main(["new", name]) == 0
    known = {"time", "horus_trio", module_of(name)}
    for path in (here / name).glob("*.py"):
        for part in ast.walk(ast.parse(path.read_text())):
            if isinstance(part, ast.ImportFrom):
                assert part.level == 0
                assert str(part.module).partition(".")[0] in known
            elif isinstance(part, ast.Import):
                assert {alias.name for alias in part.names} <= known


def test_an_empty_folder_may_be_there(here: Path) -> None:
    (here / "my-robot").mkdir()
    assert main(["new", "my-robot"]) == 0
    assert (here / "my-robot" / "my_robot.py").is_file()


def test_a_folder_or_module_beside_it_may_have_its_modules_name(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "my_robot").mkdir()
    (here / "your_robot.py").write_text("")
    monkeypatch.syspath_prepend(str(here))
    assert main(["new", "my-robot"]) == 0
    assert main(["new", "your-robot"]) == 0


# What is said


@pytest.mark.parametrize("missing", ["pytest", "pytest_trio"])
def test_what_the_tests_need_is_said_if_it_is_missing(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else find(name)
    )
    monkeypatch.setattr(sys, "executable", "/robot/bin/python")
    monkeypatch.setenv("PATH", "")
    assert main(["new", "my-robot"]) == 0
    first = capsys.readouterr().out.partition("next:\n")[2].splitlines()[0]
    install = "/robot/bin/python -m pip install 'horus-trio[pytest]'"
    assert first == f"  {install}    for the tests: {missing.replace('_', '-')} is missing"


@pytest.mark.parametrize(
    ("python", "path", "expected"),
    [
        ("bin/python3", "bin", ["horus-trio run", "python -m pytest"]),
        ("bin/python3", "", ["bin/horus-trio run", "bin/python -m pytest"]),
        ("my bin/python3", "", ["'my bin/horus-trio' run", "'my bin/python' -m pytest"]),
        ("bare/python3", "bin", ["bare/python3 -m horus_trio.cli run", "bare/python3 -m pytest"]),
    ],
)
def test_the_commands_are_those_of_its_environment(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    python: str,
    path: str,
    expected: list[str],
) -> None:
    for folder in ("bin", "my bin"):
        (here / folder).mkdir()
        for program in ("horus-trio", "python", "python3"):
            (here / folder / program).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(here / python))
    monkeypatch.setenv("PATH", str(here / path) if path else "")
    assert main(["new", "my-robot"]) == 0
    said = capsys.readouterr().out.partition("next:\n")[2].splitlines()
    assert [line.strip().partition(" my-robot")[0] for line in said] == expected


# What is refused


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "/tmp/x", "a/b", "../x", "a\\b", "x/", "my robot", "röbot", "x\n", "a$b"),
        *("-x-", "_x", "x_", "x.", "3d", "a\nb", "~x", "*", "a" * (LONGEST + 1), "a" * 5000),
    ],
    ids=lambda name: repr(name[:9]),
)
def test_what_is_no_name_is_refused(
    here: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "--", name]) == 2
    said = capsys.readouterr().err
    assert said.startswith("horus-trio new: ")
    assert "; expected " in said
    assert len(said) < 300
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("class", "a keyword"),
        ("JSON", "one of Python's own"),
        ("horus.trio", "has a meaning of its own"),
        ("conftest", "has a meaning of its own"),
        ("outcome", "installed already"),
        ("trio-util", "installed already"),
    ],
)
def test_a_module_that_hides_another_is_refused(
    here: Path, name: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", name]) == 2
    said = capsys.readouterr().err
    assert reason in said
    another = re.search(r"such as (\S+)$", said)
    assert another is not None
    assert main(["new", another[1]]) == 0  # what it proposes is right
    assert [path.name for path in here.iterdir()] == [another[1]]


@given(st.text(alphabet=st.characters(codec="ascii", categories=("L", "N", "P")), max_size=70))
def test_a_name_that_is_taken_is_a_module_and_one_part_of_a_path(name: str) -> None:
    try:
        module = module_of(name)
    except CommandFailed:
        return
    assert module.isidentifier()
    assert not keyword.iskeyword(module)
    assert module == module.lower()
    assert Path(name).parts == (name,)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name)


def test_what_is_there_is_not_touched(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "my-robot").mkdir()
    (here / "my-robot" / ".git").write_text("mine")
    (here / "file").write_text("mine")
    (here / "nowhere").symlink_to(here / "gone")
    for name, said in (
        ("my-robot", "the folder my-robot is not empty: '.git' is there; expected a new or an"),
        ("file", "file is there, and is no folder; expected a new"),
        ("nowhere", "nowhere cannot be made: File exists"),
    ):
        assert main(["new", name]) == 1
        assert said in capsys.readouterr().err
    assert [path.name for path in (here / "my-robot").iterdir()] == [".git"]
    assert (here / "file").read_text() == "mine"
    assert not (here / "gone").exists()


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("broken", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_half_a_project_is_none(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    existing: bool,
    broken: BaseException,
) -> None:
    if existing:
        (here / "my-robot").mkdir()
    opened: list[Path] = []
    open_file = Path.open

    def fail(self: Path, *arguments: Any, **keywords: Any) -> Any:
        if self.parent == Path("my-robot"):
            opened.append(self)
            if len(opened) == 3:
                raise broken
        return open_file(self, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", fail)
    assert main(["new", "my-robot"]) == (1 if isinstance(broken, OSError) else 130)
    if isinstance(broken, OSError):
        assert "my-robot cannot be made: No space left; " in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["my-robot"] * existing
    assert [*here.glob("my-robot/*")] == []


def test_a_folder_that_is_not_ours_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert main(["new", "my-robot"]) == 1
    said = capsys.readouterr().err
    assert "my-robot cannot be made: Permission denied; the project is made in the current" in said
