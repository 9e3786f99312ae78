"""What a worker process does for one tick, asked in this process: it is a function of a job."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

import horus_trio as horus
from horus_trio import NodeError, Tick
from horus_trio.executor.process import far_side, ticks
from horus_trio.executor.process.parcels import (
    EmergencyAsked,
    Input,
    Job,
    Logged,
    NodeParcel,
    Parcel,
    Reply,
    Sent,
    StopAsked,
    dump,
    flaw,
    state_of,
)
from horus_trio.executor.process.tally import Tally


class Arm(horus.Node):
    """Does in its tick what its `task` says."""

    thread = "process"

    def __init__(self, task: Callable[[Any], Any]) -> None:
        super().__init__("arm")
        self.task = task
        self.same = [1]
        self.kept: Any = None

    def tick(self) -> Any:
        return self.task(self)


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    logger = logging.getLogger("horus_trio.node.arm")
    level = logger.level
    yield
    logger.setLevel(level)


def work(
    task: Callable[[Any], Any], *inputs: Input, tally: Tally | None = None, level: int = 20
) -> tuple[Reply, Arm]:
    """Have a tick done; the reply, and the node that it is for."""
    node = Arm(task)
    with closing(Tally(len(inputs)) if tally is None else tally) as counters:
        job = Job(
            node=NodeParcel.of(node),
            tick=Tick(seq=12, scheduled=1007.0),
            previous=1006.5,
            period=0.5,
            max_ages={"in": 3.0},
            lead=1000.0,
            inputs=inputs,
            tally=counters.path,
            log_level=level,
        )
        reply: Reply = Parcel(far_side.work(dump(job, node))).open(node)
    return reply, node


def given(topic: str, *messages: Any, latest: Any = None, at: float = 0.0) -> Input:
    node = Arm(print)
    waiting = tuple(Parcel.of(message, "it", node) for message in messages)
    newest = None if latest is None else Parcel.of(latest, "it", node)
    return Input(topic=topic, waiting=waiting, latest=newest, latest_at=at)


def value_of(task: Callable[[Any], Any], *inputs: Input) -> Any:
    reply, node = work(task, *inputs)
    if reply.error is not None:
        raise reply.error.open(node)
    return reply.value.open(node)


# What a tick sees


def sees(node: Any) -> Any:
    return node.name, node.current_tick, node.dt, node.now


def test_a_tick_sees_its_instants_on_the_clock_of_its_robot() -> None:
    before = time.perf_counter() + 1000.0
    reply, node = work(sees)
    name, tick, dt, now = reply.value.open(node)
    assert (name, tick, dt) == ("arm", Tick(seq=12, scheduled=1007.0), 0.5)
    assert before <= reply.started <= now <= time.perf_counter() + 1000.0


def takes_one(node: Any) -> Any:
    depth = node._seat.subscription("in").depth
    return depth, node.has_msg("in"), node.recv("in"), node._seat.subscription("in").depth


def takes_three(node: Any) -> Any:
    return [node.recv("in", "none") for _ in range(3)], node.has_msg("in")


def takes_all(node: Any) -> Any:
    return node.recv("in"), node.recv_all("in"), node.recv_all("in"), node.recv("other")


def test_its_inputs_are_the_messages_that_waited() -> None:
    waiting = given("in", "a", "b")
    assert value_of(takes_one, waiting) == (2, True, "a", 1)
    assert value_of(takes_three, waiting) == (["a", "b", "none"], False)
    assert value_of(takes_all, waiting, given("other", "x")) == ("a", ["b"], [], "x")


@pytest.mark.parametrize(
    ("task", "taken"), [(takes_one, [1, 0]), (takes_three, [2, 0]), (takes_all, [3, 1])]
)
def test_what_it_takes_of_each_is_counted(task: Callable[[Any], Any], taken: list[int]) -> None:
    counts: list[int] = []

    class Read(Tally):
        def close(self) -> None:
            counts.extend(self.read(index) for index in range(2))
            super().close()

    messages = ["a", "b"] if task is not takes_all else ["a", "b", "c"]
    work(task, given("in", *messages), given("other", "x"), tally=Read(2))
    assert counts == taken


def sees_the_latest(node: Any) -> Any:
    return node.latest("in", "none"), node.latest("in", "none", max_age=1e9), node.age("in")


def test_the_latest_message_and_its_age_are_what_was_told() -> None:
    latest, young, age = value_of(sees_the_latest, given("in", latest="new", at=999.0))
    assert (latest, young) == ("none", "new")  # it is older than the 3 s it may be
    assert 1.0 < age < time.perf_counter() + 2.0
    now = time.perf_counter() + 1000.0
    assert value_of(sees_the_latest, given("in", latest="new", at=now))[:2] == ("new", "new")
    assert value_of(sees_the_latest, given("in"))[:2] == ("none", "none")


def takes_undeclared(node: Any) -> None:
    node.recv("elsewhere")


def looks_at_undeclared(node: Any) -> None:
    node.latest("elsewhere")


def begins_a_task(node: Any) -> None:
    node.start_soon(trio.sleep, 1)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (takes_undeclared, "topic 'elsewhere' cannot be read in a worker process"),
        (looks_at_undeclared, "topic 'elsewhere' cannot be read in a worker process"),
        (begins_a_task, "its tick runs in another process"),
    ],
)
def test_what_cannot_work_raises_where_it_is_called(
    task: Callable[[Any], Any], message: str
) -> None:
    with pytest.raises(NodeError, match=message):
        value_of(task, given("in"))


def asks_its_engine(node: Any) -> Any:
    engine = node._seat.engine
    if engine.is_held:
        return "held"
    engine.fail(OSError("the line is dead"))
    return "went on"


def test_what_a_tick_has_begun_itself_fails_in_the_tick() -> None:
    with pytest.raises(OSError, match="the line is dead"):
        value_of(asks_its_engine)


# What it does


def does_much(node: Any) -> str:
    node.send("out", 1)
    node.log.debug("of no interest")
    node.log.info("one %s", "argument")
    node.send("out", [2])
    node.request_stop("enough")
    node.emergency_stop("too close")
    return "done"


def test_what_it_does_is_written_down_in_order() -> None:
    reply, node = work(does_much)
    assert reply.value.open(node) == "done"
    assert [type(event) for event in reply.events] == [
        Sent,
        Logged,
        Sent,
        StopAsked,
        EmergencyAsked,
    ]
    first, logged, second, stop, emergency = reply.events
    assert isinstance(first, Sent)
    assert isinstance(second, Sent)
    assert isinstance(logged, Logged)
    assert [(e.topic, e.data.open(node)) for e in (first, second)] == [("out", 1), ("out", [2])]
    record = logging.makeLogRecord(logged.record.open(node))
    assert (record.getMessage(), record.levelname) == ("one argument", "INFO")
    assert (stop, emergency) == (StopAsked("enough"), EmergencyAsked("too close"))
    assert (reply.error, reply.trace) == (None, "")


def test_records_are_those_that_its_robot_would_keep() -> None:
    reply, _ = work(does_much, level=logging.DEBUG)
    assert [type(event) for event in reply.events].count(Logged) == 2


def logs_a_lock(node: Any) -> None:
    node.log.info("with more", extra={"lock": threading.Lock(), "gain": 3})


def test_a_record_whose_fields_cannot_travel_has_their_texts() -> None:
    reply, node = work(logs_a_lock)
    [event] = reply.events
    assert isinstance(event, Logged)
    fields = event.record.open(node)
    assert "unlocked _thread.lock" in fields["lock"]
    assert (fields["gain"], fields["msg"], fields["levelno"]) == (3, "with more", 20)
    assert fields["exc_info"] is None


def sends_a_lock(node: Any) -> None:
    node.send("out", [threading.Lock()])


def test_a_message_that_cannot_travel_is_refused_and_says_which_part() -> None:
    with pytest.raises(NodeError, match=r"the message to topic 'out'\[0\]: .* can be pickled go"):
        value_of(sends_a_lock)


def changes(node: Any) -> None:
    node.kept = node.twin = {"deep": 1}
    node.same = [1]
    del node.task


def test_only_what_has_changed_comes_back() -> None:
    reply, node = work(changes)
    assert vars(reply.changed.open(node)) == {"kept": {"deep": 1}, "twin": {"deep": 1}}
    assert reply.deleted == ("task",)


def sends_later(node: Any) -> None:
    node.kept = node


def test_a_node_that_keeps_itself_keeps_its_other_self() -> None:
    reply, node = work(sends_later)
    assert reply.changed.open(node).kept is node


# What it raises


class Picky(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__("as picky as it gets")


class Text(Exception):
    def __reduce__(self) -> Any:
        return str, ("no error",)


def fails(node: Any) -> None:
    node.send("out", "before")
    node.kept = "before"
    raise ValueError("no solution")


def is_picky(node: Any) -> None:
    raise Picky(1, 2)


def becomes_a_text(node: Any) -> None:
    raise Text("so it is")


def leaves(node: Any) -> None:
    raise SystemExit(7)


def test_an_error_comes_after_what_was_done_with_its_traceback() -> None:
    reply, node = work(fails)
    assert reply.error is not None
    error = reply.error.open(node)
    assert (type(error), str(error)) == (ValueError, "no solution")
    assert len(reply.events) == 1
    assert reply.changed.open(node).kept == "before"
    assert reply.value.open(node) is None
    assert reply.trace.startswith("in its worker process ")
    assert "in work" not in reply.trace  # the first frame is the node's
    assert ", in tick\n" in reply.trace
    assert reply.trace.endswith("ValueError: no solution")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (is_picky, r"Picky: as picky as it gets \(a substitute: .*missing 1 required"),
        (becomes_a_text, r"Text: so it is \(a substitute: .*it comes back as 'no error'"),
    ],
)
def test_an_error_that_does_not_arrive_has_a_substitute(
    task: Callable[[Any], Any], message: str
) -> None:
    with pytest.raises(horus.WorkerFailed, match=message):
        value_of(task)


def test_leaving_is_an_error_of_the_tick() -> None:
    with pytest.raises(SystemExit) as caught:
        value_of(leaves)
    assert caught.value.code == 7


def test_a_node_that_cannot_be_rebuilt_is_said_at_the_rehearsal() -> None:
    whole = NodeParcel.of(Arm(sees))
    assert far_side.rehearse(whole) == ""
    broken = NodeParcel(pickle.dumps(Arm).replace(b"Arm", b"Leg"), whole.rest, whole.name)
    assert far_side.rehearse(broken).startswith("AttributeError: ")


def test_a_worker_whose_robot_is_gone_takes_the_counters_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ends: list[int] = []
    monkeypatch.setattr("os._exit", ends.append)
    file = tmp_path / "counters"
    file.touch()
    far_side._follow(lambda: None, str(file))
    assert not file.exists()
    far_side._follow(lambda: None, str(file))  # its robot was quicker
    far_side._follow(lambda: None, "")
    assert ends == [1, 1, 1]


# What goes to and fro


def test_counters_are_shared_and_go_with_whoever_made_them() -> None:
    with closing(Tally(2)) as mine:
        assert [mine.read(0), mine.read(1)] == [0, 0]
        with closing(Tally.of(mine.path)) as theirs:
            theirs.add(1, 3)
            theirs.add(1, 4)
            theirs.add(0, 1)
            assert [theirs.read(0), theirs.read(1)] == [1, 7]
        assert Path(mine.path).exists()
        assert Path(mine.path).name.startswith("horus_trio-")
        assert [mine.read(0), mine.read(1)] == [1, 7]
        mine.clear()
        assert [mine.read(0), mine.read(1)] == [0, 0]
    assert not Path(mine.path).exists()
    for closed in (mine, theirs):
        with pytest.raises(ValueError, match="closed"):
            closed.read(0)


def test_a_node_without_inputs_has_counters_too() -> None:
    with closing(Tally(0)) as tally:
        assert tally.read(0) == 0


class Deep:
    def __init__(self, inner: Any) -> None:
        self.inner = inner


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda lock: lock, "it: "),
        (lambda lock: [0, (1, lock)], "it[1][1]: "),
        (lambda lock: {"a": 1, "b": {"c": lock}}, "it['b']['c']: "),
        (lambda lock: Deep(Deep(lock)), "it.inner.inner: "),
        (lambda lock: [[[[[lock]]]]], "it[0][0][0][0][0]: "),
        (lambda lock: [[[[[[lock]]]]]], "it[0][0][0][0][0]: "),
        (lambda lock: [[lock], [lock]], "it[0][0]: "),
    ],
)
def test_what_cannot_be_pickled_is_named_to_a_depth(make: Callable[[Any], Any], path: str) -> None:
    node = Arm(print)
    problem = flaw(make(threading.Lock()), "it", node)
    assert problem == f"{path}TypeError: cannot pickle '_thread.lock' object"
    assert Parcel.of(make(threading.Lock()), "it", node) == Parcel(problem=problem)
    assert flaw([1, node], "it", node) == ""


def test_a_class_inside_a_function_is_named_itself() -> None:
    class Local:
        attribute = threading.Lock()

    assert flaw([Local], "it", Arm(print)).startswith("it[0]: ")


def test_a_parcel_is_the_thing_or_says_why_not() -> None:
    node = Arm(print)
    assert Parcel.of({"a": 1}, "it", node).open(node) == {"a": 1}
    with pytest.raises(NodeError, match=r"it: TypeError: .*; only what can be pickled goes"):
        Parcel.of(threading.Lock(), "it", node).open(node)
    with pytest.raises(NodeError, match="what came from the other process cannot be rebuilt"):
        Parcel(b"no pickle").open(node)


def test_the_engines_attributes_stay_where_they_are() -> None:
    node = Arm(print)
    assert state_of(node) == {"task": print, "same": [1], "kept": None}
    other = NodeParcel.of(node).rebuild()
    assert (type(other), other.name, vars(other)["same"]) == (Arm, "arm", [1])
    assert other._functions == {}
    assert (other._options, other._owner, other._log, other._seat) == ({}, None, None, None)


def test_a_function_is_a_node_there_too() -> None:
    node = horus.Node("arm", tick=sees, thread="process")
    other = NodeParcel.of(node).rebuild()
    tick: Any = other._functions["tick"]
    assert (tick.func, tick.args) == (sees, (other,))


# The end of a worker


async def test_a_worker_is_killed_once() -> None:
    scope = trio.CancelScope()
    assert ticks._cancel_once(scope) is True
    assert scope.cancel_called
    assert ticks._cancel_once(scope) is False


class Process:
    def __init__(self, exitcode: int | None) -> None:
        self.exitcode = exitcode


@pytest.mark.parametrize(
    ("arguments", "end"),
    [
        ((), "died"),
        (("it broke",), "died"),
        (("it broke", Process(None)), "died"),
        (("it broke", Process(0)), "exited with code 0 instead of answering"),
        (("it broke", Process(3)), "exited with code 3 instead of answering"),
        (
            ("it broke", Process(-9)),
            "was killed by SIGKILL (perhaps by the system, for want of memory)",
        ),
        (("it broke", Process(-11)), "was killed by SIGSEGV"),
        (("it broke", Process(-250)), "was killed by signal 250"),
    ],
)
def test_how_a_worker_has_ended_is_said(arguments: tuple[Any, ...], end: str) -> None:
    assert ticks._end_of(Exception(*arguments)) == end
