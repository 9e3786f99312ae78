"""The socket and its folder, as another user of the machine would attack them."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from security.hostile_robot import hostile_robot

from horus_trio.cli.control import ControlError
from horus_trio.cli.control.address import bound_socket, sockets
from horus_trio.cli.control.client import running


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def any_umask() -> Iterator[None]:
    """The test may change it."""
    earlier = os.umask(0o022)
    yield
    os.umask(earlier)


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o177])
def test_the_modes_do_not_depend_on_the_umask(
    umask: int, runtime: Path, monkeypatch: pytest.MonkeyPatch, any_umask: None
) -> None:
    folder = runtime / "new"
    monkeypatch.setenv("HORUS_TRIO_RUNTIME_DIR", str(folder))
    if umask & 0o100:
        folder.mkdir(0o700)  # a folder that its owner cannot enter is of no use to anybody
    os.umask(umask)
    with bound_socket("rover") as (_, path):
        assert mode_of(folder) == 0o700
        assert mode_of(path) == 0o600
        assert stat.S_ISSOCK(path.lstat().st_mode)


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="elsewhere the folder guards it")
def test_there_is_no_moment_at_which_it_is_open(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, any_umask: None
) -> None:
    modes: list[int] = []
    os.umask(0)
    monkeypatch.setattr(Path, "chmod", lambda path, mode: modes.append(mode_of(path)))
    with bound_socket("rover") as (_, path):
        assert modes == [0o600]  # as `bind` has made it, before it is changed
        assert mode_of(path) == 0o600


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o720, 0o750, 0o755, 0o777, 0o1777])
def test_a_folder_that_is_open_to_others_is_refused_and_left_alone(
    mode: int, runtime: Path
) -> None:
    runtime.chmod(mode)
    try:
        with pytest.raises(ControlError, match="open to other users"), bound_socket("rover"):
            pass
        with pytest.raises(ControlError, match="open to other users"):
            sockets()
        with pytest.raises(ControlError, match="open to other users"):
            running()
        assert mode_of(runtime) == mode
        assert list(runtime.iterdir()) == []
    finally:
        runtime.chmod(0o700)


@pytest.mark.parametrize("kind", ["a link", "a dangling link", "a file", "another user's"])
def test_what_is_no_folder_of_the_user_is_refused(
    kind: str, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, target = runtime / "robots", runtime / "target"
    monkeypatch.setenv("HORUS_TRIO_RUNTIME_DIR", str(folder))
    if kind == "a link":
        target.mkdir(0o700)
        folder.symlink_to(target)
    elif kind == "a dangling link":
        folder.symlink_to(target)
    elif kind == "a file":
        folder.touch(0o600)
    else:
        folder.mkdir(0o700)
        other = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: other)
    refused = pytest.raises(ControlError, match="no folder for the robot's socket")
    with refused, bound_socket("rover"):
        pass
    assert not target.exists() or list(target.iterdir()) == []


def test_a_link_in_the_place_of_the_socket_is_not_followed(runtime: Path) -> None:
    precious = runtime / "precious"
    precious.write_text("untouched")
    (runtime / f"rover-{os.getpid()}.sock").symlink_to(precious)
    with bound_socket("rover") as (_, path):
        assert not path.is_symlink()
    assert precious.read_text() == "untouched"


@pytest.mark.parametrize("name", ["../../escaped", "/etc/passwd", "..", ".hidden", "a/b", "a\\b"])
def test_a_robots_name_leads_nowhere_else(name: str, runtime: Path) -> None:
    with bound_socket(name) as (_, path):
        assert path.parent == runtime
        assert path.resolve() == path
        assert [p for p in runtime.iterdir() if p != path] == []


def test_what_another_robot_of_ones_own_says_of_itself_is_not_believed(runtime: Path) -> None:
    """It may call itself as it likes: it is found by its socket, and it removes none."""
    sayings: list[Any] = [{"name": "x", "pid": "1; rm"}, {"name": 3, "pid": 1}, [], None, "x", {}]
    with hostile_robot(runtime, lambda request: {"ok": sayings[0]}) as path:
        while sayings:
            (found,) = running()
            assert (found.name, found.pid, found.path) == ("rover", os.getpid(), path)
            assert path.exists()
            del sayings[0]
