"""Faults in a harness: every kind, at hooks, topics and devices, by number and by chance."""

from __future__ import annotations

import dataclasses
import enum
import random
from typing import Any, NamedTuple

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import horus_trio as horus
from horus_trio.testing import FakeDevice, Faults, HarnessError, faulty, open_harness
from horus_trio.testing.damage import corrupted, cut

OK, ERROR = horus.TickStatus.OK, horus.TickStatus.ERROR


class Asynchronous(horus.AsyncNode):
    """Every hook, on the loop; keeps a diary."""

    failure_policy = horus.Ignore()

    def __init__(self, name: str = "node", **options: Any) -> None:
        super().__init__(name, **options)
        self.diary: list[str] = []

    async def init(self) -> None:
        self.diary.append("init")

    async def tick_async(self) -> int:
        self.diary.append("tick")
        self.send("out", b"12345678")
        return 7

    async def shutdown(self) -> None:
        self.diary.append("shutdown")

    async def on_error(self, error: BaseException) -> None:
        self.diary.append("on_error")

    async def enter_safe_state(self) -> None:
        self.diary.append("safe")


class Threaded(horus.Node):
    """Every hook, in a thread."""

    failure_policy = horus.Ignore()

    def __init__(self, name: str = "node", **options: Any) -> None:
        super().__init__(name, **options)
        self.diary: list[str] = []

    def init(self) -> None:
        self.diary.append("init")

    def tick(self) -> int:
        self.diary.append("tick")
        self.send("out", b"12345678")
        return 7

    def shutdown(self) -> None:
        self.diary.append("shutdown")

    def on_error(self, error: BaseException) -> None:
        self.diary.append("on_error")

    def enter_safe_state(self) -> None:
        self.diary.append("safe")


both = pytest.mark.parametrize("kind", [Asynchronous, Threaded])


# Hooks


@both
async def test_fail_at_the_nth_call(kind: type[Asynchronous]) -> None:
    async with open_harness(kind()) as h:
        fault = h.fail("tick", ValueError("x"), at=3)
        results = await h.tick(4)
        assert [r.status for r in results] == [OK, OK, ERROR, OK]
        assert repr(results[2].error) == "ValueError('x')"
        assert h.node().diary == ["init", "tick", "tick", "on_error", "tick"]  # type: ignore[attr-defined]
        assert fault.fired == 1
        assert repr(fault) == "<Fault: fail 'tick' at call 3, struck 1 time(s)>"


@both
async def test_fail_at_several_calls_counted_from_now_on(kind: type[Asynchronous]) -> None:
    async with open_harness(kind()) as h:
        await h.tick(2)
        h.fail("tick_async", OSError, at=[1, 3])
        assert [r.success for r in await h.tick(4)] == [False, True, False, True]


@both
async def test_without_a_number_every_call_is_struck_until_healed(
    kind: type[Asynchronous],
) -> None:
    async with open_harness(kind()) as h:
        fault = h.fail("tick", OSError)
        h.delay("tick", 0.5)
        assert [r.success for r in await h.tick(3)] == [False, False, False]
        h.heal(fault)
        assert [r.duration for r in await h.tick(2)] == [0.5, 0.5]
        h.heal()
        assert [r.duration for r in await h.tick(2)] == [0.0, 0.0]


@both
async def test_delay_and_time_out(kind: type[Asynchronous]) -> None:
    async with open_harness(kind(tick_timeout=1.0)) as h:
        h.delay("tick", 0.25, at=1)
        h.delay("tick", 3.0, at=2)
        first, second = await h.tick(2)
        assert (first.status, first.duration) == (OK, 0.25)
        assert not second.success
        assert second.duration == 1.0


@both
async def test_hang_until_the_time_limit(kind: type[Asynchronous]) -> None:
    async with open_harness(kind(tick_timeout=1.0)) as h:
        h.hang("tick")
        (result,) = await h.tick()
        expected = "TIMED_OUT" if kind is Asynchronous else "ABANDONED"
        assert result.status.name == expected


@both
async def test_a_hung_shutdown_ends_at_its_limit(kind: type[Asynchronous]) -> None:
    async with open_harness(kind(shutdown_timeout=2.0)) as h:
        h.hang("shutdown")
        report = await h.stop()
        assert h.now == 2.0
        assert "shutdown of node 'node' took longer than 2 s" in report.hook_errors[0]


@both
async def test_drop_skips_the_hook(kind: type[Asynchronous]) -> None:
    async with open_harness(kind()) as h:
        h.drop("tick", at=1)
        first, second = await h.tick(2)
        assert (first.value, second.value) == (None, 7)
        assert len(h.sent("out")) == 1


@both
async def test_corrupt_changes_what_a_hook_returns(kind: type[Asynchronous]) -> None:
    async with open_harness(kind()) as h:
        h.corrupt("tick", lambda value: -value, at=1)
        h.corrupt("tick", at=2)
        values = [r.value for r in await h.tick(3)]
        assert values[0] == -7
        assert values[1] != 7
        assert isinstance(values[1], int)
        assert values[2] == 7


@both
async def test_partial_does_the_work_and_fails(kind: type[Asynchronous]) -> None:
    async with open_harness(kind()) as h:
        h.partial("tick", at=1)
        h.partial("tick", TimeoutError("no answer"), at=2)
        first, second = await h.tick(2)
        assert "broke off half-way" in str(first.error)
        assert repr(second.error) == "TimeoutError('no answer')"
        assert len(h.sent("out")) == 2


@both
async def test_faults_of_init_are_given_beforehand(kind: type[Asynchronous]) -> None:
    faults = Faults()
    faults.fail("init", OSError("no device"), at=[1, 2])
    node = kind(failure_policy=horus.Restart(jitter=0, backoff=1.0), rate=10, phase=0.05)
    async with open_harness(node, faults=faults) as h:
        assert h.state() is horus.NodeState.BACKING_OFF
        await h.advance(4)
        assert h.node_statistics().restarts == 2
        assert h.results[0].started == 3.05  # after 1 s and 2 s of backoff
        assert h.faults is faults


@both
async def test_an_init_that_hangs_ends_at_its_limit(kind: type[Asynchronous]) -> None:
    faults = Faults()
    faults.hang("init", at=1)
    async with open_harness(kind(init_timeout=5.0), faults=faults) as h:
        assert h.now == 5.0
        if kind is Asynchronous:
            assert "took longer than 5 s" in str(h.node_statistics().last_error)
        else:
            assert h.state() is horus.NodeState.STUCK


@both
async def test_the_other_hooks(kind: type[Asynchronous]) -> None:
    async with open_harness(kind(rate=10, on_miss=horus.Miss.SAFE_MODE)) as h:
        h.fail("on_error", KeyError("handler"))
        h.fail("enter_safe_state", KeyError("brake"), at=1)
        h.fail("tick", ValueError, at=1)
        h.delay("tick", 0.35, at=2)
        await h.advance(1)
        statistics = h.node_statistics()
        assert statistics.observer_errors == 2
        assert statistics.errors == 1
        assert statistics.missed > 0
        assert "safe" in h.node().diary  # type: ignore[attr-defined]


async def test_a_fault_may_be_confined_to_one_node() -> None:
    async with open_harness(Asynchronous("a"), Asynchronous("b")) as h:
        h.fail("tick", OSError, node="a")
        await h.tick(2)
        assert [n.errors for n in h.statistics().nodes.values()] == [2, 0]
        h.heal()
        h.fail("tick", OSError, at=2)  # each node's second call
        await h.tick(3)
        assert [n.errors for n in h.statistics().nodes.values()] == [3, 1]


async def test_an_error_that_strikes_again_and_again_does_not_grow() -> None:
    class Picky(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} and {two}")

    for error in (OSError("again"), Picky(1, 2)):
        async with open_harness(Asynchronous()) as h:
            h.fail("tick", error)
            results = await h.tick(30)
            assert results[0].error is error
            assert {str(r.error) for r in results} == {str(error)}
            text = h.node_statistics().last_error
            assert text is not None
            assert len(text) < 2000


async def test_in_real_time_a_hung_thread_ends_with_the_harness() -> None:
    node = Threaded(tick_timeout=0.05, shutdown_timeout=0.05)
    async with open_harness(node, real_time=True) as h:
        h.hang("tick", at=1)
        (result,) = await h.tick()
        assert result.status is horus.TickStatus.ABANDONED


# Chance


@both
async def test_chance_strikes_at_the_same_calls_for_the_same_seed(
    kind: type[Asynchronous],
) -> None:
    async def struck(seed: int) -> list[int]:
        async with open_harness(kind(), seed=seed) as h:
            h.fail("tick", OSError, probability=0.3)
            return [r.seq for r in await h.tick(40) if not r.success]

    first = await struck(1)
    assert 2 <= len(first) <= 30
    assert await struck(1) == first
    assert await struck(2) != first


async def test_chance_of_none_and_all() -> None:
    async with open_harness(Asynchronous()) as h:
        never = h.fail("tick", OSError, probability=0.0)
        await h.tick(20)
        always = h.fail("tick", OSError, probability=1)
        await h.tick(20)
        assert (never.fired, always.fired) == (0, 20)


async def test_the_seed_is_named_when_a_test_fails() -> None:
    with pytest.raises(AssertionError) as caught:
        async with open_harness(Asynchronous(), seed=42):
            raise AssertionError("the test's own")
    assert caught.value.__notes__ == [
        "this robot's seed was 42: open_harness(…, seed=42) repeats it"
    ]

    with pytest.raises(AssertionError) as caught:
        async with open_harness(Asynchronous()) as h:
            raise AssertionError("the test's own")
    assert f"seed={h.seed})" in caught.value.__notes__[0]


# Topics


async def test_messages_are_dropped_changed_and_cut() -> None:
    async with open_harness(Asynchronous()) as h:
        h.drop("out", at=1)
        h.corrupt("out", at=2)
        h.partial("out", at=3)
        h.partial("out", keep=0.75, at=4)
        h.corrupt("out", bytes.upper, at=5)
        subscription = h.topic("out").subscribe()
        await h.tick(5)
        got = subscription.drain()
        assert len(got) == 4
        assert got == h.sent("out")
        assert got[0] != b"12345678"
        assert len(got[0]) == 8
        assert got[1:] == [b"1234", b"123456", b"12345678"]


async def test_a_message_that_cannot_be_sent_fails_its_sender() -> None:
    async with open_harness(Asynchronous()) as h:
        h.fail("out", OSError("bus off"), at=1)
        (result,) = await h.tick()
        assert repr(result.error) == "OSError('bus off')"


@both
async def test_a_delayed_message_comes_later_and_its_sender_goes_on(
    kind: type[Asynchronous],
) -> None:
    async with open_harness(kind()) as h:
        h.delay("out", 0.5, at=1)
        (result,) = await h.tick()
        assert (result.duration, h.sent("out")) == (0.0, [])
        await h.advance(0.4)  # and its own ticks
        h.heal()
        before = len(h.sent("out"))
        await h.advance(0.2)
        messages = h.messages("out")
        assert 0.5 in [message.time for message in messages[before:]]
        assert len(messages) == len(h.results)


async def test_faults_strike_what_the_test_publishes_too() -> None:
    class Follows(horus.AsyncNode):
        async def tick_async(self) -> None:
            for data in self.recv_all("in"):
                self.send("seen", data)

    async with open_harness(Follows(on="in")) as h:
        h.drop("in", at=2)
        assert [h.publish("in", n) for n in range(3)] == [1, 0, 1]
        await h.settle()
        assert (h.sent("in"), h.sent("seen")) == ([], [0, 2])  # no node sent those
        h.delay("in", 1.0, at=1)
        h.publish("in", 3)
        await h.advance(0.5)
        assert h.sent("seen") == [0, 2]
        await h.advance(0.5)
        assert h.sent("seen") == [0, 2, 3]


async def test_sending_asynchronously_is_struck_as_well() -> None:
    class Sends(horus.AsyncNode):
        async def tick_async(self) -> int:
            return await self.send_async("out", "abcd")

    async with open_harness(Sends()) as h:
        h.drop("out", at=1)
        h.partial("out", at=2)
        h.topic("out").subscribe()
        assert [r.value for r in await h.tick(3)] == [0, 1, 1]
        assert h.sent("out") == ["ab", "abcd"]


async def test_an_abandoned_tick_cannot_send_later_by_a_fault() -> None:
    device = FakeDevice()

    class Late(horus.Node):
        def tick(self) -> None:
            self.send("out", device.read())

    async with open_harness(Late(tick_timeout=0.1)) as h:
        h.delay("out", 1.0)
        await h.tick()
        device.feed("too late")
        await h.advance(5)
        assert h.sent("out") == []


async def test_topics_are_left_as_they_were() -> None:
    scheduler = horus.Scheduler().add(Asynchronous())
    hub = scheduler.topic("out")
    async with open_harness(scheduler) as h:
        h.drop("out")
        await h.tick()
        other = h.topic("made inside")
    for left in (hub, other):
        subscription = left.subscribe()
        assert left.send(1) == 1
        assert subscription.drain() == [1]
        assert "send" not in vars(left)


# Devices


class Stream:
    """An async device: gives what was put in."""

    def __init__(self) -> None:
        self.inbox: list[bytes] = [b"first!", b"second", b"third!"]
        self.sent: list[bytes] = []
        self.state = "new"
        self.baud = 9600

    async def open(self) -> None:
        self.state = "open"

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.inbox.pop(0)

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(data)

    async def query(self, data: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return data[::-1]

    async def aclose(self) -> None:
        self.state = "closed"

    def statistics(self) -> int:
        return len(self.sent)


async def test_the_calls_of_an_async_device_are_struck(
    autojump_clock: trio.testing.MockClock,
) -> None:
    faults, stream = Faults(seed=3), Stream()
    device = faulty(stream, faults)
    assert isinstance(device, Stream)
    async with device:  # type: ignore[attr-defined]
        assert stream.state == "open"
        faults.drop("receive", at=1)
        assert await device.receive() == b"second"
        faults.partial("receive", at=1)
        assert await device.receive() == b"thi"
        faults.partial("send", at=1)
        with pytest.raises(OSError, match="send broke off half-way"):
            await device.send(b"abcd")
        faults.drop("send", at=1)
        await device.send(b"lost")
        faults.corrupt("send", bytes.upper, at=1)
        await device.send(b"shout")
        assert stream.sent == [b"ab", b"SHOUT"]
        faults.corrupt("query", at=1)
        assert await device.query(b"abc") != b"cba"
        assert await device.query(b"abc") == b"cba"
        faults.delay("query", 2.0, at=1)
        await device.query(b"abc")
        assert trio.current_time() == 2.0
        faults.hang("receive", at=1)
        with trio.move_on_after(1) as scope:
            await device.receive()
        assert scope.cancelled_caught
        device.baud = 115200
        assert (stream.baud, device.statistics()) == (115200, 2)
    assert stream.state == "closed"
    assert "under faults" in repr(device)


async def test_the_calls_of_a_blocking_device_are_struck() -> None:
    device = FakeDevice(b"abcd", b"efgh", b"ijkl")

    class Reads(horus.Node):
        def init(self) -> None:
            self.device: FakeDevice = h_wrap(device)

        def tick(self) -> Any:
            self.device.write(b"ping")
            return self.device.read()

        def shutdown(self) -> None:
            self.device.close()

    faults = Faults()

    def h_wrap(device: FakeDevice) -> FakeDevice:
        return faulty(device, faults)

    async with open_harness(Reads(failure_policy=horus.Ignore()), faults=faults) as h:
        h.partial("read", at=1)
        h.delay("read", 0.5, at=2)
        h.drop("write", at=2)
        h.fail("write", BrokenPipeError, at=3)
        results = await h.tick(3)
        assert [r.value for r in results] == [b"ab", b"efgh", None]
        assert [r.duration for r in results] == [0.0, 0.5, 0.0]
        assert device.written == [b"ping"]
        assert h.wrap(device).closed is False
    assert device.closed


# Damage


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class Reading:
    value: float
    name: str


class Point(NamedTuple):
    x: int
    y: int


VALUES: list[Any] = [
    True,
    0,
    -3,
    2**70,
    0.0,
    1.5,
    b"a",
    bytearray(b"abc"),
    "x",
    "grüße",
    [1],
    (1, 2),
    {"a": 1},
    Reading(1.0, "n"),
    Point(1, 2),
    [[b"deep"]],
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@given(seed=st.integers(0, 2**32))
def test_a_corrupt_value_is_another_of_the_same_type(value: Any, seed: int) -> None:
    before = repr(value)
    damaged = corrupted(value, random.Random(seed))
    assert damaged != value
    assert type(damaged) is type(value)
    assert repr(value) == before  # the good one is untouched
    assert damaged == corrupted(value, random.Random(seed))


@pytest.mark.parametrize("value", [None, b"", "", [], {}, Colour.RED, int], ids=repr)
def test_what_cannot_be_corrupted_says_so(value: Any) -> None:
    with pytest.raises(horus.ConfigurationError, match=r"give corrupt\(…, change=function\)"):
        corrupted(value, random.Random(0))


@given(st.binary(max_size=50), st.floats(0, 1, exclude_max=True))
def test_what_is_cut_is_a_beginning(data: bytes, keep: float) -> None:
    part = cut(data, keep)
    assert data.startswith(part)
    assert len(part) <= len(data) * keep
    assert list(part) == cut(list(data), keep)


def test_a_dict_is_cut_by_items_and_a_number_cannot() -> None:
    assert cut({"a": 1, "b": 2}, 0.5) == {"a": 1}
    assert cut((1, 2, 3), 0.5) == (1,)
    with pytest.raises(horus.ConfigurationError, match="cannot cut 3 short"):
        cut(3, 0.5)


# Mistakes


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda h: h.fail("tick", "x"), r"fail\('tick', 'x'\): expected an exception"),
        (lambda h: h.fail("tick", OSError, at=0), r"at=0\): expected the number of a call"),
        (lambda h: h.fail("tick", OSError, at=[]), r"at=\[\]\): expected the number of a call"),
        (lambda h: h.fail("tick", OSError, at=True), "expected the number of a call"),
        (lambda h: h.fail("tick", OSError, at="3"), "expected the number of a call"),
        (lambda h: h.drop("tick", probability=1.5), "expected a number from 0 to 1"),
        (lambda h: h.drop("tick", probability="x"), "expected a number from 0 to 1"),
        (lambda h: h.drop("tick", at=1, probability=0.5), "give one"),
        (lambda h: h.delay("tick", 0), "expected a finite number of seconds above 0"),
        (lambda h: h.delay("tick", "1"), "expected a finite number of seconds above 0"),
        (lambda h: h.partial("tick", keep=1), "expected a fraction of at least 0, below 1"),
        (lambda h: h.corrupt("tick", 3), "expected a function of the good value"),
        (lambda h: h.fail("tck", OSError), r"did you mean 'tick'\?"),
        (lambda h: h.fail("recieve", OSError), r"did you mean 'receive'\?"),
        (lambda h: h.fail("", OSError), "expected the name of a hook, a device call or a topic"),
        (lambda h: h.fail(3, OSError), "expected the name of a hook, a device call or a topic"),
        (lambda h: h.hang("out"), "sending to a topic never waits; hang the node's hook"),
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused(call: Any, message: str) -> None:
    async with open_harness(Asynchronous()) as h:
        with pytest.raises(horus.ConfigurationError, match=message):
            call(h)
        assert "none" in repr(h.faults)


async def test_a_fault_of_what_is_not_there_is_refused() -> None:
    class Plain(horus.AsyncNode):
        async def tick_async(self) -> None:
            pass

    async with open_harness(Plain("plain")) as h:
        with pytest.raises(HarnessError, match="node 'plain' has no shutdown to strike"):
            h.fail("shutdown", OSError)
        with pytest.raises(horus.UnknownNode, match="no node 'plan'; did you mean 'plain'"):
            h.fail("tick", OSError, node="plan")
        assert repr(h.faults) == f"<Faults seed={h.seed}: none>"
        h.drop("tick", at=[2, 1], node="plain")
        h.drop("tick", probability=0.5)
        h.drop("x")
        assert repr(h.faults).endswith(
            "<Fault: drop 'tick' of 'plain' at call 1, 2, struck 0 time(s)>, "
            "<Fault: drop 'tick' with probability 0.5, struck 0 time(s)>, "
            "<Fault: drop 'x' at every call, struck 0 time(s)>>"
        )
