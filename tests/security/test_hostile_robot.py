"""Commands that look into a robot, and meet something else that listens there."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import Screen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from security.hostile_robot import hostile_robot
from security.terminal import EVIL, HARMLESS, forged_lines, obeyed

from horus_trio.cli import main
from horus_trio.cli.control import ControlError, client
from horus_trio.cli.control.client import Connection, running

COMMANDS = (
    ["nodes"],
    ["topics"],
    ["top", "--json"],
    ["hz", "imu", "--count", "1"],
    ["echo", "imu", "--count", "1"],
    ["dump"],
    ["stop"],
    ["emergency"],
    ["reset"],
    ["pause", "imu"],
    ["resume", "imu"],
    ["rate", "imu", "5"],
)

pytestmark = pytest.mark.usefixtures("quick_seconds")


@pytest.fixture
def quick_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """`hz` need not wait."""
    monkeypatch.setattr("horus_trio.cli.hz.time", SimpleNamespace(sleep=lambda seconds: None))


def saying(text: str) -> Callable[[dict[str, Any]], Any]:
    """A robot all of whose names and texts are that one."""
    times = {"p50": 0.0, "p99": 0.0, "max": 0.0}
    node = {
        "name": text,
        "state": text,
        "rate": 1,
        "achieved_rate": 1.0,
        "lateness": times,
        **dict.fromkeys(("ok", "errors", "timed_out", "abandoned", "missed", "restarts"), 1),
    }
    topic = {"name": text, "sent": 1, "received": 1, "dropped": 0, "depth": 0, "subscriptions": []}
    frame = {
        "name": text,
        "running": True,
        "elapsed": 1.0,
        "nodes": [{"name": text, "state": text, "ok": 1}],
        "sent": {text: 1},
    }
    said: dict[str, Any] = {
        "robot": {"name": text, "pid": os.getpid()},
        "frame": frame,
        "statistics": {"nodes": {text: node}, "topics": {text: topic}},
        "topic": {"sent": 1, "time": 1.0},
        "dump": f"{text}\n{text}\n",
        "emergency": {"reason": text, "safe": [text], "pending": [text], "failed": [text]},
    }

    def answer(request: dict[str, Any]) -> Any:
        if request["do"] == "echo":
            return b"".join(
                json.dumps({"ok": one}).encode() + b"\n"
                for one in ({}, {"data": {text: text}, "dropped": 3})
            )
        return {"ok": said.get(request["do"])}

    return answer


@pytest.mark.parametrize("kind", EVIL)
def test_what_it_says_is_shown_and_not_obeyed(
    kind: str, runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hostile_robot(runtime, saying(EVIL[kind])):
        for words in COMMANDS:
            main(words)
            shown = "".join(capsys.readouterr())
            assert shown
            assert not obeyed(shown), words
            if words != ["dump"]:  # which is all its own
                assert not forged_lines(shown), words
            if words[0] in ("nodes", "topics", "echo", "dump", "emergency"):
                assert "forged" in shown, words


@pytest.mark.parametrize("kind", EVIL)
def test_so_is_what_it_refuses(
    kind: str, runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(request: dict[str, Any]) -> Any:
        robot = {"ok": {"name": "rover", "pid": 1}}
        return robot if request["do"] == "robot" else {"error": EVIL[kind]}

    with hostile_robot(runtime, answer):
        for words in COMMANDS:
            main(words)
            shown = "".join(capsys.readouterr())
            if words != ["stop"]:
                assert "forged" in shown
            assert not obeyed(shown)
            assert not forged_lines(shown)


@pytest.mark.parametrize("name", HARMLESS)
def test_names_of_all_languages_are_shown(
    name: str, runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hostile_robot(runtime, saying(name)):
        for words in (["nodes"], ["topics"], ["dump"], ["emergency"], ["echo", "x", "--count=1"]):
            main(words)
            assert name in capsys.readouterr().out


def test_messages_stay_json(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = ""
    with hostile_robot(runtime, lambda request: saying(text)(request)):
        for text in (*EVIL.values(), *HARMLESS):
            assert main(["echo", "imu", "--count", "1"]) == 0
            said = capsys.readouterr()
            assert json.loads(said.out) == {text: text}
            assert said.err == "(3 dropped)\n"
            assert main(["echo", "imu", "--count", "1", "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["data"] == {text: text}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.sampled_from(list(EVIL.values()))
    | st.just("x" * 5000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=VALUES, words=st.sampled_from(COMMANDS))
def test_whatever_it_answers_a_command_ends_with_a_sentence(
    said: Any, words: list[str], runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(request: dict[str, Any]) -> Any:
        if request["do"] == "robot" and words != ["stop"]:
            return {"ok": {"name": "rover", "pid": 1}}
        line = json.dumps({"ok": said}).encode() + b"\n"
        return line * 2 if request["do"] == "echo" else line

    capsys.readouterr()
    with hostile_robot(runtime, answer):
        code = main(words)
        shown = capsys.readouterr()
    assert code in (0, 1)
    assert not obeyed(shown.out + shown.err)
    assert "Traceback" not in shown.err


def altered(values: Any) -> list[tuple[str, Any]]:
    """A frame, with each of its values in turn of another type."""
    found: list[tuple[str, Any]] = []
    others: list[Any] = [None, [], {}, EVIL["C1"], True, 10**30, float("nan"), [3], [{"ok": "x"}]]
    for key in values:
        for wrong in others:
            if type(wrong) is not type(values[key]) or wrong == [3]:
                found.append((f"{key}={wrong!r:.20}", {**values, key: wrong}))
    return found


def test_a_frame_that_is_none_ends_the_table(
    runtime: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = saying("rover")({"do": "frame"})["ok"]

    def leave(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("horus_trio.cli.top.time", SimpleNamespace(sleep=leave))
    frames = [("a frame", good), *altered(good)]

    def answer(request: dict[str, Any]) -> Any:
        return {"ok": {"name": "rover", "pid": 1} if request["do"] == "robot" else frames[0][1]}

    codes: set[int] = set()
    with hostile_robot(runtime, answer):
        while frames:
            code = main(["top"])
            shown = capsys.readouterr()
            assert not obeyed(shown.out + shown.err), frames[0]
            if code:
                assert "which no robot of this version does" in shown.err, frames[0]
            codes.add(code)
            del frames[0]
    assert codes == {0, 1}


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 200_000 + b"\n",
        b'{"ok": ' + b"9" * 10_000 + b"}\n",
        b'"error"\n',
        b"[1]\n",
        b"\xff\x1b[2J\n",
        b'{"error": "' + b"x" * 100_000 + b'"}\n',
        b'{"ok": "half',
        b"",
    ],
    ids=["deep", "long number", "a text", "a list", "bytes", "long error", "no end", "nothing"],
)
def test_what_is_no_answer_is_said(
    line: bytes, runtime: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.3)
    monkeypatch.setattr(client, "GREETING", 0.3)

    def answer(request: dict[str, Any]) -> Any:
        return {"ok": {"name": "rover", "pid": 1}} if request["do"] == "robot" else line

    with hostile_robot(runtime, answer) as path:
        with pytest.raises(ControlError) as caught, Connection(path, 0.3) as connection:
            connection.ask("frame")
        assert len(str(caught.value)) < 2000
        assert not obeyed(str(caught.value).replace("\n", ""))
    with hostile_robot(runtime, lambda request: line):  # it does not even say its name
        (found,) = running()
        assert found.name == "rover"
    capsys.readouterr()


def test_one_that_drips_is_not_waited_for(runtime: Path) -> None:
    patience, dripped = 0.2, []
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path = runtime / "rover-1.sock"
    listener.bind(str(path))
    listener.listen()
    with listener, Connection(path, patience) as connection:
        end, _ = listener.accept()
        with end:
            # As it drips, each read succeeds: that one read takes long is not what ends it.
            real = connection._socket

            class Dripping:
                def recv(self, size: int) -> bytes:
                    dripped.append(size)
                    time.sleep(patience / 10)
                    end.sendall(b"x")
                    return real.recv(size)

                def __getattr__(self, name: str) -> Any:
                    return getattr(real, name)

            connection._socket = Dripping()  # type: ignore[assignment]
            with pytest.raises(ControlError, match=r"has not answered within 0\.2 s"):
                connection.ask("frame")
            connection._socket = real
    assert 1 < len(dripped) <= 11


def test_another_users_is_not_asked(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def peer_is(uid: int | None) -> None:
        monkeypatch.setattr(client, "peer_uid", lambda connection: uid)

    with hostile_robot(runtime, saying("rover")) as path:
        for uid in (None, 0, os.getuid()):
            peer_is(uid)
            with Connection(path) as connection:
                assert connection.ask("robot")["name"] == "rover"
        peer_is(os.getuid() + 1)
        with pytest.raises(ControlError, match="another user's who listens there"):
            Connection(path)


@pytest.mark.slow
def test_a_terminal_shows_the_live_table_of_one(runtime: Path) -> None:
    """On a real terminal, where pictures are redrawn."""
    evil = EVIL["breaks the line"][:8] + EVIL["C1"][:3] + EVIL["clears"][:7]
    with hostile_robot(runtime, saying(evil)), Screen("top", "--interval", "0.1") as screen:
        screen.read(until="messages: ")
        screen.interrupt()
        shown = screen.read()
    assert r"x\nforged\x9b2J\x1b[2J" in shown
    assert not obeyed(shown)
    assert not forged_lines(shown.replace("\x1b[K", ""))
