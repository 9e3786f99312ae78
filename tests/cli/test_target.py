"""What ``horus-trio run`` makes of a TARGET, and what it says when it can make nothing of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import write_program

import horus_trio as horus
from horus_trio.cli.errors import CommandFailed
from horus_trio.cli.target import load


@pytest.fixture(autouse=True)
def _interpreter_as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        module = sys.modules[name]
        if str(tmp_path) in str(getattr(module, "__file__", "")):
            del sys.modules[name]


PROGRAM = """
    import dataclasses
    import horus_trio as horus
    from horus_trio import AsyncNode, Node
    from other import Imported

    @dataclasses.dataclass
    class Data:  # needs its module in sys.modules
        x: "int"

    class Base(Node):
        pass

    class _Private(Node):
        def tick(self): pass

    class Camera(Base):
        def tick(self): pass

    class Control(AsyncNode):
        async def tick_async(self): pass

    def build():
        return horus.Scheduler(name="built").add(Camera())

    def parts():
        return [Camera, Control()]

    class Config:
        camera = Camera
        @staticmethod
        def make():
            return Control()

    if __name__ == "__main__":
        raise RuntimeError("is not run as a program")
"""

OTHER = """
    import horus_trio as horus

    class Imported(horus.Node):
        def tick(self): pass
"""


@pytest.mark.parametrize(
    ("more", "target", "name", "nodes"),
    [
        ("", "robot.py", "robot", ["Camera-1", "Control-1"]),
        ("", "./robot.py", "robot", ["Camera-1", "Control-1"]),
        ("", "robot", "robot", ["Camera-1", "Control-1"]),
        ("cam = Camera('cam')\nagain = cam", "robot.py", "robot", ["cam"]),
        (
            "cam = Camera('cam')\nr = horus.Scheduler(name='r').add(cam)\ns = r",
            "robot",
            "r",
            ["cam"],
        ),
        ("", "robot.py:Control", "robot", ["Control-1"]),
        ("", "robot.py:build", "built", ["Camera-1"]),
        ("", "robot:parts", "robot", ["Camera-1", "Control-1"]),
        ("", "robot.py:Config.camera", "robot", ["Camera-1"]),
        ("", "robot.py:Config.make", "robot", ["Control-1"]),
        ("cam = Camera('cam')", "robot.py:cam", "robot", ["cam"]),
        ("pair = (Camera('a'), Camera('b'))", "robot.py:pair", "robot", ["a", "b"]),
    ],
)
def test_a_target_is_found(
    tmp_path: Path, more: str, target: str, name: str, nodes: list[str]
) -> None:
    write_program(tmp_path, OTHER, "other.py")
    path = write_program(tmp_path, PROGRAM)
    path.write_text(path.read_text() + more + "\n")
    scheduler = load(target)
    assert scheduler.name == name
    assert list(scheduler.statistics().nodes) == nodes
    assert load.__module__ not in sys.argv
    assert sys.argv[0] in (target.partition(":")[0], "robot.py")


def test_a_module_in_a_package_is_found(tmp_path: Path) -> None:
    (tmp_path / "fleet").mkdir()
    write_program(tmp_path / "fleet", OTHER, "rover.py")
    scheduler = load("fleet.rover")
    assert scheduler.name == "rover"
    assert list(scheduler.statistics().nodes) == ["Imported-1"]


def test_a_file_may_have_the_name_of_a_module(tmp_path: Path) -> None:
    import trio

    write_program(tmp_path, OTHER, "trio.py")
    assert list(load("trio.py").statistics().nodes) == ["Imported-1"]
    assert sys.modules["trio"] is trio


@pytest.mark.parametrize(
    ("more", "target", "code", "said"),
    [
        ("", "robto.py", 2, "robto.py: there is no such file; did you mean 'robot.py'?"),
        ("", "nowhere/robot.py", 2, "nowhere/robot.py: there is no such file"),
        ("", "robto", 2, "there is no module 'robto'; did you mean 'robot'?"),
        ("", "no.such.module", 2, "there is no module 'no.such.module'"),
        ("", "ro bot", 2, "'ro bot' is neither a file nor a module; expected FILE.py, MODULE"),
        ("", "robot.py:Camra", 2, "robot.py:Camra: robot has no attribute 'Camra'; did you mean"),
        ("", "robot.py:Data", 2, "robot.py:Data is <class 'robot.Data'>; expected a Scheduler"),
        ("", "robot.py:Base", 2, "robot.py:Base: Base has no tick; define `def tick(self)`"),
        ("x = [1]", "robot.py:x", 2, "robot.py:x holds 1; expected nodes and node classes"),
        ("x = 'Camera'", "robot.py:x", 2, "robot.py:x is 'Camera'; expected a Scheduler"),
        ("def f(): pass", "robot.py:f", 2, "robot.py:f() returned None; expected a Scheduler"),
        ("def f(a): pass", "robot.py:f", 2, "robot.py:f() needs arguments (missing a required"),
        ("async def f(): pass", "robot.py:f", 2, "robot.py:f is an async function; expected"),
        ("def f(): 1/0", "robot.py:f", 1, "robot.py:f() failed\nTraceback (most recent call last)"),
        (
            "a, b = horus.Scheduler(), horus.Scheduler()",
            "robot.py",
            2,
            "robot.py has several schedulers: a, b; name one, as in robot.py:a",
        ),
        (
            "del Camera, Control, _Private",
            "robot.py",
            2,
            "has nothing to run: expected a Scheduler, nodes, or node classes; does build() make",
        ),
        (
            "class Lidar(Node):\n    def __init__(self, port): pass\n    def tick(self): pass",
            "robot.py:Lidar",
            2,
            "Lidar() needs arguments (missing a required argument: 'port'); make the node in the",
        ),
        (
            "class Lidar(Node):\n    def __init__(self): 1/0\n    def tick(self): pass",
            "robot.py:Lidar",
            1,
            "robot.py:Lidar: Lidar() failed\nTraceback",
        ),
        ("a = Camera('x')\nb = Camera('x')", "robot.py", 2, "there is a node named 'x' already"),
        ("raise SystemExit(3)", "robot.py", 1, "robot.py ended itself while it was imported (exit"),
    ],
)
def test_what_cannot_be_run_is_said(
    tmp_path: Path, more: str, target: str, code: int, said: str
) -> None:
    write_program(tmp_path, OTHER, "other.py")
    path = write_program(tmp_path, PROGRAM)
    path.write_text(path.read_text() + more + "\n")
    with pytest.raises(CommandFailed) as failed:
        load(target)
    assert said in str(failed.value)
    assert failed.value.code == code


@pytest.mark.parametrize("target", ["robot.py", "robot"])
def test_an_error_of_the_target_is_shown_with_its_own_frames(tmp_path: Path, target: str) -> None:
    write_program(tmp_path, "def open_device():\n    raise OSError('no device')\n", "device.py")
    write_program(tmp_path, "import device\n\ndevice.open_device()\n")
    with pytest.raises(CommandFailed) as failed:
        load(target)
    lines = str(failed.value).splitlines()
    assert lines[0] == f"{target} could not be imported"
    assert [line.split(", ")[1:] for line in lines if line.startswith("  File")] == [
        ["line 3", "in <module>"],
        ["line 2", "in open_device"],
    ]
    assert lines[-1] == "OSError: no device"


@pytest.mark.parametrize(
    "running",
    [
        "horus.run(Camera())",
        "horus.Scheduler().add(Camera()).run()",
        "trio.run(horus.Scheduler().add(Camera()).run)",
        "trio.run(horus.AsyncScheduler().add(Camera()).run_async)",
        "async def main():\n    await horus.Scheduler().add(Camera()).run(5)\n\ntrio.run(main)",
    ],
)
@pytest.mark.parametrize("target", ["robot.py", "robot"])
def test_a_target_that_runs_by_itself_is_told_where_to_do_that(
    tmp_path: Path, target: str, running: str
) -> None:
    write_program(
        tmp_path,
        "import trio\n"
        "import horus_trio as horus\n\n"
        "class Camera(horus.Node):\n    def tick(self): raise RuntimeError('it ticked')\n\n"
        f"{running}\n",
    )
    with pytest.raises(CommandFailed) as failed:
        load(target)
    said = str(failed.value)
    assert said.startswith(f"{target} could not be imported\n")
    assert 'put it under `if __name__ == "__main__":`' in said
    assert re.search(r"robot\.py\", line \d+, in ", said)
    assert "it ticked" not in said
    assert horus.Scheduler().run(0).ok, "and only while it is imported"


@pytest.mark.parametrize("target", ["robot.py", "robot"])
def test_what_the_target_cannot_import_is_its_own_error(tmp_path: Path, target: str) -> None:
    write_program(tmp_path, "import no_such_driver\n")
    with pytest.raises(CommandFailed, match="ModuleNotFoundError: No module named 'no_such_dri"):
        load(target)


def test_a_syntax_error_is_shown_where_it_is(tmp_path: Path) -> None:
    write_program(tmp_path, "class Camera:\n    def tick(self) pass\n")
    with pytest.raises(CommandFailed) as failed:
        load("robot.py")
    [where] = [line for line in str(failed.value).splitlines() if "File" in line]
    assert where.endswith('robot.py", line 2')
