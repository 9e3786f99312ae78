"""`FakeDriver`: what a test does to it, and what a node sees of it, on virtual time."""

from __future__ import annotations

import errno
import math
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

import horus_trio as horus
from horus_trio.drivers import (
    ConnectFailed,
    DeviceGone,
    DriverNode,
    DriverState,
    ReceiveFailed,
    SendFailed,
)
from horus_trio.testing import FakeDriver, open_harness

EIO = OSError(errno.EIO, "cable pulled")


async def test_what_is_fed_is_received_and_what_is_sent_is_kept() -> None:
    driver = FakeDriver("a", name="gps")
    driver.feed("b", "c")
    assert (driver.pending, driver.name) == (3, "gps")
    async with driver:
        assert [await driver.receive() for _ in "abc"] == ["a", "b", "c"]
        await driver.send("d")
        driver.feed("e")
        assert repr(driver) == "<gps, open, 1 to receive, 1 written>"
        assert await driver.take() == "d"
    assert driver.written == ["d"]
    assert driver.pending == 1
    driver.hang_up()
    assert repr(driver) == "<gps, closed, hung up, 1 to receive, 1 written>"


async def test_a_send_waits_for_room() -> None:
    driver = FakeDriver[int](capacity=2)
    async with driver, trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(driver.send, number)
            await wait_all_tasks_blocked()
        assert driver.written == [0, 1]
        assert await driver.take() == 0
        await wait_all_tasks_blocked()
        assert driver.written == [0, 1, 2]


async def test_taking_waits_for_a_message() -> None:
    async with FakeDriver[int]() as driver, trio.open_nursery() as nursery:
        nursery.start_soon(driver.send, 1)
        assert await driver.take() == 1
        with trio.move_on_after(0):
            await driver.take()
        await driver.send(2)
        assert await driver.take() == 2


async def test_calls_that_fail(autojump_clock: trio.testing.MockClock) -> None:
    driver = FakeDriver("a", "b", "c")
    driver.fail("open", OSError(errno.EBUSY, "in use"), after=1)
    driver.fail("receive", OSError(errno.EINVAL, "parity"), after=1)
    driver.fail("send", TimeoutError, after=2)
    await driver.open()
    await driver.aclose()
    with pytest.raises(ConnectFailed, match="in use"):
        await driver.open()
    async with driver:
        assert await driver.receive() == "a"
        with pytest.raises(ReceiveFailed, match="parity"):
            await driver.receive()
        assert await driver.receive() == "b"
        await driver.send("x")
        await driver.send("y")
        with pytest.raises(SendFailed):
            await driver.send("z")
        await driver.send("z")
        driver.fail("send", EIO)
        with pytest.raises(DeviceGone, match="cable pulled"):
            await driver.send("!")
        assert driver.state is DriverState.BROKEN
    assert driver.written == ["x", "y", "z"]


@pytest.mark.parametrize("verb", ["receive", "send"])
async def test_a_call_that_waits_fails_at_once(verb: Any) -> None:
    driver = FakeDriver[int](capacity=1)

    async def wait() -> None:
        with pytest.raises(DeviceGone, match="cable pulled"):
            await (driver.receive() if verb == "receive" else driver.send(2))

    async with driver, trio.open_nursery() as nursery:
        await driver.send(1)
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        driver.fail(verb, EIO)


@pytest.mark.parametrize("verb", ["receive", "send"])
async def test_a_call_that_waits_is_hung_up_on(verb: str) -> None:
    driver = FakeDriver[int](capacity=1)

    async def wait() -> None:
        with pytest.raises(DeviceGone, match="FakeDriver has hung up"):
            await (driver.receive() if verb == "receive" else driver.send(2))

    async with driver, trio.open_nursery() as nursery:
        await driver.send(1)
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        driver.hang_up()
    with pytest.raises(ConnectFailed, match="not there"):
        await driver.open()
    driver.come_back()
    await driver.open()
    await driver.aclose()


async def test_what_was_on_its_way_arrives_before_the_end() -> None:
    async with FakeDriver(1, 2) as driver:
        driver.hang_up()
        assert [await driver.receive(), await driver.receive()] == [1, 2]
        with pytest.raises(DeviceGone):
            await driver.receive()


async def test_latency(autojump_clock: trio.testing.MockClock) -> None:
    driver = FakeDriver("early", latency=0.5)
    await driver.open()
    assert trio.current_time() == 0.5
    await driver.send("x")
    assert trio.current_time() == 1.0
    driver.feed("a", "b")
    with trio.move_on_after(0.2):
        assert await driver.receive() == "early"
        await driver.receive()
    assert trio.current_time() == 1.2
    assert [await driver.receive(), await driver.receive()] == ["a", "b"]
    assert trio.current_time() == 1.5
    with trio.move_on_after(0.1):
        await driver.send("y")
    assert driver.written == ["x"]
    await driver.aclose()


async def test_in_a_node() -> None:
    driver = FakeDriver[Any](1)
    node = DriverNode(
        "device",
        driver,
        publish="data",
        listen="commands",
        failure_policy=horus.Restart(within=None, backoff=0.5, jitter=0),
    )
    async with open_harness(node) as h:
        h.publish("commands", "go")
        await h.settle()
        assert (h.sent("data"), driver.written) == ([1], ["go"])
        driver.hang_up()
        await h.advance(0.1)
        assert h.state() is horus.NodeState.BACKING_OFF
        driver.come_back()
        driver.feed(2)
        await h.advance(1)
        assert h.state() is not horus.NodeState.BACKING_OFF
        assert h.sent("data") == [1, 2]
        assert driver.statistics().connects == 2
    assert driver.state is DriverState.CLOSED


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"capacity": 0}, "capacity=0"),
        ({"capacity": math.nan}, "capacity=nan"),
        ({"latency": -1}, "latency=-1"),
        ({"latency": math.inf}, "latency=inf"),
    ],
)
def test_options(options: Any, text: str) -> None:
    with pytest.raises(horus.ConfigurationError) as caught:
        FakeDriver(**options)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("args", "options", "text"),
    [
        (("close", EIO), {}, "expected 'open', 'receive' or 'send'"),
        (("send", "no"), {}, "expected an exception"),
        (("send", KeyboardInterrupt), {}, "expected an exception"),
        (("send", EIO), {"after": -1}, "after=-1"),
    ],
)
def test_failures_that_make_no_sense(args: Any, options: Any, text: str) -> None:
    with pytest.raises(horus.ConfigurationError) as caught:
        FakeDriver[int]().fail(*args, **options)
    assert text in str(caught.value)
