"""`HorusBridge` and real processes of HORUS's: everything is received, or counted as lost."""

from __future__ import annotations

import contextvars
import dataclasses
import importlib.machinery
import importlib.util
import itertools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from bridges.horus_peer import HorusPeer
from children import PATIENCE, Child
from helpers.patience import eventually

import horus_trio as horus
from horus_trio import ConfigurationError, NodeState, Pub, Sub, UnknownTopic
from horus_trio.bridges import HorusBridge, HorusTopic, HorusTopicError
from horus_trio.bridges.horus.messages import (
    CmdVel,
    Imu,
    JointState,
    LaserScan,
    Odometry,
    Point3,
    Pose2D,
    Quaternion,
    Twist,
    Vector3,
)
from horus_trio.bridges.horus_process.package import load_horus
from horus_trio.messages import Fence, current_fence
from horus_trio.testing import open_harness


@pytest.fixture(scope="module", autouse=True)
def namespace(require: Callable[[str, bool, str], None]) -> Path:
    """Where the topics of the tests are."""
    present = importlib.util.find_spec("horus") is not None
    require("horus-robotics", present, "pip install horus-robotics==0.4.1, on Linux on x86-64")
    return Path("/dev/shm") / f"horus_{os.environ['HORUS_NAMESPACE']}"


_names = itertools.count()


@pytest.fixture
def name() -> str:
    """A topic that no other test has."""
    return f"topic.{os.getpid()}.{next(_names)}"


@pytest.fixture
def peer() -> Iterator[HorusPeer]:
    with HorusPeer() as peer:
        yield peer


def numbers(messages: list[Any]) -> list[int]:
    return [message["number"] for message in messages]


def list_of_open(topic: str) -> list[str]:
    """What this process has open of a topic."""
    files = [os.path.realpath(file) for file in Path("/proc/self/fd").iterdir()]
    return [file for file in files if file.endswith(f"/{topic}")]


def clean(namespace: Path, name: str) -> None:
    """As ``horus clean --shm`` does."""
    for file in namespace.glob(f"topics/**/{name}*"):
        file.unlink()


POLL = 1 / 200


# Both directions


DATA: list[Any] = [
    {"x": 1.5, "name": "żółw 🤖", "none": None, "yes": True, "list": [1, [2, {"a": "b"}]]},
    {},
    [1, 2, 3],
    "text",
    5,
    -1.5,
    False,
    {"big": 2**63, "small": -(2**63)},
    {"text": "x" * 4000},
]


async def test_data_come_and_go(peer: HorusPeer, name: str) -> None:
    bridge = HorusBridge(
        "horus", receive=HorusTopic(f"in/{name}", topic="in"), send=HorusTopic(name, topic="out")
    )
    async with open_harness(bridge) as h:
        peer.open(f"in/{name}")
        peer.open(name)
        assert peer.read(name) == []
        for data in DATA:
            peer.send(f"in/{name}", data)
            h.publish("out", data)
            await h.advance(POLL)
        assert h.sent("in") == DATA
        assert peer.read(name) == DATA
        said = bridge.statistics()
        assert said.received[f"in/{name}"].passed == said.sent[name].passed == len(DATA)
        assert said.lost == 0
        assert said.received[f"in/{name}"].topic == "in"


@pytest.mark.slow
async def test_a_scheduler_of_horus_and_ours(peer: HorusPeer, name: str) -> None:
    bridge = HorusBridge("horus", receive=f"{name}.answer", send=name)
    answers: list[Any] = []

    async def ask(node: horus.Node) -> None:
        node.send(name, {"number": node.current_tick.seq if node.current_tick else -1})
        answers.extend(node.recv_all(f"{name}.answer"))

    asker = horus.AsyncNode("asker", tick=ask, rate=50, pubs=name, subs=f"{name}.answer")
    scheduler = horus.Scheduler().add(bridge).add(asker)
    peer.open(name)  # it starts before the robot, and its topics are there
    peer.open(f"{name}.answer")
    peer.read(name)

    async def run_peer() -> None:
        heard = await trio.to_thread.run_sync(peer.run_node, 0.5, name, f"{name}.answer")
        assert len(heard) >= 5
        assert numbers(heard) == sorted(numbers(heard))
        await trio.sleep(0.1)
        scheduler.stop()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run, 10)
        nursery.start_soon(run_peer)
    assert len(answers) >= 5
    assert all(set(answer) == {"answer to"} for answer in answers)
    assert bridge.statistics().lost == 0


ON_THE_FACADE = """
import horus_trio.bridges.horus
horus_trio.bridges.horus.install()
import horus
from horus_trio.bridges import HorusBridge

def tick(node):
    message = node.recv("to.facade")
    if message is not None:
        node.send("cmd_vel", horus.CmdVel(message["speed"], 0.0))

scheduler = horus.Scheduler()
scheduler.add(horus.Node("nav", tick=tick, rate=100, subs=["to.facade"], pubs=[horus.CmdVel]))
scheduler.engine.add(HorusBridge("horus", receive="to.facade", send=horus.CmdVel))
scheduler.run(duration=20)
"""


@pytest.mark.slow
def test_a_program_on_the_facade_talks_to_one_that_is_not(peer: HorusPeer, tmp_path: Path) -> None:
    peer.open("to.facade")
    peer.open("cmd_vel", "CmdVel")
    peer.read("cmd_vel")
    with Child(tmp_path, ON_THE_FACADE) as program:
        got: list[Any] = []
        give_up = time.monotonic() + PATIENCE
        while not got and time.monotonic() < give_up:
            peer.send("to.facade", {"speed": 0.5})
            time.sleep(0.05)
            got = peer.read("cmd_vel")
        assert got[0]["linear"] == 0.5, program.said


SCAN = [float(n) for n in range(360)]

IMU = Imu(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7)
IMU.qw = 0.5
IMU.orientation_covariance = [0.5] * 9

MESSAGES = [
    CmdVel(0.5, -0.25, 7),
    IMU,
    JointState(["łokieć", "b"], [1.0, 2.0], [3.0, 4.0], [5.0, 6.0], 7),
    LaserScan(-1.0, 1.0, 0.5, 0.25, 8.0, SCAN, 7),
    Odometry(1.0, 2.0, 3.0, 4.0, 5.0, 7),
    Point3(1.5, -2.5, math.inf),
    Pose2D(1.0, 2.0, 0.1, 7),
    Quaternion(0.1, 0.2, 0.3, 0.9),
    Twist(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7),
    Vector3(0.1, 0.2, 0.3),
]


@dataclass
class Speeds:
    """A dataclass of a user's; its name is given where it is used."""

    linear: float
    angular: float


@dataclass
class Ranges:
    """Another one."""

    angle_min: float
    angle_max: float
    ranges: list[float]


OF_ONES_OWN = type("CmdVel", (Speeds,), {})
TOO_LONG = type("LaserScan", (Ranges,), {})


def fields_of(message: Any) -> dict[str, Any]:
    return {field.name: getattr(message, field.name) for field in dataclasses.fields(message)}


@pytest.mark.parametrize(
    "message", [*MESSAGES, OF_ONES_OWN(0.5, 1.0)], ids=lambda message: type(message).__name__
)
async def test_messages_of_a_class_come_and_go(peer: HorusPeer, name: str, message: Any) -> None:
    cls, values = type(message), fields_of(message)
    bridge = HorusBridge(
        "horus",
        receive=HorusTopic(f"{name}.in", cls, topic="in"),
        send=HorusTopic(name, cls, topic="out"),
    )
    async with open_harness(bridge) as h:
        peer.open(f"{name}.in", cls.__name__)
        peer.open(name, cls.__name__)
        peer.read(name)
        peer.make_and_send(f"{name}.in", cls.__name__, values)
        h.publish("out", message)
        await h.advance(POLL)
        (came,) = h.sent("in")
        assert type(came) is cls
        assert fields_of(came) == values
        (got,) = peer.read(name)
        assert {field: got[field] for field in values} == values
        assert bridge.statistics().lost == 0


async def test_a_dict_is_a_message_where_its_fields_fit(peer: HorusPeer, name: str) -> None:
    bridge = HorusBridge("horus", send=HorusTopic(name, Pose2D, topic="out"))
    async with open_harness(bridge) as h:
        peer.open(name, "Pose2D")
        peer.read(name)
        h.publish("out", {"x": 1.0, "y": 2.0, "theta": 3.0})
        await h.settle()
        (got,) = peer.read(name)
        assert (got["x"], got["y"], got["theta"]) == (1.0, 2.0, 3.0)


async def test_messages_of_horus_own_class_are_passed_on(peer: HorusPeer, name: str) -> None:
    pose = load_horus("this test").Pose2D
    bridge = HorusBridge(
        "horus",
        receive=HorusTopic(f"{name}.in", pose, topic="in"),
        send=HorusTopic(name, pose, topic="out"),
    )
    async with open_harness(bridge) as h:
        peer.open(f"{name}.in", "Pose2D")
        peer.open(name, "Pose2D")
        peer.read(name)
        peer.make_and_send(f"{name}.in", "Pose2D", {"x": 1.0, "y": 2.0, "theta": 3.0})
        h.publish("out", pose(4.0, 5.0, 6.0))
        h.publish("out", {"x": 7.0, "y": 8.0, "theta": 9.0})
        h.publish("out", Vector3(1.0, 2.0, 3.0))
        await h.advance(POLL)
        assert bridge.statistics().sent[name].rejected == 1
        (came,) = h.sent("in")
        assert came == pose(1.0, 2.0, 3.0)
        assert [message["x"] for message in peer.read(name)] == [4.0, 7.0]


async def test_a_message_class_alone_is_horus_name_of_its_topic() -> None:
    native = load_horus("this test")
    bridge = HorusBridge("horus", receive=[native.LaserScan], send=(Vector3, native.CmdVel))
    assert repr(bridge) == "<HorusBridge 'horus' receives scan and sends vector3, cmd_vel>"


async def test_a_message_goes_to_a_generic_topic_as_a_dict(peer: HorusPeer, name: str) -> None:
    bridge = HorusBridge("horus", send=HorusTopic(name, topic="out"))
    async with open_harness(bridge) as h:
        peer.open(name)
        peer.read(name)
        h.publish("out", CmdVel(0.5, 1.0))
        h.publish("out", {"several": {1}, "two": (1, 2), "unknown": math.nan})
        await h.settle()
        assert peer.read(name) == [
            {"linear": 0.5, "angular": 1.0, "timestamp_ns": 0},
            {"several": [1], "two": [1, 2], "unknown": None},
        ]


# What does not get through is counted


@pytest.mark.slow
@pytest.mark.parametrize("readers", [1, 2])
async def test_all_that_horus_sends_is_received_or_counted(
    peer: HorusPeer, name: str, readers: int
) -> None:
    many = 5000
    bridge = HorusBridge("horus", receive=HorusTopic(name, capacity=64), rate=100)
    scheduler = horus.Scheduler().add(bridge)
    got = scheduler.topic(name).subscribe(capacity=many)
    with HorusPeer() as other:

        async def have_it_sent() -> None:
            peer.open(name)
            if readers > 1:
                other.open(name)
                other.read(name)
            dropped = await trio.to_thread.run_sync(peer.count, name, 0, many)

            def accounted_for() -> bool:
                said = bridge.statistics().received[name]
                return bool(said.passed + said.overwritten + dropped >= many)

            await eventually(accounted_for)
            received = numbers(got.drain())
            said = bridge.statistics().received[name]
            assert received == sorted(set(received))
            assert len(received) == said.passed
            assert said.passed + said.overwritten + dropped == many
            if readers == 1:
                assert said.overwritten == 0
                assert said.found_full > 0
            else:
                assert dropped == 0
                assert said.overwritten > 0
                assert received[-1] == many - 1  # the newest is kept
            scheduler.stop()

        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            nursery.start_soon(have_it_sent)


@pytest.mark.slow
async def test_all_that_is_sent_to_horus_is_received_there_or_counted(
    peer: HorusPeer, name: str
) -> None:
    many = 5000
    bridge = HorusBridge("horus", send=HorusTopic(name, capacity=64))
    scheduler = horus.Scheduler().add(bridge)

    async def send_it() -> None:
        peer.open(name)
        received = peer.read(name)
        for number in range(many):
            scheduler.topic(name).send({"number": number})
            if number % 50 == 0:
                await trio.lowlevel.checkpoint()
            if number % 500 == 0:
                received += await trio.to_thread.run_sync(peer.read, name)

        def accounted_for() -> bool:
            said = bridge.statistics().sent[name]
            return said.passed + said.refused + said.dropped >= many

        await eventually(accounted_for)
        received += peer.read(name)
        said = bridge.statistics().sent[name]
        assert numbers(received) == sorted(set(numbers(received)))
        assert len(received) == said.passed
        assert said.refused > 0
        assert said.passed + said.refused + said.dropped == many
        scheduler.stop()

    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        nursery.start_soon(send_it)


async def test_what_its_own_subscription_loses_is_counted(peer: HorusPeer, name: str) -> None:
    bridge = HorusBridge("horus", send=HorusTopic(name, topic=Sub(name, capacity=3)))
    async with open_harness(bridge) as h:
        peer.open(name)
        peer.read(name)
        for number in range(10):
            h.publish(name, {"number": number})
        await h.settle()
        assert numbers(peer.read(name)) == [0, 7, 8, 9]  # the first went to who waited for it
        said = bridge.statistics()
        assert (said.sent[name].passed, said.sent[name].dropped, said.lost) == (4, 6, 6)
    assert bridge.statistics() == said  # after its run, too


async def test_a_ring_that_nobody_reads_refuses_what_is_new(peer: HorusPeer, name: str) -> None:
    bridge = HorusBridge("horus", send=HorusTopic(name, capacity=4))
    async with open_harness(bridge) as h:
        peer.open(name)
        peer.read(name)
        for number in range(10):
            h.publish(name, {"number": number})
        await h.settle()
        assert numbers(peer.read(name)) == [0, 1, 2, 3]
        assert bridge.statistics().sent[name].refused == 6
        h.publish(name, {"number": 10})
        await h.settle()
        assert numbers(peer.read(name)) == [10]


class Holds:
    """Contains itself."""

    def __init__(self) -> None:
        self.itself: dict[str, Any] = {}
        self.itself["itself"] = self.itself

    def deeply(self, levels: int) -> Any:
        nested: Any = 1
        for _ in range(levels):
            nested = [nested]
        return nested


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (None, "cannot tell from no message"),
        ({"raw": b"bytes"}, "bytes is no data"),
        (object(), "object is no data"),
        ({"text": "x" * 5000}, "out of range"),
        ({1: "a"}, "not an instance of 'str'"),
        ({"big": 2**70}, "out of range"),
        (Holds().itself, "Circular"),  # HORUS's own process dies of it
        (Holds().deeply(50_000), "too deep"),
    ],
    ids=["None", "bytes", "object", "too large", "no text", "big", "itself", "deep"],
)
async def test_what_horus_has_not_is_counted_and_told(
    peer: HorusPeer, name: str, wrong: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = HorusBridge("horus", send=name)
    async with open_harness(bridge) as h:
        peer.open(name)
        peer.read(name)
        for data in (wrong, wrong, "good"):
            h.publish(name, data)
        await h.advance(1)
        assert peer.read(name) == ["good"]
        assert (bridge.statistics().sent[name].rejected, bridge.statistics().lost) == (2, 2)
        assert h.node_statistics().restarts == 0
    first, rest = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"a message to HORUS's topic {name!r} was rejected: ")
    assert why in first
    assert "once more" in rest or "1 more time" in rest


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (CmdVel, Vector3(1.0, 2.0, 3.0)),
        (CmdVel, {"linear": 1.0}),
        (CmdVel, {"linear": "fast", "angular": 1.0}),
        (OF_ONES_OWN, OF_ONES_OWN(math.nan, "fast")),
        (TOO_LONG, TOO_LONG(0.0, 1.0, [1.0] * 361)),
        (JointState, JointState(["a"] * 17, [1.0] * 17)),
        (JointState, JointState(["a name that is longer than HORUS's room"], [1.0])),
    ],
)
async def test_what_horus_would_cut_off_is_refused(
    peer: HorusPeer, name: str, cls: type[Any], wrong: Any
) -> None:
    bridge = HorusBridge("horus", send=HorusTopic(name, cls, topic="out"))
    async with open_harness(bridge) as h:
        peer.open(name, cls.__name__)
        peer.read(name)
        h.publish("out", wrong)
        await h.settle()
        assert peer.read(name) == []
        assert bridge.statistics().sent[name].rejected == 1
        assert h.node_statistics().restarts == 0


async def test_what_comes_and_is_not_of_the_topic_is_counted(
    peer: HorusPeer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = HorusBridge("horus", receive=HorusTopic(name, topic=Pub("in", type=dict)))
    async with open_harness(bridge) as h:
        peer.open(name)
        peer.send(name, {"a": 1}, "text", None, {"b": 2})
        await h.advance(POLL)
        assert h.sent("in") == [{"a": 1}, {"b": 2}]
        assert bridge.statistics().received[name].rejected == 2
        assert h.node_statistics().restarts == 0
    assert any(f"HORUS's topic {name!r} was rejected" in r.getMessage() for r in caplog.records)


# Who comes and goes


async def test_a_peer_ends_is_killed_and_comes_again(peer: HorusPeer, name: str) -> None:
    bridge = HorusBridge("horus", receive=f"{name}.in", send=name)
    async with open_harness(bridge) as h:
        await h.advance(1)  # nobody is there yet
        h.publish(name, "before")
        await h.settle()
        for end in (HorusPeer.end, HorusPeer.kill, HorusPeer.end):
            peer.open(f"{name}.in")
            peer.open(name)
            assert peer.read(name)[0] == "before"  # HORUS gives it to everybody who comes new
            peer.send(f"{name}.in", "hello")
            h.publish(name, "hello")
            await h.advance(POLL)
            assert peer.read(name) == ["hello"]
            end(peer)
            peer = HorusPeer()
        peer.end()
        h.publish(name, "anybody?")
        await h.advance(1)
        assert h.sent(f"{name}.in") == ["hello"] * 3
        assert bridge.statistics().lost == 0
        assert h.node_statistics().restarts == 0


@pytest.mark.slow
async def test_peers_that_are_killed_while_they_send(name: str) -> None:
    bridge = HorusBridge("horus", receive=name)
    scheduler = horus.Scheduler().add(bridge)
    got = scheduler.topic(name).subscribe(capacity=1_000_000)

    async def kill_them() -> None:
        run: list[Any] = []
        for first in (0, 10**8, 2 * 10**8):
            with HorusPeer() as peer:
                peer.open(name)
                peer.tell("count", name, first, first + 10**8)
                while not run or run[-1]["number"] < first + 500:
                    run.append(await got.receive())
                peer.kill()
        assert numbers(run) == sorted(set(numbers(run)))
        assert scheduler.statistics().nodes["horus"].restarts == 0
        scheduler.stop()

    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        nursery.start_soon(kill_them)


async def test_what_lay_there_before_it_is_skipped_or_not(peer: HorusPeer, name: str) -> None:
    late = f"{name}.late"
    peer.open(name)
    peer.open(late)
    peer.count(name, 0, 10)
    peer.count(late, 0, 10)
    one = f"{name}.one"
    peer.open(one)
    peer.send(one, "the only one")
    bridge = HorusBridge(
        "horus", receive=[name, HorusTopic(late, backlog=True), HorusTopic(one, backlog=True)]
    )
    async with open_harness(bridge) as h:
        await h.advance(POLL)
        assert h.sent(one) == ["the only one"]
        peer.count(name, 10, 12)
        peer.count(late, 10, 12)
        await h.advance(POLL)
        assert numbers(h.sent(name)) == [10, 11]
        assert numbers(h.sent(late)) == list(range(12))
        said = bridge.statistics()
        assert (said.received[name].skipped, said.received[late].skipped) == (10, 0)
        assert said.lost == 0


async def test_shared_memory_that_was_cleaned_away(
    peer: HorusPeer, name: str, namespace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = HorusBridge("horus", receive=f"in/{name}", send=name)
    async with open_harness(bridge) as h:
        await h.advance(2)
        clean(namespace, name)
        peer.open(f"in/{name}")
        peer.open(name)
        h.publish(name, "lost")
        peer.send(f"in/{name}", "skipped")
        await h.advance_until(lambda: h.state() is NodeState.BACKING_OFF, within=3)
        assert "was removed while it was in use" in str(h.node_statistics().last_error)
        h.publish(name, "held")
        await h.advance_until(lambda: h.state() is NodeState.RUNNING, within=3)
        peer.read(name)
        peer.send(f"in/{name}", "well")
        h.publish(name, "well")
        await h.advance(3 * POLL)
        assert h.sent(f"in/{name}") == ["well"]
        assert peer.read(name) == ["well"]
        said = bridge.statistics()
        assert said.received[f"in/{name}"].skipped == 1
        assert said.sent[name].held == 1
        assert h.node_statistics().restarts == 1


async def test_shared_memory_that_was_cleaned_away_while_nobody_was_there(
    peer: HorusPeer, name: str, namespace: Path
) -> None:
    bridge = HorusBridge("horus", receive=name)
    async with open_harness(bridge) as h:
        await h.advance(2)
        clean(namespace, name)
        await h.advance_until(lambda: h.state() is NodeState.BACKING_OFF, within=3)
        await h.advance_until(lambda: h.state() is NodeState.RUNNING, within=3)
        peer.open(name)
        peer.send(name, "well")
        await h.advance(3 * POLL)
        assert h.sent(name) == ["well"]


async def test_a_topic_that_has_other_messages(peer: HorusPeer, name: str) -> None:
    peer.open(name)
    bridge = HorusBridge("horus", receive=[f"first.{name}", HorusTopic(name, CmdVel)])
    async with open_harness(bridge) as h:
        await h.advance(0.01)
        assert not list_of_open(f"first.{name}")
        error = str(h.node_statistics().last_error)
        assert f"HorusTopicError: HORUS does not open topic {name!r}" in error
        assert "type size mismatch" in error
        peer.end()  # the topic goes with it
        await h.advance_until(lambda: h.state() is NodeState.RUNNING, within=5)
        with HorusPeer() as other:
            other.open(name, "CmdVel")
            other.make_and_send(name, "CmdVel", {"linear": 1.0, "angular": 2.0})
            await h.advance(POLL)
            assert h.sent(name) == [CmdVel(1.0, 2.0)]


async def test_a_bridge_can_run_again_and_again(peer: HorusPeer, name: str) -> None:
    bridge = HorusBridge("horus", receive=f"{name}.in", send=name)
    peer.open(f"{name}.in")
    peer.open(name)
    peer.read(name)
    for run in (1, 2):
        async with open_harness(bridge) as h:
            for number in range(101):
                h.publish(name, number)
            await h.settle()
            peer.send(f"{name}.in", run)
            await h.advance(POLL)
            assert h.sent(f"{name}.in") == [run]
            assert peer.read(name) == [0, *range(37, 101)]
        assert bridge.statistics().sent[name].dropped == 36 * run
        assert bridge.statistics().sent[name].passed == 65 * run


# Emergencies


async def test_in_an_emergency_the_safe_state_is_sent_and_no_command(
    peer: HorusPeer, name: str
) -> None:
    class Motors(HorusBridge):
        critical = True

        def enter_safe_state(self) -> None:
            self.deliver(name, {"speed": 0})

    bridge = Motors("motors", receive=f"{name}.in", send=name)
    peer.open(name)
    peer.open(f"{name}.in")
    async with open_harness(bridge) as h:
        peer.read(name)
        h.publish(name, {"speed": 1})
        await h.settle()
        h.scheduler.emergency_stop("somebody is in the cell")
        await h.settle()
        h.publish(name, {"speed": 2})
        await h.settle()
        assert h.state() is NodeState.SAFE
        assert peer.read(name) == [{"speed": 1}, {"speed": 0}]
        assert bridge.statistics().sent[name].held == 1
        h.scheduler.reset_emergency()
        await h.advance(1)
        h.publish(name, {"speed": 3})
        peer.send(f"{name}.in", "well")
        await h.advance(POLL)
        assert peer.read(name) == [{"speed": 3}]
        assert h.sent(f"{name}.in") == ["well"]
        with pytest.raises(UnknownTopic, match=f"did you mean {name!r}"):
            bridge.deliver(name + "x", 1)
        with pytest.raises(ValueError, match="no message"):
            bridge.deliver(name, None)
    with pytest.raises(HorusTopicError, match="is not open"):
        bridge.deliver(name, 1)


async def test_a_tick_that_was_abandoned_delivers_nothing(peer: HorusPeer, name: str) -> None:
    bridge = HorusBridge("horus", send=name)
    peer.open(name)
    peer.read(name)
    fence = Fence("slow")

    def tick() -> None:
        current_fence.set(fence)
        assert bridge.deliver(name, 1)
        fence.close()
        with pytest.raises(horus.TickAbandoned):
            bridge.deliver(name, 2)

    async with open_harness(bridge):
        contextvars.copy_context().run(tick)
        assert peer.read(name) == [1]


# Mistakes


def test_wrong_declarations() -> None:
    def refused(match: str, **arguments: Any) -> None:
        with pytest.raises(ConfigurationError, match=match):
            HorusBridge("horus", **arguments)

    refused(r"expected receive=\[…\], send=\[…\], or both")
    refused("'a' is in receive= and in send=.*would come back", receive="a", send=["a"])
    refused("has topic 'a' twice", receive=["a", HorusTopic("a", CmdVel)])
    refused("two topics of HORUS's for 'x'", send=[HorusTopic(n, topic="x") for n in "ab"])
    refused("backlog=True, which is for", send=HorusTopic("a", backlog=True))
    refused(r"receive=5, expected the name", receive=5)
    refused(r"send=\[\], expected the name", send=[[]])
    refused(r"horus_trio.Pub\(…\)", receive=HorusTopic("a", topic=Sub("b")))
    refused(r"horus_trio.Sub\(…\)", send=HorusTopic("a", topic=Pub("b")))
    refused("no messages of that name", receive=HorusTopic("a", NotThere))
    refused("has a field 'speed', which HORUS's has not", send=Wrong)
    refused("or a dataclass with its fields", send=HorusTopic("a", type("Pose2D", (), {})))
    refused("no option 'reats'; did you mean 'rate'", receive="a", reats=5)
    for name in ("", "a b", "ä", "/abs", "..", "a/../b", "a@b", "a" * 201, "a\n", 5):
        with pytest.raises(ConfigurationError, match="expected a name of ASCII letters"):
            HorusTopic(name)  # type: ignore[arg-type]
    for capacity in (0, -1, 65_537, 10**9, True, 1.5):
        with pytest.raises(ConfigurationError, match="expected a whole number from 1 to 65536"):
            HorusTopic("a", capacity=capacity)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="expected a message class, or None"):
        HorusTopic("a", "CmdVel")  # type: ignore[arg-type]


class NotThere:
    pass


@dataclass
class Speed:
    speed: float


Wrong = type("Twist", (Speed,), {})


def test_horus_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.machinery.PathFinder, "find_spec", lambda *_: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'horus-trio\[horus\]'"):
        HorusBridge("horus", receive="a")


def test_another_package_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "horus.py").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ConfigurationError, match=r"horus in .*horus.py is another"):
        HorusBridge("horus", receive="a")


def test_a_package_that_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "horus").mkdir()
    (tmp_path / "horus" / "__init__.py").write_text("")
    (tmp_path / "horus" / "_horus.abi3.so").write_text("of another machine")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ConfigurationError, match=r"cannot be loaded .*--force-reinstall"):
        HorusBridge("horus", receive="a")


# What HORUS's package does to this process


ALONE = """
import json, os, signal, sys, types

def look():
    status = open("/proc/self/status").read().splitlines()
    masks = [line for line in status if line.startswith("Sig")]
    handlers = [str(signal.getsignal(s)) for s in sorted(signal.valid_signals())]
    return [masks, handlers, len(os.listdir("/proc/self/task"))]

import horus_trio
import horus_trio.bridges
imported = sorted(n for n in sys.modules if n.split(".")[0] in ("horus", "trio_asyncio"))
facade = sys.modules["horus"] = sys.modules["horus._horus"] = types.ModuleType("horus")
before = look()
from horus_trio.bridges import HorusBridge, HorusTopic
from horus_trio.bridges.horus_process import conversion, package, ring
native = package.load_horus("this")
send, receive = (HorusTopic(name, None) for name in ("alone", "alone"))
outlet = ring.Outlet(native, send, conversion.conversion(native, send))
inlet = ring.Inlet(native, receive, conversion.conversion(native, receive))
inlet.join(backlog=False)
outlet.open()
outlet.send({"x": 1})
got = inlet.take(2, print)
opened = look()
inlet.close()
outlet.close()
after = look()
HorusBridge("horus", receive="alone")
facade_is_there = sys.modules["horus"] is facade
print(json.dumps([imported, before, opened, after, got, facade_is_there]))
"""


@pytest.mark.slow
def test_it_leaves_signals_threads_and_the_name_horus_alone() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ALONE], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    imported, before, opened, after, got, facade_is_there = json.loads(ended.stdout)
    assert imported == []
    assert before == opened == after
    assert got == [{"x": 1}]
    assert facade_is_there
