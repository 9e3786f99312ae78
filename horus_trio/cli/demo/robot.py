"""The robot of `horus-trio demo`: five nodes among devices that are slow, fail, hang and hang up.

All ticks are plain functions that block as such code does, so that the demo can also call the same
objects one after the other: `for node in nodes: node.tick()`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import termios
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import horus_trio as horus

from .codec import FrameParser
from .world import World

__all__ = [
    "BlackBox",
    "Command",
    "Control",
    "Distance",
    "Imu",
    "Robot",
    "Sonar",
    "Weather",
    "WeatherStation",
]


class Distance(NamedTuple):
    metres: float


class Weather(NamedTuple):
    wind: float  # m/s


class Command(NamedTuple):
    speed: float  # m/s
    turn: float  # rad/s


class Imu(horus.Node):
    """Reads the inertial sensor's serial line.

    A hang-up is an error, and the engine's answer to an error is a restart: `shutdown` closes the
    line, `init` opens it anew, as often as it takes.
    """

    rate = 100
    thread = "own"  # its reads would keep a thread of the pool busy all the time
    tick_timeout: float = 1.0
    failure_policy: horus.FailurePolicy = horus.Restart(within=None, backoff=0.1, max_backoff=0.2)

    def __init__(self, port: Path) -> None:
        super().__init__("imu")
        self.port = port
        self.parser: FrameParser = FrameParser()
        self.connections: int = 0
        self.hang_ups: int = 0

    def init(self) -> None:
        self.line: int = os.open(self.port, os.O_RDWR | os.O_NOCTTY)
        termios.tcflush(self.line, termios.TCIFLUSH)  # what piled up meanwhile is history
        self.parser.reset()
        self.connections += 1
        self.log.info("connected to the serial line")

    def tick(self) -> None:
        try:
            data = os.read(self.line, 4096)
        except OSError:
            data = b""
        if not data:
            self.hang_ups += 1
            raise ConnectionError("the serial line hung up")
        for sample in self.parser.feed(data):
            self.send("imu", sample)

    def shutdown(self) -> None:
        os.close(self.line)


class WeatherStation(horus.Node):
    """Asks a web service that is slow and sometimes fails: then it is simply asked again."""

    rate = 2
    failure_policy: horus.FailurePolicy = horus.Ignore()

    def __init__(self, url: str) -> None:
        super().__init__("weather")
        self.url = url

    def tick(self) -> None:
        try:
            with urllib.request.urlopen(self.url, timeout=1.0) as response:
                self.send("weather", Weather(json.load(response)["wind"]))
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            raise


class Sonar(horus.Node):
    """Asks a sonar that will stop answering, and waits for it without a time limit of its own.

    The engine has one: it leaves the thread behind, and the siblings never notice.
    """

    rate = 5
    tick_timeout: float = 0.5
    shutdown_timeout: float = 0.2

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__("sonar")
        self.address = address

    def init(self) -> None:
        self.socket: socket.socket = socket.create_connection(self.address)

    def tick(self) -> None:
        self.socket.sendall(b"?\n")
        answer = self.socket.recv(64)
        if not answer:
            raise ConnectionError("the sonar closed the connection")
        self.send("sonar", Distance(float(answer)))

    def shutdown(self) -> None:
        with contextlib.suppress(OSError):  # it may be closed already
            self.socket.shutdown(socket.SHUT_RDWR)  # frees the thread that still waits
        self.socket.close()


class Control(horus.Node):
    """The loop all this is for: a hundred times a second, with whatever is known by then."""

    rate = 100
    thread = "own"
    critical = True

    def __init__(self) -> None:
        super().__init__("control")
        self.heading: float = 0.0

    def tick(self) -> None:
        for sample in self.recv_all("imu"):
            self.heading += sample.gyro[2] / 100
        distance = self.latest("sonar", max_age=1.0)
        weather = self.latest("weather", default=Weather(wind=12.0), max_age=5.0)
        speed = 0.1 if distance is None else min(1.0, distance.metres / 2)
        self.send("command", Command(speed / (1 + weather.wind / 10), -0.5 * self.heading))


class BlackBox(horus.Node):
    """Writes every message into SQLite, all that came since its last tick in one transaction.

    It starts first and ends last, so it misses nothing; what it has not written it writes at the
    end. An SQLite connection belongs to one thread, and so does this node.
    """

    rate = 4
    order = -1
    thread = "own"
    subs: tuple[horus.Sub, ...] = tuple(
        horus.Sub(topic, capacity=10_000) for topic in ("imu", "weather", "sonar", "command")
    )

    def __init__(self, path: Path) -> None:
        super().__init__("black box")
        self.path = path
        self.rows: list[tuple[float, str, str]] = []
        self.acknowledged: int = 0

    def init(self) -> None:
        self.database: sqlite3.Connection = sqlite3.connect(self.path)
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS messages (time REAL, topic TEXT, data TEXT)"
        )

    def tick(self) -> None:
        for sub in self.subs:
            for message in self.recv_all(sub.topic):
                self.rows.append((self.now, sub.topic, json.dumps(message._asdict())))
        with self.database:
            self.database.executemany("INSERT INTO messages VALUES (?, ?, ?)", self.rows)
        self.acknowledged += len(self.rows)
        self.rows.clear()

    def shutdown(self) -> None:
        self.tick()
        self.database.close()


class Robot:
    """The five nodes, in the order a naive program would call them."""

    def __init__(self, world: World, database: Path) -> None:
        self.black_box: BlackBox = BlackBox(database)
        self.imu: Imu = Imu(world.imu_port)
        self.weather: WeatherStation = WeatherStation(world.weather_url)
        self.sonar: Sonar = Sonar(world.sonar_address)
        self.control: Control = Control()
        self.nodes: tuple[horus.Node, ...] = (
            self.black_box,
            self.imu,
            self.weather,
            self.sonar,
            self.control,
        )

    def scheduler(self) -> horus.Scheduler:
        """A scheduler that runs them."""
        scheduler = horus.Scheduler(name="demo")
        for node in self.nodes:
            scheduler.add(node)
        return scheduler
