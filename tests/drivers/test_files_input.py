"""What makes no sense to `FileTail` and `DirectoryWatch`, and what they need."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from drivers.steps import raises_soon

from horus_trio.drivers import (
    DirectoryWatch,
    Driver,
    DriverNode,
    FileChange,
    FileTail,
    Lines,
    MissingExtra,
    TailPosition,
)
from horus_trio.drivers.extra import Extra
from horus_trio.errors import ConfigurationError

POSITION = TailPosition(inode=1, offset=0, check=0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"path": ""}, r"expected a path, such as '/var/log/robot.log'"),
        ({"path": 5}, r"FileTail\(5\): expected a path"),
        ({"path": b"/var/log"}, "expected a path"),
        ({"path": "a\0b"}, "expected a path"),
        ({"path": "log", "framing": Lines}, "expected a Framing, such as Lines"),
        ({"path": "log", "start": 17}, "expected a TailPosition"),
        ({"path": "log", "start": POSITION, "from_start": True}, "expected one of them"),
    ],
)
def test_what_makes_no_sense_to_a_tail(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        FileTail(**arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"path": ""}, "expected a path, such as '/srv/missions'"),
        ({"path": None}, r"DirectoryWatch\(None\): expected a path"),
        ({"path": ".", "events": []}, r"expected some of FileChange, such as"),
        ({"path": ".", "events": FileChange.WRITTEN}, "expected some of FileChange"),
        ({"path": ".", "events": ["written"]}, "expected some of FileChange"),
        ({"path": ".", "patterns": []}, r'expected shell patterns, such as "\*.json"'),
        ({"path": ".", "patterns": [""]}, "expected shell patterns"),
        ({"path": ".", "patterns": 7}, "expected shell patterns"),
        ({"path": ".", "patterns": "deep/*.json"}, "expected patterns of names, without '/'"),
    ],
)
def test_what_makes_no_sense_to_a_watch(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        DirectoryWatch(**arguments)


@pytest.mark.parametrize(
    "position",
    [
        {"inode": -1, "offset": 0, "check": 0},
        {"inode": 1, "offset": -1, "check": 0},
        {"inode": 1, "offset": 2.5, "check": 0},
        {"inode": 1, "offset": 0, "check": None},
    ],
)
def test_a_position_that_is_none(position: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="expected whole numbers, 0 or more"):
        TailPosition(**position)


def test_a_position_can_be_kept_as_json() -> None:
    text = json.dumps(dataclasses.asdict(POSITION))
    assert TailPosition(**json.loads(text)) == POSITION


@pytest.mark.parametrize("kind", [FileTail, DirectoryWatch])
def test_without_the_package_it_says_what_to_install(
    kind: type[FileTail | DirectoryWatch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        kind(tmp_path / "x")
    assert str(caught.value) == (
        f"{kind.__name__} needs inotify-simple, which is not installed: "
        "pip install 'horus-trio[files]'"
    )


@pytest.mark.parametrize("kind", [FileTail, DirectoryWatch])
async def test_a_package_that_cannot_be_imported_is_said_when_it_is_opened(
    kind: type[FileTail | DirectoryWatch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = kind(tmp_path)
    monkeypatch.setitem(sys.modules, "inotify_simple", None)
    error = await raises_soon(MissingExtra, driver.open)
    assert "pip install" in str(error)
    assert "horus-trio[files]" in str(error)


def test_the_package_is_looked_for_by_its_name() -> None:
    from horus_trio.drivers.files.inotify import INOTIFY

    assert Extra("files", "inotify-simple", "inotify_simple") == INOTIFY


@pytest.mark.parametrize("kind", [FileTail, DirectoryWatch])
async def test_they_take_no_messages(kind: type[FileTail | DirectoryWatch], tmp_path: Path) -> None:
    driver: Driver[Any] = kind(tmp_path / "x")
    with pytest.raises(ConfigurationError, match="takes no messages: leave listen out"):
        DriverNode("files", driver, publish="in", listen="out")


@pytest.mark.parametrize("kind", [FileTail, DirectoryWatch])
def test_their_repr_says_where_they_are(
    kind: type[FileTail | DirectoryWatch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repr(kind("/srv/x")) == f"<{kind.__name__} /srv/x, new>"
    monkeypatch.chdir(tmp_path)
    driver = kind("x")
    monkeypatch.chdir("/")
    assert repr(driver) == f"<{kind.__name__} {tmp_path}/x, new>"  # as it was meant


@pytest.mark.parametrize("kind", [FileTail, DirectoryWatch])
async def test_no_more_threads_is_said_and_leaves_nothing(
    kind: type[FileTail | DirectoryWatch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.lowlevel, "start_thread_soon", none)
    driver: Driver[Any] = kind(tmp_path)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        await driver.open()
    await driver.aclose()
