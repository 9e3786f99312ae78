"""What systemd is told: by the notifier at instants of the test, and by robots in real time."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import re
import socket
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

import pytest
import trio
from children import Child

from horus_trio import Node, Scheduler
from horus_trio.executor import open_executor
from horus_trio.scheduler.watchdog.lookout import Lookout
from horus_trio.scheduler.watchdog.notify import Notifier


class Systemd:
    """Receives notifications.

    Arguments:
        address: Where, as in ``NOTIFY_SOCKET``.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def now(self) -> list[str]:
        """What has come since it was last asked."""
        texts: list[str] = []
        self.socket.setblocking(False)
        try:
            while True:
                texts.append(self.socket.recv(4096).decode())
        except BlockingIOError:
            return texts

    def environment(self, watchdog: float | None = None) -> dict[str, str]:
        """What systemd gives to a service."""
        given = {"NOTIFY_SOCKET": self.address}
        if watchdog is not None:
            given["WATCHDOG_USEC"] = str(round(1e6 * watchdog))
        return given


class Journal:
    """Notes what comes to it, and when, while inside."""

    def __init__(self, systemd: Systemd) -> None:
        self.received: list[tuple[str, float]] = []
        self._socket = systemd.socket
        self._over = False
        self._thread = threading.Thread(target=self._read, name="journal")

    def _read(self) -> None:
        self._socket.settimeout(0.02)
        while not self._over:
            with contextlib.suppress(TimeoutError):
                text = self._socket.recv(4096).decode()
                self.received.append((text, time.monotonic()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over = True
        self._thread.join()

    def wait_for(self, pattern: str, after: float = 0.0) -> float:
        """The instant of the first notification in which a regular expression is found."""
        give_up = time.monotonic() + 20.0
        while time.monotonic() < give_up:
            for text, at in tuple(self.received):
                if at >= after and re.search(pattern, text):
                    return at
            time.sleep(0.01)
        raise AssertionError(f"{pattern!r} did not come, but {self.received}")

    def beats(self, after: float, before: float) -> list[float]:
        """When the watchdog was told that all is well."""
        return [at for text, at in self.received if text == "WATCHDOG=1" and after <= at <= before]

    @property
    def texts(self) -> list[str]:
        """All notifications."""
        return [text for text, _ in self.received]


@pytest.fixture(params=["a path", "an abstract address"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    abstract = f"@horus_trio-test-{os.getpid()}-{time.monotonic_ns()}"
    with Systemd(str(tmp_path / "notify") if request.param == "a path" else abstract) as fake:
        yield fake


class Robot:
    """What a notifier asks of a run."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.obstacle = ""
        self.asked = 0
        self.notifier = Notifier(self._progress, lambda: "2 nodes, all healthy", environment)

    def _progress(self) -> str:
        self.asked += 1
        return self.obstacle


@pytest.fixture
def make() -> Iterator[Callable[[Mapping[str, str]], Robot]]:
    made: list[Robot] = []

    def make(environment: Mapping[str, str]) -> Robot:
        made.append(Robot(environment))
        return made[-1]

    yield make
    for robot in made:
        robot.notifier.close()
        robot.notifier.close()  # idempotent


Make = Callable[[Mapping[str, str]], Robot]


def descriptors() -> set[str]:
    """Those that are open."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


# The notifier


def test_a_run_from_its_beginning_to_its_end(systemd: Systemd, make: Make) -> None:
    robot = make(systemd.environment(watchdog=4.0))
    assert robot.notifier.look(0.0) == float("inf")
    assert systemd.now() == []  # not ready yet
    robot.notifier.ready()
    assert systemd.now() == ["READY=1"]
    assert robot.notifier.look(10.0) == 12.0
    assert systemd.now() == ["WATCHDOG=1", "STATUS=2 nodes, all healthy"]
    assert robot.notifier.look(11.0) == 12.0
    assert systemd.now() == []
    assert robot.notifier.look(12.0) == 14.0
    assert systemd.now() == ["WATCHDOG=1"]
    robot.notifier.look(15.0)
    assert systemd.now() == ["WATCHDOG=1", "STATUS=2 nodes, all healthy"]
    robot.notifier.stopping("the battery\nis empty")
    assert systemd.now() == ["STOPPING=1\nSTATUS=stopping: the battery is empty"]
    robot.notifier.look(30.0)
    assert systemd.now() == ["WATCHDOG=1"]
    robot.notifier.close()
    assert robot.notifier.look(40.0) == math.inf
    assert systemd.now() == []


def test_the_status_is_told_every_five_seconds(systemd: Systemd, make: Make) -> None:
    robot = make(systemd.environment())
    robot.notifier.ready()
    for now, next_look in ((0.0, 5.0), (4.5, 5.0), (5.0, 10.0), (10.5, 15.5)):
        assert robot.notifier.look(now) == next_look
    assert systemd.now() == ["READY=1", *["STATUS=2 nodes, all healthy"] * 3]


def test_what_nobody_was_there_to_hear_is_not_told_later(tmp_path: Path, make: Make) -> None:
    robot = make({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    robot.notifier.ready()
    with Systemd(str(tmp_path / "notify")) as systemd:
        robot.notifier.look(0.0)
        assert systemd.now() == ["STATUS=2 nodes, all healthy"]


def test_an_obstacle_stops_the_beat_and_is_said_once(systemd: Systemd, make: Make) -> None:
    robot = make(systemd.environment(watchdog=2.0))
    robot.notifier.ready()
    robot.notifier.look(0.0)
    systemd.now()
    robot.obstacle = "the loop is blocked"
    for now in range(1, 9):
        robot.notifier.look(float(now))
    assert systemd.now() == ["STATUS=no progress: the loop is blocked"]
    robot.obstacle = ""
    robot.notifier.look(9.0)
    assert "WATCHDOG=1" in systemd.now()
    robot.notifier.look(15.0)
    assert "STATUS=2 nodes, all healthy" in systemd.now()
    robot.obstacle = "the loop is blocked"
    robot.notifier.look(16.0)
    assert systemd.now() == ["STATUS=no progress: the loop is blocked"]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "mine"},
    ],
)
def test_no_beat_where_systemd_does_not_watch_this_process(
    more: dict[str, str], tmp_path: Path, make: Make
) -> None:
    with Systemd(str(tmp_path / "notify")) as systemd:
        robot = make(systemd.environment() | more)
        robot.notifier.ready()
        for now in range(12):
            robot.notifier.look(float(now))
        assert systemd.now() == ["READY=1", *["STATUS=2 nodes, all healthy"] * 3]


def test_its_own_pid_is_this_process(tmp_path: Path, make: Make) -> None:
    with Systemd(str(tmp_path / "notify")) as systemd:
        robot = make(systemd.environment(watchdog=2.0) | {"WATCHDOG_PID": str(os.getpid())})
        robot.notifier.ready()
        robot.notifier.look(0.0)
        assert "WATCHDOG=1" in systemd.now()


def test_without_a_socket_nothing_is_sent_and_nothing_is_open(make: Make) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    robot = make({"WATCHDOG_USEC": "2000000"})
    robot.notifier.ready()
    assert robot.notifier.look(0.0) == math.inf
    assert robot.asked == 0
    robot.notifier.stopping("enough")
    assert set(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize("address", ["/nowhere/notify", "@nobody", "vsock:2:1234", "/" + "x" * 200])
def test_where_nobody_listens_nothing_happens(address: str, make: Make) -> None:
    robot = make({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000"})
    robot.notifier.ready()
    robot.notifier.look(0.0)
    robot.notifier.stopping("enough")
    robot.notifier.look(1.0)


def test_what_found_no_room_is_sent_later_if_systemd_acts_on_it(
    systemd: Systemd, make: Make
) -> None:
    robot = make(systemd.environment(watchdog=2.0))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"STATUS=full", systemd.socket.getsockname())
    robot.notifier.ready()
    robot.notifier.look(0.0)
    robot.notifier.look(1.0)
    assert set(systemd.now()) == {"STATUS=full"}
    robot.notifier.look(2.0)
    assert systemd.now()[:2] == ["READY=1", "WATCHDOG=1"]


async def test_the_lookout_tells_when_a_run_is_ready_and_stops(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    async with open_executor() as executor:
        before = descriptors()
        lookout = Lookout(
            executor,
            stall_after=0.5,
            stop_within=10.0,
            hear=lambda signum: None,
            last_resort=None,
        )
        lookout.ready()
        lookout.stop_begun("enough")
        assert systemd.now() == ["READY=1", "STOPPING=1\nSTATUS=stopping: enough"]
        with lookout:
            """Its end closes the socket."""
        assert descriptors() == before


# Robots


async def test_a_robot_runs_on_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")
    monkeypatch.setenv("WATCHDOG_USEC", "100000")

    async def tick(node: Node) -> None:
        await trio.lowlevel.checkpoint()

    scheduler = Scheduler(100.0).add(Node("a", tick=tick))
    report = await scheduler.run(0.3)
    assert report.statistics.nodes["a"].ok > 0


@pytest.mark.slow
def test_ready_comes_when_every_node_is_initialised_and_beats_follow(
    systemd: Systemd, tmp_path: Path
) -> None:
    program = """
        async def init(node):
            await trio.sleep(0.5)
            say("initialised")

        scheduler = Scheduler(50.0)
        scheduler.add(Node("a", tick=well, init=init))
        scheduler.add(Node("b", tick=well))
        scheduler.run(2.6)
    """
    environment = systemd.environment(watchdog=1.0)
    with Journal(systemd) as journal, Child(tmp_path, program, environment) as child:
        initialised = child.told("initialised")
        ready = journal.wait_for("READY=1")
        stopping = journal.wait_for("STOPPING=1")
        assert child.end() == 0
    assert journal.texts[0] == "READY=1"
    assert ready >= initialised
    assert "STATUS=2 nodes, all healthy" in journal.texts
    assert journal.texts[-1] == "STOPPING=1\nSTATUS=stopping: its duration of 2.6 s was over"
    instants = [ready, *journal.beats(ready, stopping), stopping]
    assert len(instants) >= 6
    gaps = [later - earlier for earlier, later in itertools.pairwise(instants)]
    assert max(gaps) < 1.0  # what systemd allows


OBSTACLES = {
    "the loop is blocked": """
        async def tick(node):
            if once(node, 40):
                say("trouble begins")
                time.sleep(2.6)
                say("trouble ends")

        scheduler.add(Node("a", tick=tick))
    """,
    "node 'arm' is stuck": """
        def tick(node):
            if once(node, 40):
                say("trouble begins")
                time.sleep(2.6)
                say("trouble ends")

        scheduler.add(Node("arm", tick=tick), critical=True, tick_timeout=0.2,
                      failure_policy=horus.Ignore())
    """,
    "node 'arm' has stalled": """
        async def tick(node):
            if once(node, 40):
                say("trouble begins")
                await trio.sleep(4)
                say("trouble ends")

        scheduler.add(Node("arm", tick=tick), critical=True)
    """,
}


@pytest.mark.slow
@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_no_beat_while_the_robot_makes_no_progress(obstacle: str, tmp_path: Path) -> None:
    body = textwrap.dedent(OBSTACLES[obstacle])
    program = f"scheduler = Scheduler(50.0)\n{body}\nscheduler.run(30)\n"
    with (
        Systemd(str(tmp_path / "notify")) as systemd,
        Journal(systemd) as journal,
        Child(tmp_path, program, systemd.environment(watchdog=0.5)) as child,
    ):
        begins = child.told("trouble begins")
        noticed = journal.wait_for(f"STATUS=no progress: {obstacle}")
        ends = child.told("trouble ends")
        again = journal.wait_for("WATCHDOG=1", after=ends)
    assert journal.beats(0.0, begins)
    assert journal.beats(noticed, ends) == []
    assert begins < noticed < ends - 0.5
    assert again >= ends


@pytest.mark.slow
def test_no_beat_when_a_critical_node_has_failed_and_the_stop_takes_its_time(
    tmp_path: Path,
) -> None:
    program = """
        async def fails(node):
            if once(node, 40):
                say("trouble begins")
                raise ValueError

        async def shutdown(node):
            await trio.sleep(2)

        scheduler = Scheduler(50.0)
        scheduler.add(Node("arm", tick=fails), critical=True, failure_policy=horus.Fatal())
        scheduler.add(Node("slow", tick=well, shutdown=shutdown))
        scheduler.run()
    """
    with (
        Systemd(str(tmp_path / "notify")) as systemd,
        Journal(systemd) as journal,
        Child(tmp_path, program, systemd.environment(watchdog=0.5)) as child,
    ):
        child.told("trouble begins")
        stopping = journal.wait_for("STOPPING=1")
        assert child.end() == 1
    assert journal.beats(0.0, stopping)
    assert journal.beats(stopping + 0.05, stopping + 10.0) == []


@pytest.mark.slow
def test_a_node_that_is_not_critical_does_not_stop_the_beat(tmp_path: Path) -> None:
    program = """
        def hangs(node):
            say("hangs")
            time.sleep(60)

        scheduler = Scheduler(50.0)
        scheduler.add(Node("extra", tick=hangs), tick_timeout=0.2, failure_policy=horus.Ignore())
        scheduler.add(Node("arm", tick=well), critical=True)
        scheduler.run(30)
    """
    with (
        Systemd(str(tmp_path / "notify")) as systemd,
        Journal(systemd) as journal,
        Child(tmp_path, program, systemd.environment(watchdog=1.0)) as child,
    ):
        hangs = child.told("hangs")
        for n in range(4):
            journal.wait_for("WATCHDOG=1", after=hangs + 0.5 * (n + 1))
    assert not [text for text in journal.texts if "no progress" in text]
