"""The devices as processes: what they answer, that they are reaped, and that they tell no lies."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from horus_trio.cli.demo import world as world_module
from horus_trio.cli.demo.codec import FrameParser
from horus_trio.cli.demo.sonar import SonarServer
from horus_trio.cli.demo.weather import SEED, Answer, Fate, WeatherServer, answers
from horus_trio.cli.demo.world import World, WorldError

pytestmark = pytest.mark.slow


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        yield world


def read_frames(port: Path, number: int) -> FrameParser:
    parser = FrameParser()
    end = os.open(port, os.O_RDWR | os.O_NOCTTY)
    try:
        while parser.accepted < number:
            ready, _, _ = select.select([end], [], [], 5.0)
            assert ready, "nothing came in 5 s"
            parser.feed(os.read(end, 4096))
    finally:
        os.close(end)
    return parser


def wait_for(what: str, condition: object) -> None:
    give_up = time.monotonic() + 5.0
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < give_up, f"{what}: not in 5 s"
        time.sleep(0.01)


def test_the_devices_are_there_and_are_gone_afterwards() -> None:
    with World() as world:
        read_frames(world.imu_port, 3)
        with socket.create_connection(world.sonar_address) as sonar:
            sonar.sendall(b"?\n")
            assert float(sonar.recv(64)) > 0
        pids = [world.pid(name) for name in ("firmware", "weather", "sonar")]
        assert world.casualties() == []
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not world.imu_port.parent.exists()


def test_the_sensor_hangs_up_and_comes_back(world: World) -> None:
    read_frames(world.imu_port, 1)
    world.hang_up(after=0.0, seconds=0.3)
    wait_for("the hang-up", lambda: not world.imu_port.exists())
    wait_for("the return", world.imu_port.exists)
    read_frames(world.imu_port, 1)


def test_who_was_killed_is_named(world: World) -> None:
    os.kill(world.pid("firmware"), signal.SIGKILL)
    wait_for("the end of the firmware", world.casualties)
    assert world.casualties() == ["the firmware process was killed by SIGKILL"]
    world.hang_up(after=0.0, seconds=1.0)  # nobody hears it


def test_a_device_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world_module, "__package__", "horus_trio.no_such_package")
    with pytest.raises(WorldError, match="the firmware process ended with exit code 1"):
        World().__enter__()


def test_the_devices_end_with_the_program_that_started_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a killed program leaves its folder behind
    program = (
        "import sys, time; from horus_trio.cli.demo.world import World\n"
        "with World() as world:\n"
        "    print(*(world.pid(name) for name in ('firmware', 'weather', 'sonar')), flush=True)\n"
        "    time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 3

    def all_gone() -> bool:
        return not any(is_running(pid) for pid in pids)

    wait_for("the end of the devices", all_gone)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# The services, in this process


def test_the_weather_service_answers_refuses_and_drops() -> None:
    treat = iter(
        [
            Answer(fate=Fate.ANSWERED, delay=0.0, wind=3.5),
            Answer(fate=Fate.UNAVAILABLE, delay=0.0, wind=0.0),
            Answer(fate=Fate.DROPPED, delay=0.0, wind=0.0),
        ]
    )
    with WeatherServer(treat) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        with urllib.request.urlopen(url, timeout=5.0) as response:
            assert json.load(response) == {"wind": 3.5}
        with pytest.raises(urllib.error.HTTPError, match="503") as refused:
            urllib.request.urlopen(url, timeout=5.0)
        refused.value.close()
        with pytest.raises(http.client.RemoteDisconnected):
            urllib.request.urlopen(url, timeout=5.0)
        server.shutdown()
        serving.join()


def test_the_weather_is_slow_and_sometimes_fails_the_same_way_every_time() -> None:
    treated = list(itertools.islice(answers(SEED), 1000))
    assert treated == list(itertools.islice(answers(SEED), 1000))
    assert all(0.05 <= answer.delay <= 0.6 for answer in treated)
    fates = [answer.fate for answer in treated]
    assert 600 < fates.count(Fate.ANSWERED) < 800
    assert set(fates[:12]) == set(Fate)


def test_the_sonar_falls_silent_but_holds_the_line() -> None:
    with SonarServer(good=2) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        with socket.create_connection(("127.0.0.1", server.server_address[1])) as connection:
            for distance in (b"2.00\n", b"1.90\n"):
                connection.sendall(b"?\n")
                assert connection.recv(64) == distance
            connection.sendall(b"?\n")
            connection.settimeout(0.2)
            with pytest.raises(TimeoutError):
                connection.recv(64)
        server.shutdown()
        serving.join()
