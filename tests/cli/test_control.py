"""Looking into a running robot: real sockets, real processes, and clients that misbehave."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from command_line import ROBOT, Screen, finished, started, wait_for_socket, write_program

import horus_trio as horus
from horus_trio.cli.control import ControlError, listening
from horus_trio.cli.control.client import Connection, choose, running
from horus_trio.cli.control.server import CLIENTS, ECHO_BUFFER


class Imu(horus.AsyncNode):
    rate = 100
    sent = 0

    async def tick_async(self) -> None:
        self.sent += 1
        self.send("imu", {"seq": self.sent})


@contextlib.contextmanager
def robot(*nodes: horus.Node, name: str = "rover") -> Iterator[tuple[horus.Scheduler, Path]]:
    """A robot that runs in the background and listens."""
    scheduler = horus.Scheduler(name=name)
    for node in nodes or (Imu("imu"),):
        scheduler.add(node)
    with horus.background(scheduler), listening(scheduler) as path:
        yield scheduler, path


def wait_until(true: Any) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def subscriptions(scheduler: horus.Scheduler) -> int:
    return len(scheduler.topic("imu").statistics().subscriptions)


# What is asked and answered


def test_counters_are_read_and_nothing_is_subscribed() -> None:
    with robot() as (scheduler, path), Connection(path) as client:
        wait_until(lambda: scheduler.topic("imu").statistics().sent > 2)
        assert client.ask("robot") == {
            "name": "rover",
            "pid": os.getpid(),
            "version": horus.__version__,
        }
        frame = client.ask("frame")
        assert (frame["name"], frame["running"]) == ("rover", True)
        assert [node["name"] for node in frame["nodes"]] == ["imu"]
        statistics = client.ask("statistics")
        assert statistics["nodes"]["imu"]["rate"] == 100
        first = client.ask("topic", topic="imu")
        wait_until(lambda: client.ask("topic", topic="imu")["sent"] > first["sent"])
        assert subscriptions(scheduler) == 0


def test_nodes_are_controlled() -> None:
    with robot() as (scheduler, path), Connection(path) as client:
        assert client.ask("pause", node="imu") is None
        assert scheduler.statistics().nodes["imu"].state is horus.NodeState.PAUSED
        client.ask("resume", node="imu")
        assert scheduler.statistics().nodes["imu"].state is not horus.NodeState.PAUSED
        client.ask("rate", node="imu", hz=50)
        assert scheduler.statistics().nodes["imu"].rate == 50


def test_an_emergency_reaches_critical_nodes_while_the_loop_is_blocked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    blocking, going_on = threading.Event(), threading.Event()

    class Motor(horus.Node):
        critical = True

        def tick(self) -> None:
            pass

        def enter_safe_state(self) -> None:
            safe.append(self.name)

    class Gripper(Motor):
        def enter_safe_state(self) -> None:
            raise OSError("jammed")

    class Blocks(horus.AsyncNode):
        async def tick_async(self) -> None:
            if not going_on.is_set():
                blocking.set()
                going_on.wait(20)  # what no node should do

    safe: list[str] = []
    with robot(Motor("motor"), Blocks("blocks")) as (scheduler, _):
        try:
            assert blocking.wait(20)
            assert main("emergency", "a test") == 0
            assert safe == ["motor"]
            assert capsys.readouterr().out == "emergency: a test\n  motor: safe\n"
            assert main("dump") == 0
            dumped = capsys.readouterr().out
            assert "going_on.wait(20)" in dumped
        finally:
            going_on.set()
        wait_until(lambda: main("reset") == 0)
        assert scheduler.emergency is not None
        assert not scheduler.emergency.active
    capsys.readouterr()
    with robot(Gripper("gripper")):
        assert main("emergency") == 1
        assert "  gripper: NOT SAFE\n" in capsys.readouterr().out
    with robot(Imu("imu")):
        assert main("emergency") == 0
        assert "there is no critical node" in capsys.readouterr().out
    with listening(horus.Scheduler()):
        assert main("emergency") == 1
        assert "not running: nobody was called" in capsys.readouterr().err


def test_a_stop_is_answered_and_its_reason_reported() -> None:
    scheduler = horus.Scheduler().add(Imu())
    answers: list[Any] = []

    def look(path: Path) -> None:
        with Connection(path) as client:
            answers.append(client.ask("stop", reason="enough\nseen"))

    with listening(scheduler) as path:
        client = threading.Timer(0.2, look, [path])
        client.start()
        report = scheduler.run(20)
    client.join()
    assert report.reason == "enough seen"
    assert answers == [None]


def test_messages_are_echoed_until_the_client_leaves() -> None:
    with robot() as (scheduler, path):
        with Connection(path) as client:
            messages = client.follow("echo", topic="imu")
            seqs = [next(messages)["data"]["seq"] for _ in range(20)]
            assert subscriptions(scheduler) == 1
        assert seqs == list(range(seqs[0], seqs[0] + 20))
        wait_until(lambda: subscriptions(scheduler) == 0)


def test_what_cannot_be_shown_in_time_is_dropped_and_counted() -> None:
    with robot() as (scheduler, path), Connection(path) as client:
        with pytest.raises(ControlError, match="no topic 'numbers'"):
            next(client.follow("echo", topic="numbers"))
        hub = scheduler.topic("numbers")
        messages = client.follow("echo", topic="numbers")
        started = threading.Thread(target=lambda: seen.append(next(messages)))
        seen: list[Any] = []
        started.start()
        wait_until(lambda: hub.statistics().subscriptions)
        for number in range(10 * ECHO_BUFFER):
            hub.send(number)
        started.join()
        while seen[-1]["data"] != 10 * ECHO_BUFFER - 1:
            seen.append(next(messages))
        assert seen[-1]["dropped"] == 10 * ECHO_BUFFER - len(seen) > 0


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"do": "fly"}, "no command 'fly'; there are 'dump', 'echo'"),
        ({"do": "paus"}, "no command 'paus'; did you mean 'pause'?"),
        ({"do": "pause"}, "pause: 'node' is missing"),
        ({"do": "pause", "node": 3}, "pause: node=3, expected a string"),
        ({"do": "pause", "node": "imo"}, "no node 'imo'; did you mean 'imu'?"),
        ({"do": "pause", "nod": "imu"}, "pause: no argument 'nod'; did you mean 'node'?"),
        ({"do": "rate", "node": "imu", "hz": "fast"}, "rate: hz='fast', expected a number"),
        ({"do": "rate", "node": "imu", "hz": True}, "rate: hz=True, expected a number"),
        ({"do": "rate", "node": "imu", "hz": 0}, "expected a finite number of Hz above 0"),
        ({"do": "rate", "node": "imu", "hz": 10**400}, "expected a finite number of Hz above 0"),
        ({"do": "topic", "topic": "imo"}, "no topic 'imo'; did you mean 'imu'?"),
        ({"do": "echo", "topic": "imo"}, "no topic 'imo'; did you mean 'imu'?"),
        ({"do": "robot", "version": 2}, "speaks version 1 of the protocol, the request 2"),
        ({"do": 3}, 'expected an object with "do": a command'),
        ([], 'expected an object with "do": a command'),
    ],
)
def test_a_wrong_request_gets_an_error_and_the_next_one_an_answer(
    request_: object, said: str
) -> None:
    with robot() as (scheduler, path), Connection(path) as client:
        wait_until(lambda: "imu" in scheduler.statistics().topics)
        client._socket.sendall(json.dumps(request_).encode() + b"\n")
        with pytest.raises(ControlError) as refused:
            client._answer()
        assert said in str(refused.value)
        assert client.ask("robot")["name"] == "rover"


# Who may look, and where


def test_the_socket_is_its_users_alone_and_goes(runtime: Path) -> None:
    seen: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for path in runtime.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    seen.append(stat.S_IMODE(path.stat().st_mode))

    watcher = threading.Thread(target=watch)
    watcher.start()
    earlier = os.umask(0)
    try:
        for _ in range(20):
            with listening(horus.Scheduler(name="a/b c")) as path:
                assert path.parent == runtime
                assert path.name == f"a_b_c-{os.getpid()}.sock"
                assert stat.S_ISSOCK(path.stat().st_mode)
            assert list(runtime.iterdir()) == []
    finally:
        os.umask(earlier)
        over.set()
        watcher.join()
    assert set(seen) <= {0o600}


def test_folders_are_made_for_the_user_alone(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HORUS_TRIO_RUNTIME_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    with listening(horus.Scheduler()) as path:
        assert path.parent == runtime / "horus-trio"
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert path in [robot.path for robot in running()]


def test_a_folder_of_others_is_not_used(runtime: Path) -> None:
    runtime.chmod(0o755)
    with pytest.raises(ControlError, match=r"is open to other users \(mode 0755\); run `chmod 700"):
        listening(horus.Scheduler()).__enter__()
    with pytest.raises(ControlError, match="open to other users"):
        running()
    runtime.chmod(0o700)


def test_a_link_to_a_folder_is_not_used(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runtime / "mine").mkdir(mode=0o700)
    (runtime / "link").symlink_to(runtime / "mine")
    monkeypatch.setenv("HORUS_TRIO_RUNTIME_DIR", str(runtime / "link"))
    with pytest.raises(ControlError, match="is not a folder of this user"):
        listening(horus.Scheduler()).__enter__()


def test_a_path_too_long_is_said(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = runtime / ("x" * 100)
    long.mkdir(mode=0o700)
    monkeypatch.setenv("HORUS_TRIO_RUNTIME_DIR", str(long))
    with pytest.raises(ControlError, match="another folder, with a shorter path"):
        listening(horus.Scheduler()).__enter__()
    assert list(long.iterdir()) == []


ANOTHER_USER = """
import os, socket, sys

os.setuid(int(sys.argv[2]))
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
try:
    s.sendall(b'{"do": "robot"}\\n')
    print(s.recv(100))
except ConnectionError:
    print("hung up")
"""


@pytest.mark.slow
def test_another_user_is_hung_up_on(runtime: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can be another user")
    with robot() as (_, path):
        for uid, answered in ((0, True), (65534, False)):
            runtime.chmod(0o711)
            path.chmod(0o666)
            command = [sys.executable, "-c", ANOTHER_USER, str(path), str(uid)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
            assert ("ok" in done.stdout) == answered
        runtime.chmod(0o700)


def test_two_robots_of_one_process_and_one_name(runtime: Path) -> None:
    with (
        robot(Imu("imu"), name="twin") as (_, first),
        robot(Imu("imu"), name="twin") as (_, second),
    ):
        assert {first.name, second.name} == {
            f"twin-{os.getpid()}.sock",
            f"twin-{os.getpid()}.2.sock",
        }
        assert len(running()) == 2
        with pytest.raises(ControlError, match="several robots are running: twin"):
            choose(None)
    assert running() == []


def test_robots_are_chosen_by_name_and_number() -> None:
    with pytest.raises(ControlError, match="no robot is running here; start one with"):
        choose(None)
    with robot(Imu("imu"), name="a b") as (_, path):
        for which in (None, "a b", str(os.getpid())):
            assert choose(which).path == path
        with pytest.raises(ControlError, match=r"no robot 'c' is running; there are a b \(\d+\)"):
            choose("c")


def test_what_dead_robots_left_is_removed_and_what_lives_is_not(runtime: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for pid in (gone.pid, os.getpid()):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(runtime / f"old-{pid}.sock"))
    assert running() == []
    # This process lives: its socket may be about to listen.
    assert [path.name for path in runtime.iterdir()] == [f"old-{os.getpid()}.sock"]


@pytest.mark.slow
def test_a_robot_that_was_killed_leaves_nothing_that_hinders(tmp_path: Path, runtime: Path) -> None:
    program = write_program(tmp_path, ROBOT)
    with started("run", program, "--quiet") as process:
        wait_for_socket(runtime)
        process.kill()
        process.wait()
    assert len(list(runtime.iterdir())) == 1
    code, _, err = finished("nodes")
    assert code == 1
    assert "no robot is running here" in err
    assert list(runtime.iterdir()) == []


# Clients and loops that hang


def test_it_answers_while_the_loop_is_blocked() -> None:
    blocking, going_on = threading.Event(), threading.Event()

    class Blocks(horus.AsyncNode):
        async def tick_async(self) -> None:
            if not going_on.is_set():
                blocking.set()
                going_on.wait(20)  # what no node should do

    with robot(Blocks("blocks"), Imu("imu")) as (scheduler, path), Connection(path) as client:
        try:
            assert blocking.wait(20)
            assert client.ask("frame")["running"] is True
            assert client.ask("statistics")["nodes"]["blocks"]["in_flight"] == 1
            with pytest.raises(ControlError, match="has not answered within 2 s: it is blocked"):
                client.ask("pause", node="imu")
            assert client.ask("robot")["name"] == "rover"
        finally:
            going_on.set()
        paused = horus.NodeState.PAUSED  # as it was told
        wait_until(lambda: scheduler.statistics().nodes["imu"].state is paused)


def ticks_in_a_second(scheduler: horus.Scheduler) -> float:
    before = scheduler.statistics()
    time.sleep(1.0)
    now = scheduler.statistics()
    ticks = now.nodes["fast"].ok - before.nodes["fast"].ok
    return ticks / (now.elapsed - before.elapsed)


@pytest.mark.alone
@pytest.mark.slow
def test_clients_that_hang_cost_the_robot_nothing() -> None:
    class Fast(horus.AsyncNode):
        rate = 1000

        async def tick_async(self) -> None:
            self.send("imu", {"text": "x" * 1000})

    with contextlib.ExitStack() as stack:
        begun = time.monotonic()
        with robot(Fast("fast")) as (scheduler, path):
            alone = ticks_in_a_second(scheduler)
            for number in range(CLIENTS):
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.connect(str(path))
                if number % 4 < 3:
                    client.sendall(b'{"do": "echo", "topic": "imu"}\n')
                elif number % 8 == 3:
                    client.sendall(b'{"do": "frame"}\n' * 1000)  # and never reads
                else:
                    client.sendall(b'{"do": "fra')
            wait_until(lambda: subscriptions(scheduler) == 12)
            # Hardly less than before: other programs may need this machine, too.
            assert ticks_in_a_second(scheduler) > 0.5 * alone
            assert scheduler.topic("imu").statistics().depth <= 12 * ECHO_BUFFER
            # One more is told so, and they are hung up on after their time.
            with socket.socket(socket.AF_UNIX) as one_more:
                one_more.connect(str(path))
                one_more.settimeout(20)
                assert b"16 clients look already" in one_more.recv(1000)
            wait_until(lambda: subscriptions(scheduler) == 0)
            begun = time.monotonic()
        assert time.monotonic() - begun < 5  # the end waits for none of them


def test_leaving_waits_for_no_client() -> None:
    with contextlib.ExitStack() as stack:
        with robot() as (scheduler, path):
            wait_until(lambda: scheduler.topic("imu").statistics().sent)
            clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3)]
            lines = (b"", b'{"do"', b'{"do": "echo", "topic": "imu"}\n')
            for client, line in zip(clients, lines, strict=True):
                client.connect(str(path))
                client.sendall(line)
            wait_until(lambda: subscriptions(scheduler) == 1)
        begun = time.monotonic()
        for client in clients:
            client.settimeout(20)
            while client.recv(65536):
                pass
        assert time.monotonic() - begun < 10
        assert subscriptions(scheduler) == 0


async def test_a_program_may_listen_inside_trio() -> None:
    scheduler = horus.Scheduler(name="rover").add(Imu())

    def look(path: Path) -> Any:
        with Connection(path) as client:
            return client.ask("frame")["name"]

    with trio.fail_after(20), listening(scheduler) as path:
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            assert await trio.to_thread.run_sync(look, path) == "rover"
            scheduler.stop()


# The commands


@pytest.fixture
def here() -> Iterator[horus.Scheduler]:
    """A robot of this process that the commands find."""
    with robot() as (scheduler, _):
        wait_until(lambda: scheduler.topic("imu").statistics().sent > 2)
        yield scheduler


def main(*words: str) -> int:
    from horus_trio.cli import main

    return main(words)


def test_nodes_and_topics_are_tables(
    here: horus.Scheduler, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("nodes") == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["node", "state", "rate", "achieved"]
    assert row.split()[:4] == ["imu", "running", "100", "Hz"]
    assert main("topics") == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["topic", "sent", "received", "dropped", "waiting", "subscriptions"]
    assert row.split()[0] == "imu"
    assert row.split()[2:] == ["0", "0", "0", "0"]


def test_each_command_speaks_json(
    here: horus.Scheduler, capsys: pytest.CaptureFixture[str]
) -> None:
    said: dict[str, Any] = {}
    for words in (
        ["nodes"],
        ["topics"],
        ["top"],
        ["hz", "imu", "--count", "1"],
        ["echo", "imu", "--count", "1"],
    ):
        assert main(*words, "--json") == 0
        said[words[0]] = json.loads(capsys.readouterr().out)
    assert said["nodes"][0]["name"] == "imu"
    assert said["topics"][0]["name"] == "imu"
    assert said["top"]["name"] == "rover"
    assert 0 < said["hz"]["rate"] < 150
    assert said["echo"]["data"]["seq"] > 0


def test_the_rate_and_the_messages_of_a_topic(
    here: horus.Scheduler, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("hz", "imu", "--count", "1") == 0
    assert capsys.readouterr().out.split()[1:3] == ["Hz", "average"]
    assert main("echo", "imu", "--count", "3") == 0
    seqs = [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()]
    assert seqs == list(range(seqs[0], seqs[0] + 3))


def test_a_robot_is_told_what_to_do(
    here: horus.Scheduler, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, said in (
        (["pause", "imu"], "imu is paused"),
        (["resume", "imu"], "imu ticks again"),
        (["rate", "imu", "50"], "imu ticks at 50 Hz"),
        (["stop", "enough", "--robot", "rover"], "rover was told to stop"),
    ):
        assert main(*words) == 0
        assert capsys.readouterr().out == f"{said}\n"
    wait_until(lambda: here.report is not None)
    assert here.report is not None
    assert here.report.reason == "enough"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pause", "imo"], "horus-trio pause: no node 'imo'; did you mean 'imu'?"),
        (["rate", "imu", "0"], "horus-trio rate: set_rate=0.0: expected a finite number of Hz"),
        (["echo", "imo"], "horus-trio echo: no topic 'imo'; did you mean 'imu'?"),
        (["nodes", "--robot", "other"], "horus-trio nodes: no robot 'other' is running"),
    ],
)
def test_what_the_robot_refuses_is_said(
    here: horus.Scheduler, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*words) == 1
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_an_echo() -> None:
    with robot() as (scheduler, _):
        wait_until(lambda: scheduler.topic("imu").statistics().sent)
        with started("echo", "imu") as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.wait(timeout=20) == 128 + signal.SIGPIPE
            assert process.stderr is not None
            assert process.stderr.read() == ""
        wait_until(lambda: subscriptions(scheduler) == 0)


@pytest.mark.slow
def test_top_on_a_terminal() -> None:
    with robot() as (scheduler, _), Screen("top", "--interval", "0.1") as screen:
        screen.read(until="imu 1")  # ten messages or more
        scheduler.pause("imu")
        shown = screen.read(until="paused")
        screen.interrupt()
        assert screen.process.wait(timeout=20) == 0
    assert re.search(r"imu +\x1b\[32mrunning", shown)
    assert re.search(r"\x1b\[\d+A", shown)


@pytest.mark.slow
def test_top_goes_on_until_one_leaves_or_the_robot_ends(tmp_path: Path, runtime: Path) -> None:
    program = write_program(tmp_path, ROBOT)
    with started("run", program, "--quiet") as process:
        wait_for_socket(runtime)
        with started("top", "--interval", "0.2") as top:
            assert top.stdout is not None
            assert "Imu-1 " in top.stdout.readline()
            assert "Imu-1 " in top.stdout.readline()
            top.send_signal(signal.SIGINT)
            _, err = top.communicate(timeout=20)
            assert (top.returncode, err) == (0, "")
        with started("top", "--interval", "0.2") as top:
            assert top.stdout is not None
            top.stdout.readline()
            process.send_signal(signal.SIGTERM)
            out, err = top.communicate(timeout=20)
            assert (top.returncode, err) == (0, "")
            assert "hung up: its run is over" in out
