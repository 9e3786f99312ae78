"""`Subprocess`: over real children, which end in every way there is."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from drivers.peers import ChildPeer, child_of, descriptors, open_child_peer, python_child
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

from horus_trio.drivers import ConnectFailed, DeviceGone, DriverState, Lines, Subprocess
from horus_trio.drivers import child as child_module
from horus_trio.drivers.child import Child
from horus_trio.errors import ConfigurationError
from horus_trio.testing import cancel_everywhere, check_driver
from horus_trio.testing.leftovers import child_processes


@pytest.fixture(autouse=True)
def _bash(require: Callable[[str, bool, str], None]) -> Iterator[None]:
    require("bash", shutil.which("bash") is not None, "apt install bash")
    before = child_processes()
    yield
    give_up = time.monotonic() + SOON
    while child_processes() - before:
        assert time.monotonic() < give_up, "a child is left"
        time.sleep(0.01)


def make_child(peer: ChildPeer) -> Subprocess:
    return child_of(Subprocess(peer.command, framing=Lines()), peer)


CAT = ["cat"]


# What every driver does


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
async def test_it_keeps_the_contract_of_drivers() -> None:
    await check_driver(make_child, open_child_peer)


async def test_a_node_of_it_publishes_and_sends() -> None:
    async with open_child_peer() as peer:
        await through_a_node(make_child(peer), peer)


async def test_it_waits_while_the_child_takes_nothing() -> None:
    async with open_child_peer() as peer, make_child(peer) as driver:
        await peer.connected()
        await fills_up(driver, peer, 400)


async def test_it_closes_in_every_state() -> None:
    await closes_in_every_state(lambda: Subprocess(CAT, framing=Lines()))


@pytest.mark.slow
async def test_opened_and_closed_a_thousand_times_it_leaves_nothing() -> None:
    await leaks_nothing(lambda: Subprocess(CAT, framing=Lines()), 1000)


async def test_open_and_aclose_can_be_cancelled_anywhere() -> None:
    @contextlib.asynccontextmanager
    async def new() -> AsyncIterator[Subprocess]:
        driver = Subprocess(CAT, framing=Lines())
        try:
            yield driver
        finally:
            with trio.CancelScope(shield=True):
                await driver.aclose()

    @contextlib.asynccontextmanager
    async def new_and_open() -> AsyncIterator[Subprocess]:
        async with new() as driver:
            await driver.open()
            yield driver

    async def works(driver: Subprocess) -> bytes:
        await driver.send(b"hello")
        return await driver.receive()

    await cancel_everywhere(new, lambda driver: driver.open(), observe=works)
    await cancel_everywhere(
        new_and_open, lambda driver: driver.aclose(), observe=lambda driver: driver.state
    )


# The child ends


async def test_it_tells_exit_code_and_last_words() -> None:
    program = "import sys; print('one'); print('no such lidar', file=sys.stderr); sys.exit(3)"
    async with Subprocess(python_child(program), framing=Lines()) as driver:
        assert await driver.receive() == b"one"
        error = await raises_soon(DeviceGone, driver.receive)
        assert "has ended with exit code 3; the end of its stderr:\nno such lidar" in str(error)
        assert driver.returncode == 3
        assert driver.stderr == b"no such lidar\n"
        assert driver.state is DriverState.BROKEN
        error = await raises_soon(DeviceGone, driver.receive)
        assert "exit code 3" in str(error)


async def test_it_tells_by_which_signal_it_was_killed() -> None:
    async with Subprocess(CAT, framing=Lines()) as driver:
        assert driver.pid is not None
        os.kill(driver.pid, signal.SIGSEGV)
        error = await raises_soon(DeviceGone, driver.receive)
        assert "was killed by SIGSEGV; its stderr is empty" in str(error)
        assert driver.returncode == -signal.SIGSEGV


async def test_a_send_tells_the_same() -> None:
    async with Subprocess(["sh", "-c", "echo broken >&2; exit 4"], framing=Lines()) as driver:

        async def send() -> None:
            while True:
                await driver.send(b"hello")

        error = await raises_soon(DeviceGone, send)
    assert "exit code 4; the end of its stderr:\nbroken" in str(error)


async def test_the_child_is_killed_while_a_receive_waits() -> None:
    async with open_child_peer() as peer:
        driver = make_child(peer)
        await driver.open()
        await exchange(driver, peer)
        await gone_in_receive(driver, peer)


async def test_the_child_is_killed_while_a_send_waits_for_room() -> None:
    async with Subprocess(["sleep", "1000"], framing=Lines()) as driver:
        caught: list[BaseException] = []

        async def fill() -> None:
            while True:
                await driver.send(b"x" * 50_000)

        async def send() -> None:
            caught.append(await raises_soon(DeviceGone, fill))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.sleep(0.1)
            assert driver.pid is not None
            os.kill(driver.pid, signal.SIGKILL)
        assert "was killed by SIGKILL" in str(caught[0])


async def test_one_that_closes_its_output_and_runs_on_is_gone_too() -> None:
    driver = Subprocess(["sh", "-c", "exec >&-; sleep 1000"], framing=Lines(), grace=0.1)
    async with driver:
        error = await raises_soon(DeviceGone, driver.receive)
        assert "has closed its end, and runs on" in str(error)
        assert driver.returncode is None
    assert driver.returncode == -signal.SIGTERM


async def test_it_is_started_again_after_it_ended() -> None:
    driver = Subprocess(["sh", "-c", "echo hello; read x"], framing=Lines())
    pids = set()
    for _ in range(3):
        async with driver:
            assert await driver.receive() == b"hello"
            pids.add(driver.pid)
            await driver.send(b"end")
            await raises_soon(DeviceGone, driver.receive)
    assert len(pids) == 3
    assert driver.statistics().connects == 3


async def test_it_is_reaped_though_nobody_closes_it() -> None:
    driver = Subprocess(CAT, framing=Lines())
    await driver.open()
    assert driver.pid is not None
    os.kill(driver.pid, signal.SIGKILL)
    await until(lambda: driver.returncode is not None)
    await driver.aclose()


# It is told to end


async def test_it_may_end_by_itself() -> None:
    """Its input ends, and it has time for what it has got before that."""
    program = "import sys, time; sys.stdin.readline(); time.sleep(0.2); sys.exit(7)"
    async with Subprocess(python_child(program), framing=Lines(), grace=SOON) as driver:
        await driver.send(b"STOP")
    assert driver.returncode == 7


STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready")
time.sleep(1000)
"""


async def test_it_gets_sigterm_and_then_sigkill() -> None:
    async with Subprocess(["sleep", "1000"], framing=Lines(), grace=0.1) as driver:
        pass
    assert driver.returncode == -signal.SIGTERM
    async with Subprocess(python_child(STUBBORN), framing=Lines(), grace=0.1) as driver:
        assert await driver.receive() == b"ready"
    assert driver.returncode == -signal.SIGKILL


async def test_a_cancelled_aclose_kills_it_at_once() -> None:
    driver = Subprocess(python_child(STUBBORN), framing=Lines(), grace=1000)
    await driver.open()
    assert await driver.receive() == b"ready"
    with trio.fail_after(SOON):
        with trio.move_on_after(0.05) as scope:
            await driver.aclose()
    assert scope.cancelled_caught
    assert driver.returncode == -signal.SIGKILL


async def test_what_it_has_started_ends_with_it(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    script = f"sleep 1000 & echo $! > {file}; echo started; read x"
    async with Subprocess(["sh", "-c", script], framing=Lines()) as driver:
        assert await driver.receive() == b"started"
        pid = int(file.read_text())
    await until(lambda: state_of(pid) == "Z")


def state_of(pid: int) -> str:
    """Its state; gone is as good as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


async def test_it_is_reaped_though_its_own_child_keeps_the_pipes() -> None:
    async with Subprocess(["sh", "-c", "sleep 1000 & exit 5"], framing=Lines()) as driver:
        error = await raises_soon(DeviceGone, driver.receive)
        assert "exit code 5" in str(error)


async def test_it_has_a_session_of_its_own() -> None:
    async with Subprocess(CAT, framing=Lines()) as driver:
        assert driver.pid is not None
        assert os.getsid(driver.pid) == os.getpgid(driver.pid) == driver.pid


# Its stderr


async def test_only_the_end_of_stderr_is_kept_and_never_holds_it_up() -> None:
    program = (
        "import sys\n"
        "for number in range(100_000): sys.stderr.write(f'line {number:06}\\n' * 10)\n"
        "sys.stderr.flush(); print('done'); sys.stdin.read()"
    )
    async with Subprocess(python_child(program), framing=Lines()) as driver:
        with trio.fail_after(6 * SOON):
            assert await driver.receive() == b"done"
        await until(lambda: driver.stderr.endswith(b"line 099999\n"))
        assert len(driver.stderr) == 65536


async def test_one_that_closes_its_stderr_is_served() -> None:
    async with Subprocess(["sh", "-c", "exec 2>&-; exec cat"], framing=Lines()) as driver:
        await driver.send(b"hello")
        assert await driver.receive() == b"hello"


async def test_without_a_descriptor_of_the_process_it_is_reaped_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    async with Subprocess(["sh", "-c", "echo bad >&2; exit 3"], framing=Lines()) as driver:
        error = await raises_soon(DeviceGone, driver.receive)
    assert "exit code 3; the end of its stderr:\nbad" in str(error)


# It cannot be started


async def refused(command: list[str], **arguments: Any) -> str:
    before = descriptors()
    driver = Subprocess(command, framing=Lines(), **arguments)
    error = await raises_soon(ConnectFailed, driver.open)
    assert driver.state is DriverState.CLOSED
    assert descriptors() == before
    await driver.aclose()
    return str(error)


async def test_a_command_that_is_not_there() -> None:
    said = await refused(["no-such-lidar"])
    assert "there is no command 'no-such-lidar' in PATH" in said
    assert "there is no file './no-such-lidar'" in await refused(["./no-such-lidar"])


async def test_a_file_that_may_not_be_executed(tmp_path: Path) -> None:
    file = tmp_path / "lidar"
    file.write_text("#!/bin/sh\n")
    assert "may not be executed: `chmod +x` it" in await refused([str(file)])


async def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    file = tmp_path / "lidar"
    file.write_bytes(b"\0\1\2")
    file.chmod(0o755)
    assert "is no program: put its interpreter before it" in await refused([str(file)])


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    said = await refused(CAT, cwd=tmp_path / "none")
    assert "there is no folder" in said


async def test_folder_and_variables(tmp_path: Path) -> None:
    driver = Subprocess(
        ["sh", "-c", 'pwd; echo "$LIDAR $HOME"'],
        framing=Lines(),
        cwd=tmp_path,
        env={"LIDAR": "front"},
    )
    async with driver:
        assert await driver.receive() == os.fsencode(tmp_path)
        assert await driver.receive() == b"front " + os.environb.get(b"HOME", b"")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"command": "cat -u"}, r"program and arguments one by one, such as \['cat', '-u'\]"),
        ({"command": []}, "expected program and arguments as strings"),
        ({"command": ["cat", 7]}, "expected program and arguments as strings"),
        ({"command": CAT, "grace": -1}, "expected a finite number of seconds, 0 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Subprocess(framing=Lines(), **arguments)


async def test_a_start_that_blocks_is_cancelled_and_the_child_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on = threading.Event()
    really = subprocess.Popen

    def slow(*args: Any, **arguments: Any) -> Any:
        go_on.wait(SOON)
        return really(*args, **arguments)

    monkeypatch.setattr(subprocess, "Popen", slow)
    before = descriptors()
    driver = Subprocess(["sleep", "1000"], framing=Lines())
    with trio.fail_after(SOON):
        with trio.move_on_after(0.05) as scope:
            await driver.open()
    assert scope.cancelled_caught
    assert driver.state is DriverState.CLOSED
    go_on.set()
    await until(lambda: descriptors() == before and not child_processes())


async def test_without_threads_no_child_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    token = trio.lowlevel.current_trio_token()
    before = descriptors()
    monkeypatch.setattr(child_module, "Errand", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        await trio.to_thread.run_sync(Child.start, CAT, None, None, token)
    assert descriptors() == before
    assert not child_processes()
