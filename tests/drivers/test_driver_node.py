"""`DriverNode`: topics and devices connected, for as long as the robot lives."""

from __future__ import annotations

import errno
import itertools
import logging
import math
import struct
from typing import Any

import pytest
import trio
from instrument import Instrument, after
from trio.testing import MockClock

import horus_trio as horus
from horus_trio import ConfigurationError, NodeState, Pub, Sub
from horus_trio.drivers import (
    DeviceGone,
    DriverNode,
    DriverState,
    QueryDriver,
    ReceiveFailed,
    SendFailed,
)
from horus_trio.testing import open_harness

MOST = 2.0 * 1.2
"""Seconds between two attempts at most, with the jitter."""


class Gps(DriverNode):
    """Numbers in text; ``skip`` is nothing. Keeps a diary of its silences."""

    def __init__(self, device: Instrument, **options: Any) -> None:
        options = {"publish": "fix", "listen": "command", **options}
        super().__init__("gps", device, **options)
        self.silences: list[float] = []

    def decode(self, message: bytes) -> int | None:
        return None if message == b"skip" else int(message)

    def encode(self, data: int) -> bytes | None:
        return None if data == 0 else b"%d" % (data,)

    def on_stale(self, silence: float) -> None:
        self.silences.append(silence)


# Messages


async def test_what_comes_is_published_when_it_comes() -> None:
    device = Instrument()
    async with open_harness(DriverNode("gps", device, publish="fix")) as h:
        device.say(b"one")
        await h.settle()
        assert h.sent("fix") == [b"one"]
        for seconds in (0.013, 0.25, 0.25, 1.9):
            device.say(b"more", seconds)
        await h.advance(2)
        assert [message.time for message in h.messages("fix")] == [0.0, 0.013, 0.25, 0.25, 1.9]
    assert device.state is DriverState.CLOSED
    assert device.asked == []


async def test_what_a_topic_brings_is_sent() -> None:
    device = Instrument()
    async with open_harness(DriverNode("motor", device, listen="command")) as h:
        h.publish("command", b"left")
        h.publish("command", b"right")
        await h.settle()
        assert device.requests == [(0.0, b"left"), (0.0, b"right")]
        device.say(b"nobody reads this")
        await h.advance(1)
        assert device.statistics().received == 0


async def test_a_subclass_says_what_messages_mean() -> None:
    device = Instrument()
    node = Gps(device)
    async with open_harness(node) as h:
        for message in (b"1", b"skip", b"2"):
            device.say(message)
        for data in (7, 0, 8):
            h.publish("command", data)
        await h.settle()
        assert h.sent("fix") == [1, 2]
        assert device.asked == [b"7", b"8"]
        assert (node.rejected, node.unsent) == (0, 0)


@pytest.mark.parametrize("error", [ValueError, IndexError, ZeroDivisionError, struct.error])
async def test_bad_messages_are_counted_and_told_once(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    class Picky(DriverNode):
        def decode(self, message: bytes) -> bytes:
            if message == b"bad":
                raise error("what is this?")
            return message

        def encode(self, data: bytes) -> bytes:
            return self.decode(data)

    caplog.set_level(logging.WARNING)
    device = Instrument()
    node = Picky("gps", device, publish="fix", listen="command", failure_policy=horus.Fatal())
    async with open_harness(node) as h:
        for number in range(100):
            device.say(b"bad", number / 100)
            device.say(b"good", number / 100)
        h.publish("command", b"bad")
        h.publish("command", b"good")
        await h.advance(2)
        assert h.sent("fix") == [b"good"] * 100
        assert device.asked == [b"good"]
        assert (node.rejected, node.unsent) == (100, 1)
    said = [record.getMessage() for record in caplog.records]
    assert said[:2] == [
        f"a message to be sent was not valid: {error.__name__}: what is this?",
        f"a message that came was not valid: {error.__name__}: what is this?",
    ] or said[:2] == [
        f"a message that came was not valid: {error.__name__}: what is this?",
        f"a message to be sent was not valid: {error.__name__}: what is this?",
    ]
    (rest,) = said[2:]  # when it ends
    assert rest.startswith("a message that came was not valid 99 more times in the last ")


async def test_a_mistake_in_decode_is_a_failure_of_the_node() -> None:
    class Wrong(DriverNode):
        def decode(self, message: Any) -> Any:
            return message.no_such_thing

    device = Instrument()
    async with open_harness(Wrong("gps", device, publish="fix")) as h:
        device.say(b"x")
        await h.advance(1)
        assert h.node_statistics().restarts == 1
        assert device.statistics().connects == 2
        assert "no_such_thing" in str(h.node_statistics().last_error)


async def test_a_receive_or_a_send_that_fails_is_counted_and_it_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    device = Instrument()
    node = DriverNode("radio", device, publish="in", listen="out")
    async with open_harness(node) as h:
        device.say(ReceiveFailed("no light"))
        device.say(b"light")
        device.refuses = SendFailed("no room")
        h.publish("out", b"lost")
        await h.settle()
        device.refuses = OSError(errno.ENOBUFS, "No buffer space available")
        h.publish("out", b"lost, too")
        await h.settle()
        device.refuses = None
        h.publish("out", b"sent")
        await h.settle()
        assert h.sent("in") == [b"light"]
        assert device.asked == [b"sent"]
        assert (node.rejected, node.unsent) == (1, 2)
        assert h.node_statistics().restarts == 0
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "receiving failed: ReceiveFailed: no light" in said
    assert "sending failed: SendFailed: no room" in said


async def test_a_receive_that_fails_again_and_again_holds_nobody_up() -> None:
    class Dark(Instrument):
        failures = 0
        to_fail = 0

        async def _receive(self) -> bytes:
            if self.failures < self.to_fail:
                self.failures += 1
                raise ReceiveFailed("no light")
            return await super()._receive()

    device = Dark()
    others = 0

    async def be_another() -> None:
        nonlocal others
        while device.failures < 1000:
            others += 1
            await trio.lowlevel.checkpoint()

    async with (
        open_harness(DriverNode("camera", device, publish="picture")) as h,
        trio.open_nursery() as nursery,
    ):
        device.to_fail = 1000
        device.say(b"a last picture")
        nursery.start_soon(be_another)
        nursery.start_soon(h.settle)
    assert others >= 500


# Lost and found again


async def test_it_connects_again_for_ever_at_most_so_many_seconds_later() -> None:
    device = Instrument()
    node = Gps(device)
    attempts: list[float] = []
    connect = device._connect

    async def note_and_connect() -> None:
        attempts.append(trio.current_time())
        await connect()

    device._connect = note_and_connect  # type: ignore[method-assign]
    async with open_harness(node) as h:
        device.say(b"1")
        await h.advance(5)
        device.unplug()
        await h.settle()
        assert not node.connected
        assert node.is_stale
        assert node.silences == [5.0]
        await h.advance(600)
        assert h.state() is NodeState.BACKING_OFF
        gaps = [later - earlier for earlier, later in itertools.pairwise(attempts[1:])]
        assert max(gaps) <= MOST
        assert len(attempts) > 600 / MOST
        assert "No such device" in str(h.node_statistics().last_error)
        plugged_in = h.now
        device.present = True
        await h.advance_until(lambda: node.connected, within=MOST + 0.01)
        assert h.now <= plugged_in + MOST
        device.say(b"2")
        await h.advance(0.1)
        assert h.sent("fix") == [1, 2]
        assert not node.is_stale
        assert node.silences == [5.0]  # told once
        assert h.node_statistics().restarts == len(attempts) - 1
        assert device.statistics().connects == 2


async def test_a_device_may_come_later_than_the_robot() -> None:
    device = Instrument()
    device.present = False
    node = Gps(device, stale_after=60.0)
    async with open_harness(node) as h:
        assert node.silences == [math.inf]
        assert "No such device" in str(h.node_statistics().last_error)
        await h.advance(20)
        device.present = True
        await h.advance(MOST)
        assert node.connected
        assert node.is_stale  # nothing has come yet
        assert node.silence == math.inf
        device.say(b"1")
        await h.advance(0.1)
        assert not node.is_stale
        assert node.silences == [math.inf]


async def test_a_robot_stops_while_a_device_is_away(caplog: pytest.LogCaptureFixture) -> None:
    device = Instrument()
    async with open_harness(Gps(device)) as h:
        device.unplug()
        await h.advance(30)
        before = h.now
        report = await h.stop()
        assert h.now == before
        assert report.failed == ()
    assert device.state is DriverState.CLOSED


async def test_commands_that_came_while_it_was_away_are_not_carried_out_late(
    caplog: pytest.LogCaptureFixture,
) -> None:
    device = Instrument()
    node = Gps(device)
    async with open_harness(node) as h:
        h.publish("command", 1)
        await h.advance(1)
        device.unplug()
        await h.settle()
        for data in range(2, 7):
            h.publish("command", data)
            await h.advance(2)
        device.present = True
        await h.advance_until(lambda: node.connected)
        h.publish("command", 7)
        await h.settle()
        assert device.asked == [b"1", b"7"]
        assert node.unsent == 5
    assert any("5 messages of topic 'command' came while" in r.getMessage() for r in caplog.records)


async def test_commands_that_came_before_the_first_connection_are_kept() -> None:
    class Early(horus.AsyncNode):
        order = -1

        async def init(self) -> None:
            self.send("command", 1)

        async def tick_async(self) -> None:
            await trio.lowlevel.checkpoint()

    device = Instrument()
    async with open_harness(Early("early"), Gps(device)) as h:
        await h.settle()
        assert device.asked == [b"1"]


async def test_a_device_that_is_lost_while_it_is_sent_to() -> None:
    device = Instrument()
    node = Gps(device)
    async with open_harness(node) as h:
        device.holds = trio.Event()
        h.publish("command", 1)
        await h.settle()
        device.unplug()
        device.holds.set()
        device.holds = None
        await h.advance(0.01)
        assert node.unsent == 1
        device.present = True
        await h.advance(MOST)
        h.publish("command", 2)
        await h.settle()
        assert device.asked == [b"2"]


async def test_in_an_emergency_the_safe_state_is_sent_and_no_command() -> None:
    class Arm(DriverNode):
        critical = True

        async def enter_safe_state(self) -> None:
            await self.driver.send(b"STOP")

    device = Instrument()
    node = Arm("arm", device, publish="position", listen="command")
    async with open_harness(node) as h:
        h.publish("command", b"MOVE 1")
        await h.advance(1)
        h.scheduler.emergency_stop("somebody is in the cell")
        await h.settle()
        h.publish("command", b"MOVE 2")
        device.say(b"AT 1")
        await h.advance(1)
        assert h.state() is NodeState.SAFE
        assert device.asked == [b"MOVE 1", b"STOP"]
        assert h.sent("position") == [b"AT 1"]
        h.scheduler.reset_emergency()
        await h.advance(1)
        h.publish("command", b"MOVE 3")
        await h.settle()
        assert device.asked == [b"MOVE 1", b"STOP", b"MOVE 3"]
        assert node.unsent == 1


# Stale


async def test_silence_makes_stale_and_is_told_once_each_time() -> None:
    device = Instrument()
    node = Gps(device, stale_after=1.0)
    async with open_harness(node) as h:
        assert not node.is_stale
        await h.advance(1.0)
        assert not node.is_stale
        await h.advance(0.2)
        assert node.is_stale
        assert node.silences == [math.inf]
        device.say(b"1")
        await h.advance(0.9)
        assert not node.is_stale
        await h.advance(5.1)
        assert node.is_stale
        assert node.silence == pytest.approx(6.0)
        assert len(node.silences) == 2
        assert 1.0 < node.silences[1] <= 1.1
        assert h.node_statistics().restarts == 0


async def test_garbage_is_no_news() -> None:
    device = Instrument()
    node = Gps(device, stale_after=1.0, reconnect_after=3.0)
    async with open_harness(node) as h:
        for number in range(10):
            device.say(b"skip" if number % 2 else b"\xff", number)
        await h.advance(9.5)
        assert node.is_stale
        assert node.silence == math.inf
        assert len(node.silences) == 1
        assert h.node_statistics().restarts == 0  # somebody is there
        await h.advance(4)
        assert h.node_statistics().restarts == 1


async def test_a_silent_device_is_connected_to_anew() -> None:
    device = Instrument()
    node = Gps(device, reconnect_after=2.0)
    async with open_harness(node) as h:
        device.say(b"1", 1.0)
        await h.advance(3.0)
        assert h.node_statistics().restarts == 0
        await h.advance(0.3)
        assert device.statistics().connects == 2
        assert "has been silent for 2.1 s" in str(h.node_statistics().last_error)
        assert isinstance(h.results[-1].error or DeviceGone(), DeviceGone)
        await h.advance(60)
        assert 60 / (2.1 + MOST) <= device.statistics().connects <= 60 / 2.0


async def test_data_are_stale_on_a_new_connection_until_one_has_come() -> None:
    device = Instrument()
    node = Gps(device, stale_after=10.0)
    async with open_harness(node) as h:
        device.say(b"1")
        await h.advance(1)
        device.unplug()
        device.present = True
        await h.advance(1)
        assert node.connected
        assert node.is_stale
        device.say(b"2")
        await h.settle()
        assert not node.is_stale
        assert node.silence == 0.0


async def test_on_stale_may_be_async_and_may_publish() -> None:
    class Careful(DriverNode):
        async def on_stale(self, silence: float) -> None:
            await trio.sleep(0.01)
            self.send("stop", silence)

    device = Instrument()
    async with open_harness(Careful("gps", device, publish="fix", stale_after=1.0)) as h:
        device.say(b"1")
        await h.advance(2)
        device.say(b"2")
        await h.advance(0.5)
        device.unplug()
        await h.advance(0.5)
        assert h.sent("stop") == [pytest.approx(1.1), 0.5]


# Life


async def test_it_serves_run_after_run(autojump_clock: MockClock) -> None:
    device = Instrument()
    node = Gps(device, stale_after=5.0)
    scheduler = horus.Scheduler()
    scheduler.add(node)
    for run in range(3):
        fixes = scheduler.topic("fix").subscribe()
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            assert node.connected
            assert node.silence == math.inf
            device.say(b"%d" % run)
            await trio.sleep(1)
            assert not node.is_stale
            scheduler.stop()
        assert fixes.drain() == [run]
        assert device.state is DriverState.CLOSED
    assert device.statistics().connects == 3


async def test_a_factory_makes_a_fresh_driver_for_each_restart() -> None:
    devices: list[Instrument] = []

    def make() -> DriverNode:
        devices.append(Instrument())
        return Gps(devices[-1])

    async with open_harness(make) as h:
        devices[-1].unplug()
        await h.advance(1)
        assert len(devices) >= 2
        assert devices[-1].state is DriverState.OPEN
        assert all(device.state is DriverState.CLOSED for device in devices[:-1])


async def test_a_device_that_does_not_connect_in_time() -> None:
    class Slow(Instrument):
        async def _connect(self) -> None:
            if trio.current_time() < 5:
                await trio.sleep_forever()
            await super()._connect()

    device = Slow()
    node = Gps(device, init_timeout=1.0)
    async with open_harness(node) as h:
        await h.advance(12)
        assert node.connected


async def test_topics_beside_those_of_the_driver() -> None:
    class Fused(Gps):
        subs = ("odometry",)
        pubs = "quality"

    node = Fused(Instrument(), publish=Pub("fix", type=int), listen=Sub("command", capacity=3))
    async with open_harness(node, strict=True) as h:
        h.publish("odometry", 1)
        h.publish("command", 1)
        assert h.sent("fix") == h.sent("quality") == []


# Bad arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected publish='a topic', listen='a topic', or both"),
        ({"publish": 3}, "publish=3, expected the name of a topic, or a horus_trio.Pub(…)"),
        ({"listen": ""}, "listen='', expected the name of a topic, or a horus_trio.Sub(…)"),
        ({"publish": Sub("x")}, "or a horus_trio.Pub(…)"),
        ({"publish": "x", "stale_after": 0}, "stale_after=0, expected a finite number"),
        ({"publish": "x", "stale_after": "1"}, "stale_after='1', expected a finite number"),
        ({"publish": "x", "reconnect_after": True}, "reconnect_after=True"),
        ({"publish": "x", "reconnect_after": math.nan}, "reconnect_after=nan"),
        ({"listen": "x", "stale_after": 1}, "stale_after=1 needs publish='a topic'"),
        ({"publish": "x", "rat": 3}, "no option 'rat'; did you mean 'rate'?"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        DriverNode("gps", Instrument(), **options)
    assert message in str(caught.value)


def test_it_needs_a_driver() -> None:
    with pytest.raises(ConfigurationError, match=r"expected a Driver, got 3, such as SerialPort"):
        DriverNode("gps", 3, publish="x")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="ask it in a node's tick"):
        DriverNode("gps", QueryDriver(Instrument(after(1))), publish="x")  # type: ignore[arg-type]
