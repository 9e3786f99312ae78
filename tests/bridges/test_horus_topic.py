"""Topics of the HORUS facade: who receives what, copies, losses, threads, the fence."""

from __future__ import annotations

import collections
import dataclasses
import enum
import gc
import itertools
import math
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from horus_trio import (
    AsyncCallInThread,
    MessageTypeError,
    Node,
    Scheduler,
    TickAbandoned,
    TickStatus,
)
from horus_trio.bridges.horus import data
from horus_trio.bridges.horus.errors import HorusTimeoutError, TopicRefused
from horus_trio.bridges.horus.messages import CmdVel, LaserScan, Pose2D, Twist
from horus_trio.bridges.horus.registry import topics
from horus_trio.bridges.horus.topic import Topic

_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    """A topic's name that nobody has used."""
    return f"test.topic{next(_numbers)}"


def drained(topic: Topic[Any]) -> list[Any]:
    return list(iter(topic.recv, None))


def make(kind: str, name: str, count: int, capacity: int = 16) -> list[Topic[Any]]:
    """Topics of one name, untyped or typed."""
    if kind == "untyped":
        return [Topic(name, capacity) for _ in range(count)]
    return [Topic(CmdVel, capacity, endpoint=name) for _ in range(count)]


def sample(kind: str, number: int) -> Any:
    return {"n": number} if kind == "untyped" else CmdVel(number, 0)


def numbers(kind: str, received: list[Any]) -> list[int]:
    return [m["n"] if kind == "untyped" else int(m.linear) for m in received]


@pytest.fixture(params=["untyped", "typed"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Who receives what


@pytest.mark.parametrize("looked", [False, True])
def test_every_reader_receives_everything(kind: str, name: str, looked: bool) -> None:
    first_writer, second_writer, *readers = make(kind, name, 4)
    if looked:
        assert [r.recv() for r in readers] == [None, None]
    for start in (0, 4, 8):
        for number in range(start, start + 4):
            (first_writer if number % 2 else second_writer).send(sample(kind, number))
        for reader in readers:
            assert numbers(kind, drained(reader)) == list(range(start, start + 4))
    assert drained(first_writer) == drained(second_writer) == []


def test_one_object_may_talk_to_itself(kind: str, name: str) -> None:
    (topic,) = make(kind, name, 1)
    for number in range(3):
        assert topic.send(sample(kind, number)) is True
        assert numbers(kind, drained(topic)) == [number]


def test_who_comes_late_begins_with_what_nobody_has_received(kind: str, name: str) -> None:
    (writer,) = make(kind, name, 1)
    for number in range(3):
        writer.send(sample(kind, number))
    (late,) = make(kind, name, 1)
    assert numbers(kind, drained(late)) == [0, 1, 2]
    (later,) = make(kind, name, 1)
    assert drained(later) == []
    writer.send(sample(kind, 3))
    assert numbers(kind, drained(late)) == numbers(kind, drained(later)) == [3]


def test_who_sends_and_receives_hears_itself_and_others(kind: str, name: str) -> None:
    talker, listener = make(kind, name, 2)
    talker.send(sample(kind, 0))
    assert numbers(kind, drained(talker)) == [0]
    talker.send(sample(kind, 1))
    assert numbers(kind, drained(listener)) == [0, 1]
    listener.send(sample(kind, 2))
    assert numbers(kind, drained(talker)) == [1, 2]
    assert numbers(kind, drained(listener)) == [2]


def test_who_only_sends_costs_nothing_once_somebody_else_receives(name: str) -> None:
    writer, reader = make("untyped", name, 2, capacity=2)
    for number in range(10):
        writer.send(number)
        assert drained(reader) == [number]
    assert writer.subscription is None
    assert topics.hub(name).statistics().dropped == 0
    assert writer.dropped_count() == writer.missed_count() == 0


def test_a_declared_reader_stays_one(name: str) -> None:
    talker, listener = make("untyped", name, 2)
    talker.join()
    talker.send(1)
    assert drained(listener) == [1]
    talker.send(2)
    assert drained(talker) == [1, 2]


def test_a_message_may_be_none(name: str) -> None:
    topic = Topic(name)
    topic.send(None)
    assert topic.pending_count() == 1
    topic.send(5)
    assert [topic.recv(), topic.recv(), topic.recv()] == [None, 5, None]


def test_what_is_sent_into_the_hub_by_others_arrives(name: str) -> None:
    topic = Topic(CmdVel, endpoint=name)
    odd = object()
    for message in (CmdVel(1, 2), {"a": [1]}, odd):
        topics.hub(name).send(message)
    assert topic.recv() == CmdVel(1, 2)
    assert topic.recv() == {"a": [1]}  # type: ignore[comparison-overlap]
    assert topic.recv() is odd


def test_an_object_that_is_gone_has_left(name: str) -> None:
    topic = Topic(name)
    topic.send(1)
    del topic
    gc.collect()
    assert topics.hub(name).statistics().subscriptions == ()
    assert drained(Topic(CmdVel, endpoint=name)) == []  # the name may have another type now


# Copies


def test_messages_are_copies(name: str) -> None:
    writer, first, second = make("untyped", name, 3)
    sent = {"a": [1, {"b": 2}], "c": 3}
    writer.send(sent)
    sent["a"].append(3)  # type: ignore[attr-defined]
    sent["c"] = 4
    received = cast(Any, first.recv())
    assert received == {"a": [1, {"b": 2}], "c": 3}
    received["a"][1]["b"] = 9
    received["d"] = 5
    assert second.recv() == {"a": [1, {"b": 2}], "c": 3}


def test_typed_messages_are_copies(name: str) -> None:
    writer, first, second = (Topic(LaserScan, endpoint=name) for _ in range(3))
    scan = LaserScan(range_max=5.0, ranges=[1.0])
    writer.send(scan)
    scan.ranges = [2.0]
    scan.timestamp_ns = 7
    received = first.recv()
    assert received is not None
    assert (received.ranges[0], received.timestamp_ns) == (1.0, 0)
    received.range_max = 0.0
    other = second.recv()
    assert other is not None
    assert other.range_max == 5.0


class Colour(enum.IntEnum):
    RED = 1


@dataclasses.dataclass
class Arm:
    joints: tuple[float, ...]
    name: str = "left"


class Text(str):
    __slots__ = ()


Pair = collections.namedtuple("Pair", "a b")  # noqa: PYI024 - as users write it


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (None, None),
        (True, True),
        (-(2**70), -(2**70)),
        (1.5, 1.5),
        ("é\0", "é\0"),
        ((1, (2, [3])), [1, [2, [3]]]),
        (frozenset([3]), [3]),
        (collections.deque([1]), [1]),
        (range(3), [0, 1, 2]),
        (memoryview(b"ab"), [97, 98]),
        ({"z": 1, "a": 2}, {"z": 1, "a": 2}),
        ({"z": 1, "a": {"k": (1,)}}, {"z": 1, "a": {"k": [1]}}),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (types.MappingProxyType({"a": {1}}), {"a": [1]}),
        (Arm((1.0, 2.0)), {"joints": [1.0, 2.0], "name": "left"}),
        ([Arm(())], [{"joints": [], "name": "left"}]),
        (Pair(1, 2), [1, 2]),
        (CmdVel(1, 2, 3), {"linear": 1.0, "angular": 2.0, "timestamp_ns": 3}),
        (Colour.RED, 1),
        (Text("x"), "x"),
        ({Text("k"): Text("v")}, {"k": "v"}),
    ],
)
def test_what_an_untyped_topic_carries(sent: Any, received: Any, name: str) -> None:
    topic = Topic(name)
    topic.send(sent)
    found = topic.recv()
    assert found == received
    assert repr(found) == repr(received)


PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def containers(value: Any) -> Iterator[int]:
    """The identities of all lists and dicts in it."""
    if isinstance(value, list | dict):
        yield id(value)
        for inner in value if isinstance(value, list) else value.values():
            yield from containers(inner)


@pytest.mark.slow
@given(PLAIN)
def test_plain_data_arrives_as_it_is_and_shares_nothing(value: Any) -> None:
    sent = data.plain(value)
    received = data.copied(sent)
    assert repr(sent) == repr(received) == repr(value)
    parts = [set(containers(part)) for part in (value, sent, received)]
    assert len(set.union(*parts)) == sum(map(len, parts))


def test_floats_that_are_not_numbers_arrive(name: str) -> None:
    topic = Topic(name)
    topic.send([math.nan, math.inf])
    found = cast(Any, topic.recv())
    assert math.isnan(found[0])
    assert found[1] == math.inf


@pytest.mark.parametrize("length", [5_000, 500_000])
def test_messages_may_be_long(name: str, length: int) -> None:
    topic = Topic(name)
    topic.send("x" * length)
    assert topic.recv() == "x" * length


class Anything:
    pass


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"ab", "got bytes; send list"),
        ([bytearray()], "got bytearray"),
        ({"k": b"x"}, "got bytes"),
        ({1: 2}, "got a key of type int"),
        ({"a": {None: 1}}, "got a key of type NoneType"),
        (Anything(), "got Anything; send a dict"),
        ([{"a": Anything()}], "got Anything"),
        (1j, "got complex"),
        (iter([1]), "got list_iterator"),
        (Arm, "got type"),
    ],
)
@pytest.mark.parametrize("call", ["send", "try_send", "send_blocking"])
def test_what_an_untyped_topic_refuses(sent: Any, why: str, call: str, name: str) -> None:
    topic = Topic(name)
    arguments = (sent, 1.0) if call == "send_blocking" else (sent,)
    with pytest.raises(TypeError, match=f"Failed to convert Python object: .*{why}") as caught:
        getattr(topic, call)(*arguments)
    assert isinstance(caught.value, MessageTypeError)
    assert topic.recv() is None


def nested(depth: int, around: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = around(value)
    return value


def in_itself(container: Any) -> Any:
    container.update(a=container) if isinstance(container, dict) else container.append(container)
    return container


@pytest.mark.parametrize(
    "around", [lambda v: {"a": v}, lambda v: [v], lambda v: (v,), lambda v: Arm(v)]
)
def test_how_deep_a_message_may_be(around: Callable[[Any], Any], name: str) -> None:
    topic = Topic(name)
    topic.send(nested(data.LEVELS, around))
    found = topic.recv()
    for _ in range(data.LEVELS):
        (found, *_) = found.values() if isinstance(found, dict) else found  # type: ignore[misc]
    assert found == 1
    for deep in (nested(data.LEVELS + 1, around), nested(20_000, around)):
        with pytest.raises(MessageTypeError, match="nested more than 100 deep") as caught:
            topic.send(deep)
        assert len(caught.traceback) < 6
    assert topic.recv() is None
    while isinstance(deep, Arm):  # the interpreter itself would go too deep to free it
        deep = deep.joints


@pytest.mark.parametrize(
    "sent", [in_itself({}), in_itself([]), in_itself(collections.deque()), [in_itself({})]], ids=str
)
def test_a_message_does_not_contain_itself(sent: Any, name: str) -> None:
    with pytest.raises(MessageTypeError, match="got something that contains itself"):
        Topic(name).send(sent)


@pytest.mark.parametrize("sent", [None, {"linear": 1, "angular": 2}, Twist(), CmdVel, 1])
@pytest.mark.parametrize("call", ["send", "try_send", "send_blocking"])
def test_a_typed_topic_refuses_all_but_its_type(sent: Any, call: str, name: str) -> None:
    topic = Topic(CmdVel, endpoint=name)
    arguments = (sent, 1.0) if call == "send_blocking" else (sent,)
    with pytest.raises(TypeError, match="is not an instance of 'CmdVel'"):
        getattr(topic, call)(*arguments)
    assert topic.recv() is None


# Losses


def test_a_full_topic_keeps_the_newest_and_counts_the_rest(kind: str, name: str) -> None:
    writer, reader = make(kind, name, 2, capacity=4)
    assert reader.recv() is None
    assert all(writer.send(sample(kind, number)) for number in range(10))
    assert (reader.pending_count(), reader.missed_count(), reader.dropped_count()) == (4, 6, 6)
    assert writer.dropped_count() == 6
    assert numbers(kind, drained(reader)) == [6, 7, 8, 9]
    assert writer.dropped_count() == 6
    assert writer.stats()["dropped_count"] == reader.stats()["missed_count"] == 6


def test_losses_before_there_was_a_reader_count(name: str) -> None:
    writer = Topic(name, 4)
    for number in range(10):
        writer.send(number)
    assert drained(Topic(name, 4)) == [6, 7, 8, 9]
    assert writer.dropped_count() == 6


@pytest.mark.parametrize("capacity", [1, 3, 5])
def test_the_capacity_is_exact(capacity: int, name: str) -> None:
    topic = Topic(name, capacity)
    for number in range(10):
        topic.send(number)
    assert drained(topic) == list(range(10 - capacity, 10))


def test_readers_have_capacities_of_their_own(name: str) -> None:
    small, large, writer = Topic(name, 2), Topic(name), Topic(name)
    for number in range(1500):
        writer.send(number)
    assert drained(small) == [1498, 1499]
    assert drained(large) == list(range(1500 - 1024, 1500))


def test_try_send_refuses_rather_than_lose(kind: str, name: str) -> None:
    writer, reader = make(kind, name, 2, capacity=2)
    assert [writer.try_send(sample(kind, n)) for n in range(4)] == [True, True, False, False]
    assert numbers(kind, [reader.try_recv()]) == [0]
    assert writer.try_send(sample(kind, 4)) is True
    assert numbers(kind, drained(reader)) == [1, 4]
    assert writer.dropped_count() == 0
    assert writer.stats()["send_failures"] == 2


def test_the_slowest_reader_decides_whether_there_is_room(kind: str, name: str) -> None:
    writer, fast, slow = make(kind, name, 3, capacity=2)
    for number in range(2):
        assert writer.try_send(sample(kind, number)) is True
        assert numbers(kind, drained(fast)) == [number]
    assert writer.try_send(sample(kind, 2)) is False
    with pytest.raises(HorusTimeoutError):
        writer.send_blocking(sample(kind, 2), 0)
    assert numbers(kind, drained(slow)) == [0, 1]
    assert writer.try_send(sample(kind, 2)) is True


def test_the_newest_can_be_read_without_taking_it(kind: str, name: str) -> None:
    writer, reader = make(kind, name, 2)
    assert reader.read_latest() is None
    for number in range(3):
        writer.send(sample(kind, number))
    assert numbers(kind, [reader.read_latest(), reader.read_latest()]) == [2, 2]
    assert numbers(kind, drained(reader)) == [0, 1, 2]
    assert reader.read_latest() is None


# Waiting for room


def test_send_blocking_waits_for_room(name: str) -> None:
    writer, reader = make("untyped", name, 2, capacity=1)
    writer.send_blocking(1, 5.0)
    sender = threading.Thread(target=writer.send_blocking, args=(2, 30.0))
    sender.start()
    while not writer._meeting.waiters:
        time.sleep(0.001)
    assert reader.recv() == 1
    sender.join()
    assert reader.recv() == 2
    assert not writer._meeting.waiters


def test_send_blocking_ends_with_its_time(name: str) -> None:
    topic = Topic(name, 1)
    topic.send(1)
    with pytest.raises(HorusTimeoutError, match=f"'send_blocking on topic {name}' after 0.02 s"):
        topic.send_blocking(2, timeout_s=0.02)
    with pytest.raises(HorusTimeoutError):
        topic.send_blocking(2, 0)
    assert drained(topic) == [1]


@pytest.mark.parametrize("timeout", [-1, math.nan, math.inf])
def test_a_time_to_wait_makes_sense(timeout: float, name: str) -> None:
    with pytest.raises(ValueError, match="finite, non-negative number of seconds"):
        Topic(name).send_blocking(1, timeout)


async def test_send_blocking_does_not_block_the_loop(name: str) -> None:
    with pytest.raises(AsyncCallInThread, match=r"topic\.try_send"):
        Topic(name).send_blocking(1, 1.0)


# Names and kinds


def test_what_a_topic_tells_about_itself(name: str) -> None:
    topic = Topic(name, 4)
    assert (topic.name, topic.endpoint, topic.is_network_topic) == (name, None, False)
    assert repr(topic) == f"Topic(name='{name}', backend='InProcess')"
    assert topic.is_generic()
    assert (topic.pub_count(), topic.sub_count(), topic.pending_count()) == (0, 0, 0)
    topic.send(1, node=object())
    assert (topic.pub_count(), topic.sub_count(), topic.pending_count()) == (1, 0, 1)
    assert topic.recv(node=object()) == 1
    other = Topic(name)
    assert (other.pub_count(), other.sub_count(), other.pending_count()) == (1, 1, 0)
    assert topic.stats() == {
        "messages_sent": 1,
        "messages_received": 1,
        "send_failures": 0,
        "recv_failures": 0,
        "missed_count": 0,
        "dropped_count": 0,
        "is_network": False,
        "backend": "InProcess",
    }
    for attribute in ("name", "something"):
        with pytest.raises(AttributeError):
            setattr(topic, attribute, 1)


def test_classes_name_topics() -> None:
    assert (Topic(CmdVel).name, Topic(CmdVel).is_generic()) == ("cmd_vel", False)
    assert (Topic("CmdVel").name, Topic("CmdVel").is_generic()) == ("cmdvel", False)
    assert (Topic(int).name, Topic(int).is_generic()) == ("int", True)
    assert Topic("MyTopic").name == "mytopic"
    topic = Topic(CmdVel, 4, endpoint="MyTopic")
    assert (topic.name, topic.endpoint) == ("MyTopic", "MyTopic")


@pytest.mark.parametrize("asked", [42, None, CmdVel(1, 2), ["x"]])
def test_a_topic_is_a_name_or_a_class(asked: Any) -> None:
    with pytest.raises(TypeError, match="requires a message type or topic string"):
        Topic(asked)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("", "cannot be empty"),
        ("x y", "invalid characters"),
        ("é", "invalid characters"),
        ("a/../b", r'"\.\." path component'),
        ("./a", r'"\." or'),
        ("/a", "begin or end"),
        ("a/", "begin or end"),
        ("x" * 256, "too long"),
    ],
)
def test_names_are_checked(bad: str, why: str) -> None:
    with pytest.raises(RuntimeError, match=f"Failed to create Topic .*{why}") as caught:
        Topic(bad)
    assert isinstance(caught.value, TopicRefused)


@pytest.mark.parametrize(
    ("capacity", "error"),
    [(0, RuntimeError), (-1, OverflowError), (1.5, TypeError), ("4", TypeError)],
)
def test_capacities_are_checked(capacity: Any, error: type[Exception], name: str) -> None:
    with pytest.raises(error):
        Topic(name, capacity)


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (CmdVel, Pose2D, "carries CmdVel messages, Pose2D ones"),
        (None, CmdVel, "carries untyped messages, CmdVel ones"),
        (CmdVel, None, "carries CmdVel messages, untyped ones"),
    ],
)
def test_a_name_has_one_type(first: Any, second: Any, why: str, name: str) -> None:
    present = Topic(first or name, endpoint=name)
    with pytest.raises(RuntimeError, match=f"type mismatch.*{why}.*distinct topic names"):
        Topic(second or name, endpoint=name)
    assert present.recv() is None


# Threads and the fence


def test_topics_are_for_any_thread(kind: str, name: str) -> None:
    *writers, reader = make(kind, name, 4, capacity=100_000)
    assert reader.recv() is None

    def write(start: int) -> None:
        for number in range(start, start + 500):
            writers[start // 500].send(sample(kind, number))

    threads = [threading.Thread(target=write, args=(start,)) for start in (0, 500, 1000)]
    for thread in threads:
        thread.start()
    received: list[int] = []
    until = time.monotonic() + 30
    while len(received) < 1500 and time.monotonic() < until:
        received += numbers(kind, drained(reader))
    for thread in threads:
        thread.join()
    assert sorted(received) == list(range(1500))
    for start in (0, 500, 1000):  # in order for each
        own = [n for n in received if start <= n < start + 500]
        assert own == sorted(own)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("call", ["send", "try_send", "send_blocking"])
def test_an_abandoned_tick_publishes_nothing(
    name: str, call: str, released: threading.Event
) -> None:
    topic, reader = Topic(name), Topic(name)
    refused: list[type[BaseException]] = []
    ended = threading.Event()

    def tick(node: Node) -> None:
        released.wait()
        try:
            getattr(topic, call)(*((1, 1.0) if call == "send_blocking" else (1,)))
        except BaseException as error:
            refused.append(type(error))
            raise
        finally:
            ended.set()

    scheduler = Scheduler(stop_timeout=2.0, signals=False)
    scheduler.add(Node("late", tick=tick, rate=10, tick_timeout=0.02, shutdown_timeout=1.0))

    async def main() -> None:
        async with trio.open_nursery() as nursery, scheduler.open_results() as results:
            nursery.start_soon(scheduler.run)
            with trio.fail_after(30):
                async for result in results:
                    assert result.status is TickStatus.ABANDONED
                    break
                released.set()
                await trio.to_thread.run_sync(ended.wait)
            scheduler.stop()

    trio.run(main)
    assert refused == [TickAbandoned]
    assert reader.recv() is None


def test_an_abandoned_tick_that_waits_for_room_is_woken(name: str) -> None:
    topic, reader = Topic(name, 1), Topic(name, 1)
    topic.send(0)
    refused: list[type[BaseException]] = []
    ended = threading.Event()

    def tick(node: Node) -> None:
        try:
            topic.send_blocking(1, 60.0)
        except BaseException as error:
            refused.append(type(error))
            raise
        finally:
            ended.set()

    scheduler = Scheduler(stop_timeout=2.0, signals=False)
    scheduler.add(Node("late", tick=tick, rate=10, tick_timeout=0.02, shutdown_timeout=1.0))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scheduler.run)
            with trio.fail_after(30):
                await trio.to_thread.run_sync(ended.wait)
            scheduler.stop()

    trio.run(main)
    assert refused[0] is TickAbandoned
    assert drained(reader) == [0]


def test_a_topic_needs_no_engine_but_serves_one(name: str) -> None:
    inlet, outlet = Topic(name), Topic(f"{name}.out")
    inlet.send({"n": 20})

    def double(node: Node) -> None:
        for message in iter(inlet.recv, None):
            outlet.send({"n": 2 * message["n"]})
        node.request_stop()

    scheduler = Scheduler(signals=False)
    scheduler.add(Node("double", tick=double, rate=100))
    scheduler.run()
    assert outlet.recv() == {"n": 40}
