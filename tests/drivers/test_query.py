"""`QueryDriver`: turns, turn-around times, retries; and late replies, which answer nobody."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from instrument import Answers, Instrument, after, silent
from trio.testing import MockClock

from horus_trio import ConfigurationError
from horus_trio.drivers import (
    DeviceGone,
    DriverState,
    Lines,
    QueryDriver,
    QueryTimeout,
    ReceiveFailed,
    SendFailed,
    SendInterrupted,
    StreamDriver,
    Wire,
)
from horus_trio.testing import cancel_everywhere


def told(*behaviours: Callable[[bytes], Answers]) -> Callable[[bytes], Answers]:
    """Behave as each of these once, and as the last from then on."""
    left = list(behaviours)
    return lambda request: (left.pop(0) if len(left) > 1 else left[0])(request)


async def give_up(query: QueryDriver[bytes], request: bytes, seconds: float) -> None:
    """Ask, and wait no longer than so many seconds, in which nothing comes."""
    with trio.move_on_after(seconds) as scope:
        await query.query(request)
    assert scope.cancelled_caught


# Asking


async def test_a_query_gets_the_reply_to_its_request(autojump_clock: MockClock) -> None:
    async with QueryDriver(Instrument(after(0.25))) as query:
        assert await query.query(b"volts?") == b"re volts?"
        assert trio.current_time() == 0.25
        assert query.statistics().sent == query.statistics().received == 1
        assert query.late_replies == 0


async def test_askers_take_turns_first_come_first_served(autojump_clock: MockClock) -> None:
    device = Instrument(after(0.5))
    replies: dict[bytes, bytes] = {}

    async def ask(query: QueryDriver[bytes], request: bytes) -> None:
        await trio.sleep(int(request) / 1000)
        replies[request] = await query.query(request)

    async with QueryDriver(device) as query, trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(ask, query, b"%d" % number)
    assert replies == {b"%d" % n: b"re %d" % n for n in range(4)}
    assert device.requests == [(0.5 * number, b"%d" % number) for number in range(4)]


async def test_a_device_has_its_time_after_each_message_to_listen_again(
    autojump_clock: MockClock,
) -> None:
    device = Instrument(told(after(0.125), silent, after(0.125)))
    async with QueryDriver(device, turnaround=0.25, matches=is_reply, retries=1) as query:
        await query.query(b"1")  # answered at 0.125
        device.say(b"noise", 1.125)  # right before it is asked again
        await query.query(b"2")
        await query.tell(b"3")  # no reply is to be waited for
        await query.query(b"4")
    at = [instant for instant, _ in device.requests]
    assert at[:2] == [0.0, 0.375]
    assert at[2] == 1.5  # 0.125 + 1.125 + 0.25, and not 1.375
    assert device.asked == [b"1", b"2", b"2", b"3", b"4"]


async def test_what_is_told_waits_for_its_turn_and_the_next_for_it(
    autojump_clock: MockClock,
) -> None:
    device = Instrument(after(0.25))
    async with QueryDriver(device, turnaround=0.5) as query, trio.open_nursery() as nursery:
        nursery.start_soon(query.query, b"volts?")
        await trio.testing.wait_all_tasks_blocked()
        device.behaviour = silent
        await query.tell(b"on")
        device.behaviour = after(0.25)
        assert await query.query(b"amps?") == b"re amps?"
    assert device.requests == [(0.0, b"volts?"), (0.75, b"on"), (1.25, b"amps?")]


def is_reply(request: bytes, reply: bytes) -> bool:
    return reply == b"re " + request


async def test_what_matches_no_request_is_thrown_away(autojump_clock: MockClock) -> None:
    def noisy(request: bytes) -> Answers:
        return [(0.125, b"boot"), (0.25, b""), (0.5, b"re " + request), (0.625, b"\xff")]

    device = Instrument(noisy)
    async with QueryDriver(device, matches=is_reply) as query:
        for number in range(3):
            assert await query.query(b"%d" % number) == b"re %d" % number
            assert trio.current_time() == 0.5 * (number + 1)
        assert query.late_replies == 8


# Asking again


async def test_it_is_asked_again_and_then_given_up(autojump_clock: MockClock) -> None:
    device = Instrument(silent)
    async with QueryDriver(device, reply_within=0.5, retries=2) as query:
        with pytest.raises(QueryTimeout, match=r"has not answered b'\?' within 0\.5 s, asked 3 t"):
            await query.query(b"?")
        assert device.requests == [(0.0, b"?"), (0.5, b"?"), (1.0, b"?")]
        assert trio.current_time() == 1.5


async def test_a_lost_request_costs_the_next_question_the_time_of_its_reply(
    autojump_clock: MockClock,
) -> None:
    """What comes may be the reply to the first request, and the second's still to come."""
    device = Instrument(told(silent, after(0.25)))
    async with QueryDriver(device, late_within=2.0, retries=1) as query:
        assert await query.query(b"?") == b"re ?"
        assert trio.current_time() == 1.25
        assert repr(query).endswith(", open, 1 reply owed>")
        assert await query.query(b"!") == b"re !"
        assert device.requests[-1] == (3.0, b"!")


async def test_two_replies_to_one_question_answer_one_question(autojump_clock: MockClock) -> None:
    device = Instrument(told(after(1.25), after(1.25), after(0.25)))
    async with QueryDriver(device, retries=1) as query:
        assert await query.query(b"?") == b"re ?"
        assert trio.current_time() == 1.25
        assert await query.query(b"!") == b"re !"
        assert device.requests[-1] == (2.25, b"!")
        assert query.late_replies == 1


async def test_a_request_whose_time_is_over_is_not_waited_for(autojump_clock: MockClock) -> None:
    device = Instrument(told(silent, silent, after(0.25)))
    async with QueryDriver(device, late_within=1.0, retries=2) as query:
        assert await query.query(b"?") == b"re ?"
        assert trio.current_time() == 2.25
        assert await query.query(b"!") == b"re !"
        assert trio.current_time() == pytest.approx(2.5, abs=0.01)


async def test_failed_receives_are_no_reply(autojump_clock: MockClock) -> None:
    device = Instrument(told(lambda _: [(0.25, ReceiveFailed("port unreachable"))], after(0.25)))
    async with QueryDriver(device, retries=1) as query:
        assert await query.query(b"?") == b"re ?"
    device.behaviour = lambda _: [(0.25, ReceiveFailed("port unreachable"))]
    async with QueryDriver(device) as query:
        with pytest.raises(QueryTimeout, match="within 1 s; port unreachable") as caught:
            await query.query(b"?")
        assert isinstance(caught.value.__cause__, ReceiveFailed)


async def test_a_receive_that_always_fails_at_once_holds_nobody_up() -> None:
    class Broken(Instrument):
        async def _receive(self) -> bytes:
            raise ReceiveFailed("no light")

    async with QueryDriver(Broken(), reply_within=0.05) as query:
        with trio.fail_after(5), pytest.raises(QueryTimeout):
            await query.query(b"?")


async def test_what_could_not_be_sent_is_not_waited_for(autojump_clock: MockClock) -> None:
    device = Instrument(after(0.25))
    async with QueryDriver(device, retries=1) as query:
        device.refuses = SendFailed("no room")
        with pytest.raises(SendFailed, match="no room"):
            await query.query(b"?")
        device.refuses = None
        assert await query.query(b"!") == b"re !"
        assert trio.current_time() == 0.25


# Late replies


async def test_a_late_reply_is_waited_for_and_answers_nobody(autojump_clock: MockClock) -> None:
    device = Instrument(after(0.375))
    async with QueryDriver(device) as query:
        await give_up(query, b"1", 0.125)
        assert await query.query(b"2") == b"re 2"
        assert device.requests == [(0.0, b"1"), (0.375, b"2")]
        assert query.late_replies == 1


async def test_a_lost_reply_is_waited_for_as_long_as_it_may_come(
    autojump_clock: MockClock,
) -> None:
    device = Instrument(told(silent, after(0.25)))
    async with QueryDriver(device, reply_within=1.0) as query:
        with pytest.raises(QueryTimeout):
            await query.query(b"1")
        assert await query.query(b"2") == b"re 2"
        assert device.requests[1] == (4.0, b"2")
        assert await query.query(b"3") == b"re 3"
        assert trio.current_time() == pytest.approx(4.5, abs=0.01)


async def test_a_reply_that_came_while_nobody_listened_answers_nobody(
    autojump_clock: MockClock,
) -> None:
    """The program did something else for longer than the reply could be late."""
    device = Instrument(after(0.3))
    async with QueryDriver(device) as query:
        await give_up(query, b"1", 0.1)
        await trio.sleep(60)
        assert await query.query(b"2") == b"re 2"
        assert query.late_replies == 1
        await give_up(query, b"3", 0.1)
        await trio.sleep(60)
        await give_up(query, b"4", 0.0)  # before it was even asked
        await trio.sleep(60)
        assert await query.query(b"5") == b"re 5"
        assert b"4" not in device.asked


async def test_later_than_it_may_be_it_is_still_thrown_away_if_it_comes_between_questions(
    autojump_clock: MockClock,
) -> None:
    device = Instrument(told(after(1.9), after(0.1)))
    async with QueryDriver(device, late_within=1.0) as query:
        await give_up(query, b"1", 0.1)
        assert await query.query(b"2") == b"re 2"  # asked at 1.0
        await trio.sleep(5)
        for number in range(3, 10):
            assert await query.query(b"%d" % number) == b"re %d" % number
        assert query.late_replies == 1


async def test_once_out_of_step_it_gets_into_step_again(autojump_clock: MockClock) -> None:
    """That a reply comes later than it may cannot be known, but does not go on for ever."""
    device = Instrument(told(after(1.125), after(0.25)))
    async with QueryDriver(device, late_within=1.0) as query:
        await give_up(query, b"1", 0.1)
        assert await query.query(b"2") == b"re 1"
        await trio.sleep(0.5)
        assert await query.query(b"3") == b"re 3"
        assert await query.query(b"4") == b"re 4"


async def test_several_replies_are_owed_and_come_in_any_rhythm(autojump_clock: MockClock) -> None:
    rng = random.Random(7)
    device = Instrument()
    device.behaviour = lambda request: [(rng.uniform(0, 0.3), b"re " + request)]
    right = 0
    async with QueryDriver(device, reply_within=0.08, late_within=0.4, retries=2) as query:
        for number in range(2000):
            request = b"%d" % number
            try:
                with trio.move_on_after(rng.uniform(0, 0.25)):
                    assert await query.query(request) == b"re " + request
                    right += 1
            except QueryTimeout:
                pass
            if rng.random() < 0.3:
                await trio.sleep(rng.uniform(0, 0.6))
    assert right > 300


async def test_numbered_replies_need_not_be_waited_for(autojump_clock: MockClock) -> None:
    device = Instrument(after(0.3))
    async with QueryDriver(device, matches=is_reply, numbered=True) as query:
        await give_up(query, b"1", 0.125)
        assert await query.query(b"2") == b"re 2"
        assert device.requests == [(0.0, b"1"), (0.125, b"2")]
        assert query.late_replies == 1


async def test_a_query_that_was_not_sent_owes_nothing(autojump_clock: MockClock) -> None:
    device = Instrument(after(0.25))
    device.holds = trio.Event()
    async with QueryDriver(device) as query:
        await give_up(query, b"1", 0.5)
        device.holds = None
        assert await query.query(b"2") == b"re 2"
        assert trio.current_time() == 0.75


# The line


async def test_it_has_to_be_open() -> None:
    query = QueryDriver(Instrument())
    assert repr(query) == "<QueryDriver of Instrument, new>"
    for call in (query.query, query.tell):
        with pytest.raises(trio.ClosedResourceError):
            await call(b"?")
    await query.aclose()
    assert query.state is DriverState.CLOSED


async def test_closed_in_the_middle_and_opened_again_it_owes_nothing(
    autojump_clock: MockClock,
) -> None:
    device = Instrument(after(0.5))
    query = QueryDriver(device)
    await query.open()
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await query.query(b"1")

        nursery.start_soon(ask)
        await trio.sleep(0.125)
        await query.aclose()
        await query.open()
        assert await query.query(b"2") == b"re 2"
    assert device.requests == [(0.0, b"1"), (0.125, b"2")]
    await query.aclose()


@pytest.mark.parametrize("later", [1.0, 3.875])
async def test_opened_again_while_it_waits_for_what_is_owed(
    later: float, autojump_clock: MockClock
) -> None:
    """Also at the very instant at which it would wait no longer."""
    device = Instrument(silent)
    query = QueryDriver(device)
    await query.open()
    await give_up(query, b"1", 0.125)
    device.behaviour = after(0.25)
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with contextlib.suppress(trio.ClosedResourceError):
                assert await query.query(b"2") == b"re 2"

        nursery.start_soon(ask)
        await trio.sleep(later)
        await query.aclose()
        await query.open()
        asked = trio.current_time()
        assert await query.query(b"3") == b"re 3"
        assert trio.current_time() <= asked + 0.5
    assert device.asked[0] == b"1"
    assert device.asked[-1] == b"3"
    await query.aclose()


async def test_unplugged_in_the_middle(autojump_clock: MockClock) -> None:
    device = Instrument(after(0.5))
    query = QueryDriver(device, retries=3)
    await query.open()
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(DeviceGone, match="Input/output error"):
                await query.query(b"1")

        nursery.start_soon(ask)
        await trio.sleep(0.1)
        device.unplug()
    with pytest.raises(DeviceGone, match=r"broken.*aclose\(\) and open\(\)"):
        await query.query(b"2")
    device.present = True
    await query.aclose()
    await query.open()
    assert await query.query(b"3") == b"re 3"
    assert device.asked == [b"1", b"3"]
    await query.aclose()


async def test_cancelled_in_the_middle_of_a_request_it_is_broken(
    autojump_clock: MockClock,
) -> None:
    device = Instrument(after(0.25))
    device.splits = True
    query = QueryDriver(device)
    await query.open()
    await give_up(query, b"1", 0.1)
    with pytest.raises(SendInterrupted):
        await query.query(b"2")
    device.splits = False
    await query.aclose()
    await query.open()
    assert await query.query(b"3") == b"re 3"
    await query.aclose()


# Cancelled anywhere


@contextlib.asynccontextmanager
async def open_query(
    prepare: Callable[[QueryDriver[bytes], trio.Nursery], Awaitable[None]], **options: Any
) -> AsyncIterator[QueryDriver[bytes]]:
    async with (
        QueryDriver(Instrument(after(0.25)), **options) as query,
        trio.open_nursery() as nursery,
    ):
        await prepare(query, nursery)
        yield query
        nursery.cancel_scope.cancel()


async def nothing(query: QueryDriver[bytes], nursery: trio.Nursery) -> None:
    await trio.lowlevel.checkpoint()


async def another_asks(query: QueryDriver[bytes], nursery: trio.Nursery) -> None:
    nursery.start_soon(query.query, b"another")
    await trio.testing.wait_all_tasks_blocked()


async def a_reply_is_owed(query: QueryDriver[bytes], nursery: trio.Nursery) -> None:
    await give_up(query, b"given up", 0.1)


async def a_reply_has_come(query: QueryDriver[bytes], nursery: trio.Nursery) -> None:
    await give_up(query, b"given up", 0.1)
    await trio.sleep(60)


async def it_must_listen_again(query: QueryDriver[bytes], nursery: trio.Nursery) -> None:
    await query.query(b"before")


SITUATIONS = [
    pytest.param(nothing, {}, id="at rest"),
    pytest.param(another_asks, {}, id="another asks"),
    pytest.param(a_reply_is_owed, {}, id="a reply is owed"),
    pytest.param(a_reply_has_come, {}, id="a reply has come unheard"),
    pytest.param(it_must_listen_again, {"turnaround": 0.5}, id="it must listen again"),
    pytest.param(nothing, {"reply_within": 0.1, "late_within": 0.5, "retries": 3}, id="retries"),
    pytest.param(a_reply_is_owed, {"matches": is_reply, "numbered": True}, id="numbered"),
]


@pytest.mark.parametrize(("prepare", "options"), SITUATIONS)
async def test_cancelled_anywhere_a_query_is_as_if_it_had_not_been(
    prepare: Any, options: dict[str, Any], virtual_clock: object
) -> None:
    async def use(query: QueryDriver[bytes]) -> bytes:
        return await query.query(b"mine")

    async def others(query: QueryDriver[bytes]) -> list[bytes]:
        return [await query.query(b"%d" % number) for number in range(3)]

    sweep = await cancel_everywhere(partial(open_query, prepare, **options), use, observe=others)
    assert sweep.checkpoints >= 4


async def test_cancelled_anywhere_nothing_is_told_twice(virtual_clock: object) -> None:
    async def use(query: QueryDriver[bytes]) -> None:
        await query.tell(b"on")

    def asked(query: QueryDriver[bytes]) -> list[bytes]:
        device = query._driver
        assert isinstance(device, Instrument)
        return device.asked

    await cancel_everywhere(partial(open_query, a_reply_is_owed), use, observe=asked)


# Bad arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reply_within": 0}, "reply_within=0): expected a finite number of seconds, above 0"),
        ({"reply_within": float("inf")}, "reply_within=inf"),
        ({"reply_within": None}, "reply_within=None"),
        ({"reply_within": "1"}, "reply_within='1'"),
        ({"late_within": -1}, "late_within=-1): expected a finite number of seconds, 0 or more"),
        ({"late_within": 0.5}, "late_within=0.5): expected at least reply_within=1"),
        ({"turnaround": True}, "turnaround=True"),
        ({"retries": -1}, "retries=-1): expected a whole number, 0 or more"),
        ({"retries": 1.0}, "retries=1.0"),
        ({"matches": b"x"}, "matches=b'x'): expected a function of request and reply"),
        ({"numbered": True}, "numbered=True): expected matches=…"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        QueryDriver(Instrument(), **options)
    assert message in str(caught.value)


def test_it_needs_a_driver() -> None:
    with pytest.raises(ConfigurationError, match=r"expected a Driver, such as TcpClient\(…\)"):
        QueryDriver("127.0.0.1")  # type: ignore[arg-type]


# Real


class Tcp(StreamDriver):
    """Lines over a TCP connection."""

    def __init__(self, port: int) -> None:
        super().__init__(Lines())
        self.port = port

    async def _open_wire(self) -> Wire:
        with trio.socket.socket() as sock:
            await sock.connect(("127.0.0.1", self.port))
            return Wire(sock.detach())


async def serve_slowly(stream: trio.SocketStream) -> None:
    """Answer each line with itself, after 0 to 300 ms."""
    rng = random.Random()
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        pending = b""
        async for data in stream:
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                await trio.sleep(rng.uniform(0, 0.3))
                await stream.send_all(line + b"\n")


@pytest.mark.parametrize("busy", [False, True])
async def test_a_reply_that_waits_in_the_system_answers_nobody(
    busy: bool, nursery: trio.Nursery
) -> None:
    """Its time has passed since it came, while nobody asked, or nobody could."""
    sent, first = trio.Event(), trio.CancelScope()

    async def serve(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            async for data in stream:
                first.cancel()  # as soon as it was asked, it is given up
                await trio.sleep(0.02)
                await stream.send_all(data)
                sent.set()

    listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    async with QueryDriver(Tcp(port), reply_within=5.0, late_within=5.0) as query:
        query._late_within = 0.05  # and yet nobody has to be quick
        for number in range(5):
            sent = trio.Event()
            with trio.CancelScope() as first:
                await query.query(b"given up %d" % number)
            assert first.cancelled_caught
            await sent.wait()
            if busy:
                time.sleep(0.06)  # noqa: ASYNC251 - that is what is tried
            else:
                await trio.sleep(0.06)
            assert await query.query(b"%d" % number) == b"%d" % number
        assert query.late_replies == 5
    nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_two_thousand_impatient_questions_get_no_wrong_answer(
    nursery: trio.Nursery,
) -> None:
    instruments, questions = 80, 25
    listeners = await nursery.start(partial(trio.serve_tcp, serve_slowly, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    answers: list[tuple[bytes, bytes]] = []
    at_the_end: list[bytes] = []
    asked = 0

    async def ask(number: int) -> None:
        nonlocal asked
        async with QueryDriver(Tcp(port), late_within=30.0, reply_within=10.0) as query:
            for question in range(questions):
                request = b"%d:%d" % (number, question)
                with trio.move_on_after(0.1):
                    answers.append((request, await query.query(request)))
                asked += 1
            at_the_end.append(await query.query(b"%d:end" % number))

    with trio.fail_after(100):
        async with trio.open_nursery() as askers:
            for number in range(instruments):
                askers.start_soon(ask, number)
    assert asked == 2000
    assert [(request, answer) for request, answer in answers if request != answer] == []
    assert 20 < len(answers) < 2000  # how many is a matter of the machine
    assert sorted(at_the_end) == sorted(b"%d:end" % number for number in range(instruments))
    nursery.cancel_scope.cancel()
