"""`SerialPort`: over real ptys, some of them `socat`'s."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from drivers.peers import PtyPeer, descriptors, open_pty_peer
from drivers.steps import (
    SOON,
    closes_in_every_state,
    exchange,
    fills_up,
    gone_in_receive,
    leaks_nothing,
    raises_soon,
    through_a_node,
    until,
)

import horus_trio as horus
from horus_trio.drivers import (
    ConnectFailed,
    DeviceGone,
    DriverNode,
    DriverState,
    Lines,
    MissingExtra,
    SendInterrupted,
    SerialPort,
)
from horus_trio.drivers import serial as serial_module
from horus_trio.errors import ConfigurationError
from horus_trio.testing import cancel_everywhere, check_driver

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ptys differ elsewhere")


@pytest.fixture(autouse=True)
def _pyserial(require: Callable[[str, bool, str], None]) -> None:
    present = importlib.util.find_spec("serial") is not None
    require("pyserial", present, "pip install 'horus-trio[serial]'")


def make_port(peer: PtyPeer) -> SerialPort:
    return SerialPort(peer.path, framing=Lines())


# What every driver does


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
async def test_it_keeps_the_contract_of_drivers() -> None:
    await check_driver(make_port, open_pty_peer)


async def test_a_node_of_it_publishes_and_sends() -> None:
    async with open_pty_peer() as peer:
        await through_a_node(make_port(peer), peer)


async def test_it_waits_while_the_device_takes_nothing() -> None:
    async with open_pty_peer() as peer, make_port(peer) as port:
        await fills_up(port, peer)


async def test_it_closes_in_every_state() -> None:
    async with open_pty_peer() as peer:
        await closes_in_every_state(lambda: make_port(peer))


async def test_opened_and_closed_it_leaves_nothing() -> None:
    async with open_pty_peer() as peer:
        await leaks_nothing(lambda: make_port(peer), 200)


@contextlib.asynccontextmanager
async def new_line() -> AsyncIterator[tuple[SerialPort, PtyPeer]]:
    async with open_pty_peer() as peer:
        port = make_port(peer)
        try:
            yield port, peer
        finally:
            with trio.CancelScope(shield=True):
                await port.aclose()


async def test_open_can_be_cancelled_anywhere() -> None:
    async def use(line: tuple[SerialPort, PtyPeer]) -> None:
        await line[0].open()

    async def works(line: tuple[SerialPort, PtyPeer]) -> bool:
        await exchange(*line)
        return True

    await cancel_everywhere(new_line, use, observe=works)


async def test_aclose_can_be_cancelled_anywhere() -> None:
    @contextlib.asynccontextmanager
    async def make() -> AsyncIterator[SerialPort]:
        async with new_line() as (port, peer):
            await port.open()
            await exchange(port, peer)
            yield port

    async def use(port: SerialPort) -> None:
        await port.aclose()

    await cancel_everywhere(make, use, observe=lambda port: port.state)


# Hang-ups


async def test_the_device_is_gone_while_a_receive_waits() -> None:
    async with open_pty_peer() as peer:
        port = make_port(peer)
        await port.open()
        await exchange(port, peer)
        await gone_in_receive(port, peer)
        assert port.statistics().failures == 1
        await raises_soon(ConnectFailed, port.open)


async def test_the_device_is_gone_before_a_receive() -> None:
    async with open_pty_peer() as peer, make_port(peer) as port:
        await peer.vanish()
        await raises_soon(DeviceGone, port.receive)


async def test_the_device_is_gone_before_a_send() -> None:
    async with open_pty_peer() as peer, make_port(peer) as port:
        await peer.vanish()
        await raises_soon(DeviceGone, lambda: port.send(b"hello"))


async def test_the_device_is_gone_while_a_send_waits_for_room() -> None:
    async with open_pty_peer() as peer, make_port(peer) as port:
        peer.pause_reading()
        caught: list[BaseException] = []

        async def fill() -> None:
            while True:
                await port.send(b"x" * 1000)

        async def send() -> None:
            caught.append(await raises_soon(DeviceGone, fill))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.sleep(0.1)
            await peer.vanish()
        assert len(caught) == 1


async def test_half_a_line_is_not_given_out_when_the_device_is_gone() -> None:
    async with open_pty_peer() as peer, make_port(peer) as port:
        await peer.write(b"whole\nhal")
        assert await port.receive() == b"whole"
        await peer.vanish()
        await raises_soon(DeviceGone, port.receive)


async def test_a_send_that_is_cut_says_so() -> None:
    async with open_pty_peer() as peer, make_port(peer) as port:
        peer.pause_reading()
        with trio.move_on_after(0.2) as scope:
            await port.send(b"x" * 60_000)
        assert scope.cancelled_caught
        await raises_soon(SendInterrupted, lambda: port.send(b"hello"))


# Bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"port": 7}, "expected a path"),
        ({"port": ""}, "expected a path"),
        ({"baudrate": 0}, "expected bits a second"),
        ({"baudrate": "fast"}, "expected bits a second"),
        ({"baudrate": True}, "expected bits a second"),
        ({"bits": "9N1"}, "expected data bits"),
        ({"bits": 8}, "expected data bits"),
        ({"flow": "dsrdtr"}, "expected one of 'none', 'rtscts', 'xonxoff'"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        SerialPort(**{"port": "/dev/ttyUSB0", "framing": Lines(), **arguments})


async def refused(port: str | Path, **arguments: Any) -> str:
    """What is said of a port that cannot be opened; nothing is left of the attempt."""
    before = descriptors()
    driver = SerialPort(port, framing=Lines(), **arguments)
    error = await raises_soon(ConnectFailed, driver.open)
    assert driver.state is DriverState.CLOSED
    assert descriptors() == before
    assert driver.statistics().failures == 1
    assert str(port) in str(error)
    assert error.__cause__ is not None
    return str(error)


async def test_a_port_that_is_not_there() -> None:
    said = await refused("/dev/ttyNONE7")
    assert "there is no such port: plug the device in, or name another one" in said


async def test_what_is_no_serial_port(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, tmp_path, Path("/dev/null")):
        assert "it is not a serial port: expected a terminal device" in await refused(path)


async def test_a_baud_rate_that_is_refused() -> None:
    async with open_pty_peer() as peer:
        assert "it refuses 2147483648 baud" in await refused(peer.path, baudrate=2**31)


async def test_a_device_that_keeps_its_own_baud_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pty takes every rate, so here the kernel is made to forget it."""
    really = termios.tcgetattr

    def stubborn(port: int) -> list[Any]:
        return [*really(port)[:5], termios.B300, *really(port)[6:]]

    async with open_pty_peer() as peer:
        monkeypatch.setattr(termios, "tcgetattr", stubborn)
        said = await refused(peer.path, baudrate=57600)
    assert "it refuses 57600 baud (the device runs at another rate)" in said


async def test_a_port_that_is_in_use() -> None:
    async with open_pty_peer() as peer, make_port(peer) as port:
        said = await refused(peer.path)
        assert "it is in use" in said
        assert f"fuser -v {peer.path}" in said
        await exchange(port, peer)
        async with SerialPort(peer.path, framing=Lines(), exclusive=False):
            pass


NO_PERMISSION = """
import os, sys
import trio
from horus_trio.drivers import ConnectFailed, Lines, SerialPort

port = SerialPort(sys.argv[1], framing=Lines())
os.seteuid(65534)  # who may not be able to import anything any more
try:
    trio.run(port.open)
except ConnectFailed as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a port to nobody")
async def test_a_port_without_permission() -> None:
    async with open_pty_peer() as peer:
        os.chmod(peer.path, 0o600)  # noqa: PTH101
        finished = await trio.run_process(
            [sys.executable, "-c", NO_PERMISSION, peer.path],
            capture_stdout=True,
            env=os.environ | {"PYTHONPATH": str(Path(horus.__file__).parent.parent)},
        )
    said = finished.stdout.decode()
    assert "this user may not: join the group" in said
    assert "sudo usermod -aG" in said


@pytest.mark.parametrize("code", [errno.EIO, errno.ENXIO, errno.ENODEV])
def test_a_port_without_a_device_behind_it(code: int) -> None:
    assert "there is no device behind it" in serial_module._reason("/dev/null", code)
    assert serial_module._group_of("/dev/ttyNONE7") == "dialout"


def test_without_pyserial_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(MissingExtra, match=r"pip install 'horus-trio\[serial\]'"):
        SerialPort("/dev/ttyUSB0", framing=Lines())


def test_with_the_other_package_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", contextlib)
    with pytest.raises(MissingExtra, match="pip uninstall serial"):
        SerialPort("/dev/ttyUSB0", framing=Lines())


# How it is set up


async def test_the_port_is_set_up_as_told() -> None:
    async with open_pty_peer() as peer:
        port = SerialPort(peer.path, framing=Lines(), baudrate=57600, bits="8N2", flow="xonxoff")
        async with port:
            looking = os.open(peer.path, os.O_RDWR | os.O_NOCTTY)
            try:
                iflag, oflag, cflag, lflag, _, rate, characters = termios.tcgetattr(looking)
            finally:
                os.close(looking)
    assert rate == termios.B57600
    assert iflag & termios.IXON
    assert not oflag & termios.OPOST
    assert cflag & termios.CSTOPB
    assert not lflag & (termios.ECHO | termios.ICANON)
    assert characters[termios.VMIN] == 1  # an empty read is a hang-up then


async def test_a_rate_of_no_name_is_set() -> None:
    async with open_pty_peer() as peer:
        port = SerialPort(peer.path, framing=Lines(), baudrate=250_000)
        async with port:
            await exchange(port, peer)


# Opening and closing take their time


async def test_an_open_that_blocks_is_cancelled_and_its_port_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_pty_peer() as peer:
        port = make_port(peer)
        really, go_on, began = port._open_port, threading.Event(), threading.Event()

        def block() -> int:
            began.set()
            go_on.wait(SOON)
            return really()

        monkeypatch.setattr(port, "_open_port", block)
        before = descriptors()
        with trio.fail_after(SOON):
            with trio.move_on_after(0.05) as scope:
                await port.open()
        assert scope.cancelled_caught
        assert began.is_set()
        assert port.state is DriverState.CLOSED
        monkeypatch.undo()
        go_on.set()
        async with port:  # it waits for the one that still opens it, which has the lock
            await exchange(port, peer)
        assert descriptors() == before


async def test_a_port_with_bytes_to_send_does_not_hold_up_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_pty_peer() as peer:
        port = make_port(peer)
        await port.open()
        go_on, closed = threading.Event(), threading.Event()
        really, its_own = os.close, port._plugged()._read

        def drain(descriptor: int) -> None:
            if descriptor != its_own:
                return really(descriptor)
            go_on.wait(SOON)
            really(descriptor)
            return closed.set()

        monkeypatch.setattr(serial_module, "_unsent", lambda _: 4096)
        monkeypatch.setattr(os, "close", drain)
        with trio.move_on_after(0.05) as scope:
            await port.aclose()
        monkeypatch.undo()
        assert scope.cancelled_caught
        assert port.state is DriverState.CLOSED
        assert not closed.is_set()
        go_on.set()
        async with port:  # it waits until the port is free
            assert closed.is_set()
            await exchange(port, peer)


# Unplugged, and plugged in again


class Cable:
    """A pair of ptys that `socat` links, with names that stay the same."""

    def __init__(self, folder: Path) -> None:
        self.near, self.far = folder / "near", folder / "far"
        self.process: subprocess.Popen[bytes] | None = None

    async def plug_in(self) -> None:
        self.process = subprocess.Popen(  # noqa: ASYNC220
            [
                "socat",
                f"pty,raw,echo=0,link={self.near}",
                f"pty,raw,echo=0,link={self.far}",
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        await until(lambda: self.near.exists() and self.far.exists())

    def unplug(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
            for end in (self.near, self.far):
                end.unlink(missing_ok=True)


@pytest.fixture
def cable(tmp_path: Path, require: Callable[[str, bool, str], None]) -> Any:
    require("socat", shutil.which("socat") is not None, "apt install socat")
    cable = Cable(tmp_path)
    yield cable
    cable.unplug()


async def test_it_is_unplugged_and_opened_again(cable: Cable) -> None:
    await cable.plug_in()
    port = SerialPort(cable.near, framing=Lines())
    for _ in range(3):
        async with SerialPort(cable.far, framing=Lines()) as far:
            await port.open()
            await exchange(port, far)
            cable.unplug()
            await raises_soon(DeviceGone, port.receive)
            await port.aclose()
            assert "there is no such port" in str(await raises_soon(ConnectFailed, port.open))
        await cable.plug_in()
    assert port.statistics().connects == 3
    cable.unplug()


async def test_a_node_finds_its_device_again(cable: Cable) -> None:
    await cable.plug_in()
    scheduler = horus.Scheduler(signals=False)
    node = DriverNode("gps", SerialPort(cable.near, framing=Lines()), publish="fix")
    scheduler.add(node, failure_policy=horus.Restart(within=None, backoff=0.05, max_backoff=0.1))
    async with trio.open_nursery() as nursery:
        fixes = scheduler.topic("fix").subscribe()
        with trio.fail_after(3 * SOON):
            await nursery.start(scheduler.run)
            for turn in (b"first", b"second"):
                async with SerialPort(cable.far, framing=Lines()) as far:
                    await until(lambda: node.connected)
                    await far.send(turn)
                    assert await fixes.receive() == turn
                    cable.unplug()
                    await until(lambda: not node.connected)
                assert node.is_stale
                await cable.plug_in()
        scheduler.stop()
    assert scheduler.statistics().nodes["gps"].restarts >= 1
