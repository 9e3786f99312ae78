"""`cancel_everywhere` finds planted bugs, each at its line, and lets correct operations pass."""

from __future__ import annotations

import collections
import contextlib
import linecache
import math
import os
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from horus_trio import AsyncNode, Link
from horus_trio.errors import ConfigurationError, HorusError
from horus_trio.testing import VirtualClock, open_harness
from horus_trio.testing.cancellation import (
    CancellationBroken,
    Finding,
    Sweep,
    cancel_everywhere,
    sweeper,
)
from horus_trio.testing.cancellation.attempt import Cut
from horus_trio.testing.cancellation.findings import Findings
from horus_trio.testing.leftovers import all_tasks, child_processes, system_tasks, whats_there
from horus_trio.testing.places import Place

BEFORE, WAITING, WOKEN = "before it began", "while it waited", "as it was woken"


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "GRACE", 0.1)


def line_of(bug: str) -> int:
    [number] = [
        number
        for number, line in enumerate(linecache.getlines(__file__), 1)
        if line.rstrip().endswith(f"# bug: {bug}")
    ]
    return number


async def caught(
    make: Callable[[], Any],
    use: Callable[[Any], Awaitable[object]],
    problem: str,
    checkpoint: int,
    moment: str,
    bug: str,
    **options: Any,
) -> Finding:
    """The finding of that problem at that checkpoint; it names the line of the bug."""
    findings = await findings_of(make, use, **options)
    found = [f for f in findings if (f.problem, f.checkpoint) == (problem, checkpoint)]
    assert moment in {f.moment for f in found}, findings
    finding = next(f for f in found if f.moment == moment)
    assert (finding.file, finding.line) == (__file__, line_of(bug))
    return finding


async def findings_of(
    make: Callable[[], Any], use: Callable[[Any], Awaitable[object]], **options: Any
) -> tuple[Finding, ...]:
    with pytest.raises(CancellationBroken) as error:
        await cancel_everywhere(make, use, **options)
    assert error.value.findings
    return error.value.findings


class Planted:
    """Operations with one bug each, and what they need."""

    def __init__(self) -> None:
        self.buffer = [b"h", b"o", b"r"]
        self.limiter = trio.CapacityLimiter(2)
        self.lock = trio.Lock()
        self.thread_lock = threading.Lock()
        self.slots = trio.Semaphore(2)
        self.delivered: list[str] = []
        self.in_use = 0

    async def lost_byte(self) -> bytes:
        byte = self.buffer.pop(0)
        await trio.lowlevel.checkpoint()  # bug: lost-byte
        return byte

    async def leaked_token(self) -> None:
        await self.limiter.acquire()
        await trio.lowlevel.checkpoint()  # bug: leaked-token
        self.limiter.release()

    async def held_lock(self) -> None:
        await self.lock.acquire()  # bug: acquired-lock
        await trio.lowlevel.checkpoint()  # bug: held-lock
        self.lock.release()

    async def held_thread_lock(self) -> None:
        self.thread_lock.acquire()
        await trio.lowlevel.checkpoint()  # bug: held-thread-lock
        self.thread_lock.release()

    async def lost_slot(self) -> None:
        await self.slots.acquire()
        await trio.lowlevel.checkpoint()  # bug: lost-slot
        self.slots.release()

    async def slot_given_back_twice(self) -> None:
        await self.slots.acquire()
        try:
            await trio.lowlevel.checkpoint()  # bug: twice-released
        except trio.Cancelled:
            self.slots.release()
            raise
        finally:
            self.slots.release()

    async def delivered_twice(self) -> None:
        self.delivered.append("message")
        await trio.lowlevel.checkpoint()  # bug: delivered-twice

    async def never_counted_down(self) -> None:
        while self.in_use:  # noqa: ASYNC110 - home-made
            await trio.sleep(0.001)
        self.in_use += 1
        await trio.lowlevel.checkpoint()  # bug: never-counted-down
        self.in_use -= 1


# What is lost, kept or done twice


async def test_a_byte_taken_before_a_checkpoint_is_lost() -> None:
    finding = await caught(Planted, Planted.lost_byte, "lost or changed", 1, WAITING, "lost-byte")
    assert "returned b'o', expected b'h'" in finding.text


async def test_a_token_not_given_back() -> None:
    finding = await caught(Planted, Planted.leaked_token, "token held", 2, WAITING, "leaked-token")
    assert "obj.limiter, a trio.CapacityLimiter, is 1 more taken than before" in finding.text


async def test_a_trio_lock_left_held() -> None:
    finding = await caught(
        Planted, Planted.held_lock, "lock held", 2, WAITING, "held-lock", repeat=False
    )
    assert "obj.lock, a trio.Lock, is held" in finding.text


async def test_a_lock_left_held_hangs_a_repetition_that_is_not_told() -> None:
    class Patient(Planted):
        async def held_lock(self) -> None:
            while self.lock.locked():
                await trio.lowlevel.checkpoint()
            await super().held_lock()

    await caught(Patient, Patient.held_lock, "hangs", 1, WAITING, "acquired-lock", deadline=0.2)


async def test_a_thread_lock_left_held() -> None:
    finding = await caught(
        Planted,
        Planted.held_thread_lock,
        "lock held",
        1,
        WAITING,
        "held-thread-lock",
        repeat=False,
    )
    assert "obj.thread_lock, a threading.Lock" in finding.text


async def test_a_slot_of_a_semaphore_is_lost() -> None:
    await caught(Planted, Planted.lost_slot, "token held", 2, WAITING, "lost-slot")


async def test_a_slot_is_given_back_twice() -> None:
    await caught(
        Planted,
        Planted.slot_given_back_twice,
        "token returned twice",
        2,
        WAITING,
        "twice-released",
    )


async def test_a_message_is_delivered_twice() -> None:
    finding = await caught(
        Planted,
        Planted.delivered_twice,
        "done twice or lost",
        1,
        WAITING,
        "delivered-twice",
        observe=lambda planted: tuple(planted.delivered),
    )
    assert "saw ('message', 'message'), expected ('message',)" in finding.text


async def test_a_counter_that_is_never_counted_down_hangs_the_repetition() -> None:
    finding = await caught(
        Planted,
        Planted.never_counted_down,
        "hangs",
        0,
        BEFORE,
        "never-counted-down",
        deadline=0.2,
    )
    assert "its repetition was still running after 0.2 s" in finding.text
    assert "await trio.sleep(0.001)" in finding.text


class Mailbox:
    """Hands each item to the task that waits, and has a bug, or two."""

    def __init__(self, *, stale: bool = False) -> None:
        self.items = collections.deque[int]()
        self.waiting = collections.deque[tuple[trio.lowlevel.Task, list[int]]]()
        self.stale = stale
        self.sent = 0

    async def send(self) -> None:
        await trio.lowlevel.checkpoint()
        self.sent += 1
        if self.waiting:
            task, hand = self.waiting.popleft()
            hand.append(self.sent)
            if not self.stale or task.coro.cr_frame is not None:
                with contextlib.suppress(AssertionError):
                    trio.lowlevel.reschedule(task)
        else:
            self.items.append(self.sent)

    async def receive(self) -> int:
        if not self.items:
            entry = (trio.lowlevel.current_task(), list[int]())
            self.waiting.append(entry)

            def abort(_: object) -> trio.lowlevel.Abort:
                if not self.stale:
                    self.waiting.remove(entry)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)  # bug: not-delivered
            if not self.stale:
                await trio.lowlevel.checkpoint_if_cancelled()
            return entry[1].pop()
        await trio.lowlevel.checkpoint_if_cancelled()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return self.items.popleft()

    async def exchange(self) -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.send)
            return await self.receive()


async def test_an_item_taken_and_not_delivered_shows_only_as_it_is_woken() -> None:
    await caught(Mailbox, Mailbox.exchange, "lost or changed", 1, WOKEN, "not-delivered")
    findings = await findings_of(Mailbox, Mailbox.exchange)
    assert {(f.problem, f.moment) for f in findings} == {("lost or changed", WOKEN)}


async def test_a_stale_waiter_swallows_the_next_item() -> None:
    async def exchange_two(mailbox: Mailbox) -> int:
        async with trio.open_nursery() as nursery:
            received = list[int]()

            async def receive() -> None:
                received.append(await mailbox.receive())
                nursery.cancel_scope.cancel()

            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            while True:
                await mailbox.send()
        return received[0]

    findings = await findings_of(lambda: Mailbox(stale=True), exchange_two)
    lost = [f for f in findings if f.problem == "lost or changed" and f.moment == WAITING]
    assert line_of("not-delivered") in {f.line for f in lost}


# How it ends


async def test_cancelled_is_swallowed() -> None:
    async def swallow(_: object) -> str:
        try:
            await trio.lowlevel.checkpoint()  # bug: swallowed
        except trio.Cancelled:
            return "stopped"
        return "slept"

    finding = await caught(object, swallow, "swallowed Cancelled", 1, WAITING, "swallowed")
    assert "returned 'stopped'" in finding.text


async def test_cancelled_becomes_another_error() -> None:
    async def fail(_: object) -> None:
        try:
            await trio.lowlevel.checkpoint()  # bug: another-error
        except trio.Cancelled:
            raise ValueError("no answer") from None

    finding = await caught(object, fail, "raised", 1, WAITING, "another-error")
    assert "raised ValueError('no answer')" in finding.text


async def test_a_shield_that_never_ends() -> None:
    async def shield(_: object) -> None:
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep_forever()  # bug: shield
            raise

    began = time.monotonic()
    await caught(object, shield, "hangs", 0, BEFORE, "shield", deadline=0.3)
    assert time.monotonic() - began < 10.0


async def test_a_loop_that_discards_every_cancellation() -> None:
    async def insist(_: object) -> None:
        await trio.lowlevel.checkpoint()
        while True:
            try:
                await trio.lowlevel.checkpoint()  # bug: insists
            except trio.Cancelled:
                continue
            return

    await caught(object, insist, "hangs", 2, WAITING, "insists", deadline=0.2)


async def test_a_hang_in_a_nursery_of_the_operation() -> None:
    async def gather(_: object) -> None:
        async def stubborn() -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep_forever()  # bug: stubborn

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stubborn)
            nursery.start_soon(trio.sleep_forever)

    findings = await findings_of(object, gather, deadline=0.2)
    assert [f.problem for f in findings] == ["hangs"]
    assert findings[0].line == line_of("stubborn")


async def test_a_thread_that_the_operation_waits_for_is_given_time_to_end() -> None:
    async def compute(_: object) -> None:
        await trio.to_thread.run_sync(time.sleep, 0.3)  # bug: slow-thread

    finding = await caught(
        object, compute, "hangs", 0, "not cancelled", "slow-thread", deadline=0.2
    )
    assert "not cancelled" in finding.moment


async def test_what_refuses_to_be_woken_is_woken_by_force() -> None:
    def refuse(_: object) -> trio.lowlevel.Abort:
        return trio.lowlevel.Abort.FAILED

    async def refuse_to_wake(_: object) -> None:
        await trio.lowlevel.wait_task_rescheduled(refuse)  # bug: refuses

    began = time.monotonic()
    await caught(object, refuse_to_wake, "hangs", 0, "not cancelled", "refuses", deadline=0.2)
    assert 0.3 < time.monotonic() - began < 10.0


async def test_a_loop_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "CHECKPOINTS", 3)

    async def yield_often(_: object) -> None:
        for _ in range(5):
            await trio.lowlevel.checkpoint()

    with pytest.raises(CancellationBroken, match="more than 3 checkpoints"):
        await cancel_everywhere(object, yield_often)


async def test_an_operation_without_a_checkpoint() -> None:
    async def think(_: object) -> int:  # bug: no-checkpoint
        return 42

    await caught(object, think, "no checkpoint", 0, "not cancelled", "no-checkpoint")


async def test_closing_after_a_cancelled_operation_fails() -> None:
    class Device:
        closed = False

        async def command(self) -> None:
            try:
                await trio.lowlevel.checkpoint()  # bug: double-close
            except trio.Cancelled:
                await self.aclose()
                raise

        async def aclose(self) -> None:
            if self.closed:
                raise RuntimeError("closed twice")
            self.closed = True

    finding = await caught(
        Device, Device.command, "close failed", 1, WAITING, "double-close", repeat=False
    )
    assert "closed twice" in finding.text


async def test_closing_hangs() -> None:
    class Device:
        busy = False

        async def command(self) -> None:
            self.busy = True
            await trio.lowlevel.checkpoint()  # bug: busy
            self.busy = False

        async def aclose(self) -> None:
            while self.busy:  # noqa: ASYNC110 - home-made
                await trio.sleep(0.001)

    finding = await caught(
        Device, Device.command, "hangs", 0, BEFORE, "busy", repeat=False, deadline=0.2
    )
    assert "the closing of its object was still running after 0.2 s" in finding.text


async def test_a_closed_object_may_refuse_the_repetition() -> None:
    class Connection:
        broken = False

        async def send(self) -> str:
            if self.broken:
                raise trio.BrokenResourceError
            self.broken = True
            await trio.lowlevel.checkpoint()
            self.broken = False
            return "sent"

    await cancel_everywhere(Connection, Connection.send, observe=lambda c: c.broken)


async def test_a_repetition_that_fails() -> None:
    class Once:
        used = False

        async def send(self) -> None:
            if self.used:
                raise RuntimeError("used already")
            self.used = True
            await trio.lowlevel.checkpoint()  # bug: used-already

    await caught(Once, Once.send, "raised", 1, WAITING, "used-already")


# What is left behind


@pytest.fixture
def kept() -> Iterator[list[Callable[[], object]]]:
    """How to put away what the planted bugs leave behind."""
    put_away = list[Callable[[], object]]()
    yield put_away
    for call in put_away:
        call()


async def test_an_unshielded_cleanup_leaves_a_socket(kept: list[Callable[[], object]]) -> None:
    async def talk(_: object) -> None:
        near, far = socket.socketpair()
        kept.extend([near.close, far.close])
        try:
            await trio.lowlevel.checkpoint()
        finally:
            await trio.lowlevel.checkpoint()  # bug: unshielded
            near.close()
            far.close()

    finding = await caught(object, talk, "descriptor left", 2, WAITING, "unshielded")
    assert "of socket:[" in finding.text


async def test_a_descriptor_is_left(kept: list[Callable[[], object]], tmp_path: Path) -> None:
    path = tmp_path / "log"

    async def write(_: object) -> None:
        file = path.open("a")
        kept.append(file.close)
        await trio.lowlevel.checkpoint()  # bug: descriptor
        file.close()

    finding = await caught(object, write, "descriptor left", 1, WAITING, "descriptor")
    assert f"of {path}" in finding.text


async def test_a_task_is_left_in_a_system_nursery() -> None:
    scopes = list[trio.CancelScope]()

    async def serve() -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await trio.sleep_forever()

    async def ask(_: object) -> None:
        trio.lowlevel.spawn_system_task(serve, name="server")
        await trio.testing.wait_all_tasks_blocked()
        await trio.lowlevel.checkpoint()  # bug: task
        scopes.pop().cancel()

    finding = await caught(object, ask, "task left", 2, WAITING, "task")
    assert "found task server" in finding.text
    for scope in scopes:
        scope.cancel()


async def test_a_thread_is_left(kept: list[Callable[[], object]]) -> None:
    async def compute(_: object) -> None:
        done = threading.Event()
        thread = threading.Thread(target=done.wait, name="computing", daemon=True)
        kept.extend([done.set, thread.join])
        thread.start()
        await trio.lowlevel.checkpoint()  # bug: thread
        done.set()
        thread.join()

    finding = await caught(object, compute, "thread left", 1, WAITING, "thread")
    assert "found thread 'computing', which runs Event.wait" in finding.text


async def test_a_child_process_is_left(kept: list[Callable[[], object]]) -> None:
    async def compile_it(_: object) -> None:
        process = subprocess.Popen(["sleep", "30"])  # noqa: ASYNC220 - it returns at once
        kept.extend([process.kill, process.wait])
        await trio.lowlevel.checkpoint()  # bug: process
        process.kill()
        process.wait()

    finding = await caught(object, compile_it, "process left", 1, WAITING, "process")
    assert "(sleep)" in finding.text


async def test_what_stays_while_the_object_is_open_is_compared_with_the_reference(
    kept: list[Callable[[], object]],
) -> None:
    class Files:
        def __init__(self) -> None:
            self.open: list[int] = []

        async def read(self) -> None:
            self.open.append(os.open(os.devnull, os.O_RDONLY))
            await trio.lowlevel.checkpoint()  # bug: while-open

        def close(self) -> None:
            for descriptor in self.open:
                os.close(descriptor)

    finding = await caught(Files, Files.read, "descriptor left", 1, WAITING, "while-open")
    assert "expected 1 new descriptor(s) as without cancellation" in finding.text


async def test_what_is_left_without_any_cancellation_is_found_first() -> None:
    scopes = list[trio.CancelScope]()

    async def leave(_: object) -> None:
        scope = trio.CancelScope()
        scopes.append(scope)

        async def stay() -> None:
            with scope:
                await trio.sleep_forever()

        trio.lowlevel.spawn_system_task(stay, name="stays")
        await trio.lowlevel.checkpoint()

    findings = await findings_of(object, leave)
    assert {(f.problem, f.moment) for f in findings} == {("task left", "not cancelled")}
    for scope in scopes:
        scope.cancel()


# Locks that are found

FAR_AWAY = threading.Semaphore(100)


async def test_locks_are_found_wherever_they_are(kept: list[Callable[[], object]]) -> None:
    class Slotted:
        __slots__ = ("__limiter", "empty")

        def __init__(self) -> None:
            self.__limiter = trio.CapacityLimiter(10)

        async def use(self) -> None:
            await self.__limiter.acquire_on_behalf_of(object())
            await trio.lowlevel.checkpoint()

    class Owner:
        def __init__(self) -> None:
            self.parts = [{"first": Slotted()}]
            self.itself = self

    async def use(owner: Owner) -> None:
        await owner.parts[0]["first"].use()

    [finding] = await findings_of(Owner, use)
    assert "obj.parts[0]['first']._Slotted__limiter" in finding.text

    reentrant, condition = threading.RLock(), trio.Condition()

    async def close_over(_: object, lock: object = condition) -> None:
        reentrant.acquire()
        kept.append(reentrant.release)
        await trio.lowlevel.checkpoint()

    [finding] = await findings_of(object, close_over)
    assert "use's reentrant, a threading.RLock, is held" in finding.text

    async def hold(_: object) -> None:
        if not condition.locked():
            await condition.acquire()
        await trio.lowlevel.checkpoint()

    [finding] = await findings_of(object, hold)
    assert "use's condition, a trio.Condition, is held" in finding.text

    async def hold_watched(_: object) -> None:
        FAR_AWAY.acquire()
        await trio.lowlevel.checkpoint()

    [finding] = await findings_of(object, hold_watched, watch=[{partial(print, FAR_AWAY)}])
    assert "an element of watch[0].args[0], a threading.Semaphore, is 1 more taken" in finding.text


async def test_the_default_thread_limiter_is_watched() -> None:
    borrowers = list[object]()

    async def take(_: object) -> None:
        limiter = trio.to_thread.current_default_thread_limiter()
        borrowers.append(object())
        await limiter.acquire_on_behalf_of(borrowers[-1])
        await trio.lowlevel.checkpoint()

    [finding] = await findings_of(object, take)
    assert "the default thread limiter, a trio.CapacityLimiter" in finding.text
    for borrower in borrowers:
        trio.to_thread.current_default_thread_limiter().release_on_behalf_of(borrower)


# What is correct passes


def link_with(*messages: int, capacity: int = 8) -> Link[int]:
    link = Link[int]("link", capacity)
    for message in messages:
        link.send_nowait(message)
    return link


async def test_a_link_keeps_its_promises() -> None:
    received = await cancel_everywhere(
        lambda: link_with(1, 2), Link.receive, observe=lambda link: link.statistics()
    )
    assert received.checkpoints == 1
    await cancel_everywhere(
        lambda: link_with(1), lambda link: link.send(2), observe=lambda link: link.statistics()
    )


async def test_a_waiting_receive_and_a_waiting_send_of_a_link() -> None:
    async def receive(link: Link[int]) -> int:
        async with trio.open_nursery() as nursery:

            async def send_soon() -> None:
                await trio.lowlevel.checkpoint()
                if not link.statistics().sent:
                    link.send_nowait(1)

            nursery.start_soon(send_soon)
            return await link.receive()

    async def send(link: Link[int]) -> None:
        async with trio.open_nursery() as nursery:

            async def receive_soon() -> None:
                await trio.lowlevel.checkpoint()
                if link.statistics().depth == link.statistics().capacity:
                    link.receive_nowait()

            nursery.start_soon(receive_soon)
            await link.send(2)

    await cancel_everywhere(lambda: link_with(capacity=1), receive)
    await cancel_everywhere(
        lambda: link_with(1, capacity=1), send, observe=lambda link: link.statistics().sent
    )


async def test_a_memory_channel() -> None:
    def make() -> trio.MemoryReceiveChannel[int]:
        sending, receiving = trio.open_memory_channel[int](2)
        sending.send_nowait(1)
        sending.send_nowait(2)
        return receiving

    await cancel_everywhere(make, lambda channel: channel.receive())


class Instrument:
    """Answers one query at a time; a query that was cut off resets it, shielded."""

    def __init__(self) -> None:
        self.lock = trio.Lock()
        self.clean = True

    async def query(self) -> str:
        async with self.lock:
            clean, self.clean = self.clean, False
            try:
                await trio.lowlevel.checkpoint()
                self.clean = True
            finally:
                if not self.clean:
                    with trio.CancelScope(shield=True):
                        await trio.lowlevel.checkpoint()
                        self.clean = True
        return "1.5 V" if clean else "?"


async def test_a_query_under_a_lock_with_shielded_cleanup() -> None:
    sweep = await cancel_everywhere(Instrument, Instrument.query, observe=lambda i: i.clean)
    assert sweep.checkpoints == 2


class Pool:
    def __init__(self) -> None:
        self.limiter = trio.CapacityLimiter(1)
        self.idle = ["connection"]

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[str]:
        async with self.limiter:
            connection = self.idle.pop()
            try:
                yield connection
            finally:
                self.idle.append(connection)

    async def use(self) -> str:
        async with self.connection() as connection:
            await trio.lowlevel.checkpoint()
        return connection


async def test_a_pool() -> None:
    sweep = await cancel_everywhere(Pool, Pool.use, observe=lambda pool: tuple(pool.idle))
    assert sweep.checkpoints == 2


class Frames:
    """Reads lines from a stream; what has come of the next one stays in the buffer."""

    def __init__(self, data: bytes) -> None:
        _, self.stream = trio.testing.memory_stream_one_way_pair()
        self.stream.put_data(data)
        self.buffer = bytearray()

    async def read(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while b"\n" not in self.buffer:
            self.buffer += await self.stream.receive_some(1)
        line, _, self.buffer = self.buffer.partition(b"\n")
        return bytes(line)

    async def aclose(self) -> None:
        await self.stream.aclose()


async def test_a_buffered_reader_of_frames() -> None:
    sweep = await cancel_everywhere(lambda: Frames(b"ab\ncd\n"), Frames.read)
    assert sweep.checkpoints >= 4


async def test_closing_twice() -> None:
    async def close_twice(channel: trio.MemoryReceiveChannel[int]) -> None:
        await channel.aclose()
        await channel.aclose()

    sweep = await cancel_everywhere(lambda: trio.open_memory_channel[int](1)[1], close_twice)
    assert sweep.checkpoints == 2


@pytest.mark.slow
async def test_a_process_that_is_waited_for() -> None:
    async def run(_: object) -> int:
        return (await trio.run_process(["true"])).returncode

    sweep = await cancel_everywhere(object, run)
    assert sweep.checkpoints > 1


async def test_a_thread_that_is_waited_for() -> None:
    async def compute(_: object) -> int:
        return await trio.to_thread.run_sync(lambda: 42, abandon_on_cancel=False)

    sweep = await cancel_everywhere(object, compute)
    assert sweep.checkpoints == 2


async def test_an_inner_scope_may_catch_its_own_cancellation() -> None:
    async def try_for_a_while(_: object) -> str:
        with trio.move_on_after(0.001):
            await trio.sleep_forever()
        return "given up"

    sweep = await cancel_everywhere(object, try_for_a_while)
    assert sweep.checkpoints == 1


async def test_an_inner_scope_may_be_cancelled_inside_a_shield() -> None:
    async def put_away(_: object) -> str:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
            with trio.move_on_after(0.001):
                await trio.sleep_forever()
        return "put away"

    sweep = await cancel_everywhere(object, put_away)
    assert sweep.checkpoints == 2


# What `make` may return


async def test_what_make_makes_is_entered_and_closed() -> None:
    calls = list[str]()

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[str]:
        await trio.lowlevel.checkpoint()
        calls.append("enter")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            yield "inner"
            nursery.cancel_scope.cancel()
        calls.append("exit")

    @contextlib.contextmanager
    def entered() -> Iterator[str]:
        calls.append("enter")
        yield "inner"
        calls.append("exit")

    async def awaited() -> Closing:
        await trio.lowlevel.checkpoint()
        return Closing()

    class Closing:
        def __init__(self) -> None:
            calls.append("enter")

        def close(self) -> None:
            calls.append("exit")

    async def use(thing: object) -> None:
        assert thing == "inner" or isinstance(thing, Closing)
        calls.append("use")
        await trio.lowlevel.checkpoint()

    makes: list[Callable[[], Any]] = [opened, entered, awaited, Closing]
    for make in makes:
        calls.clear()
        sweep = await cancel_everywhere(make, use, repeat=False)
        assert sweep.attempts == 3
        assert calls == ["enter", "use", "exit"] * 6


async def test_a_lock_is_not_entered() -> None:
    make: Callable[[], Any] = trio.Lock
    sweep = await cancel_everywhere(make, locked)
    assert sweep.checkpoints == 1


async def locked(lock: Any) -> None:
    async with lock:
        pass


async def test_a_make_that_fails_or_hangs_is_not_a_finding() -> None:
    def fail() -> object:
        raise OSError("no such device")

    async def hang() -> object:
        await trio.sleep_forever()
        return None

    with pytest.raises(OSError, match="no such device"):
        await cancel_everywhere(fail, locked)
    with pytest.raises(CancellationBroken, match=r"make\(\) takes more than 0\.1 s") as error:
        await cancel_everywhere(hang, locked, deadline=0.1)
    assert error.value.findings == ()


# Counting, and the report


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_checkpoints_are_counted(count: int) -> None:
    async def use(_: object) -> None:
        for _ in range(count):
            await trio.lowlevel.checkpoint()

    sweep = await cancel_everywhere(object, use)
    assert sweep == Sweep(checkpoints=count, attempts=1 + 2 * count, lines=sweep.lines[:1] * count)
    assert sweep.lines[0].endswith(" in use: await trio.lowlevel.checkpoint()")


async def test_shielded_yields_and_those_of_inner_tasks_count() -> None:
    async def use(_: object) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()  # 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)  # 2
            nursery.start_soon(trio.lowlevel.cancel_shielded_checkpoint)  # 3
        # 4: the end of the nursery

    sweep = await cancel_everywhere(object, use)
    assert sweep.checkpoints == 4


async def test_the_report() -> None:
    class Buffer:
        def __init__(self) -> None:
            self.items = [1, 2]

        async def take(self) -> int:
            item = self.items.pop(0)
            await trio.lowlevel.checkpoint()  # bug: report
            return item

    async def use(buffer: Buffer) -> int:
        return await buffer.take()

    with pytest.raises(CancellationBroken) as error:
        await cancel_everywhere(Buffer, use)
    file = str(Path(__file__).relative_to(Path.cwd()))
    outer = use.__code__.co_firstlineno + 1
    assert str(error.value) == (
        "1 problem(s) found, 3 time(s) cancelled:\n"
        "  1. lost or changed: cancelled before it began, "
        f"at {file}:{line_of('report')} in take: await trio.lowlevel.checkpoint()  # bug: report "
        f"(called at {file}:{outer} in use: return await buffer.take()): "
        "its repetition returned 2, expected 1 as without cancellation; take nothing before a "
        "checkpoint where it can be lost, or put it back when cancelled "
        "(or pass same_result=False if results differ)"
    )
    assert [(f.checkpoint, f.moment) for f in error.value.findings] == [
        (0, BEFORE),
        (1, WAITING),
        (1, WOKEN),
    ]
    assert isinstance(error.value, HorusError)
    assert isinstance(error.value, AssertionError)


def test_a_long_report_is_cut() -> None:
    async def use(_: object) -> None:
        await trio.lowlevel.checkpoint()

    findings = Findings(partial(partial(use), object()))
    assert findings.place_of_use.line == use.__code__.co_firstlineno
    for line in range(14):
        place = Place(file="generated.py", line=line, function="use")
        findings.add(Cut(), "raised", "it failed", at=place)
        findings.add(Cut(), "raised", "it failed again", at=place)
    lines = str(findings.as_error(3)).splitlines()
    assert lines[0] == "14 problem(s) found, 3 time(s) cancelled:"
    assert lines[1] == "  1. raised: without being cancelled: it failed"
    assert lines[-1] == "  … and 4 more"
    assert len(lines) == 12


async def test_a_clean_report() -> None:
    sweep = await cancel_everywhere(lambda: link_with(1), Link.receive)
    assert str(sweep).startswith(
        "1 checkpoint(s), cancelled 3 times, all well\n  1. horus_trio/topics/link.py:"
    )


async def test_results_that_differ_by_nature() -> None:
    numbers = iter(range(100))

    async def number(_: object) -> int:
        await trio.lowlevel.checkpoint()
        return next(numbers)

    findings = await findings_of(object, number)
    assert {f.problem for f in findings} == {"lost or changed"}
    await cancel_everywhere(object, number, same_result=False)


# Time, and the caller's own cancellation


async def test_under_an_autojump_clock(autojump_clock: trio.testing.MockClock) -> None:
    async def use(_: object) -> float:
        began = trio.current_time()
        await trio.sleep(3600.0)
        return trio.current_time() - began

    began = time.monotonic()
    sweep = await cancel_everywhere(object, use)
    assert sweep.checkpoints == 1
    assert time.monotonic() - began < 5.0


async def test_under_a_clock_that_stands_still(mock_clock: trio.testing.MockClock) -> None:
    await cancel_everywhere(lambda: link_with(1), Link.receive)

    async def use(_: object) -> None:
        await trio.sleep(1.0)  # bug: stands-still

    await caught(object, use, "hangs", 0, "not cancelled", "stands-still", deadline=0.2)
    assert trio.current_time() == 0.0


@pytest.mark.parametrize("shield", [False, True])
async def test_a_sweep_that_is_cancelled_itself(shield: bool) -> None:
    class Closing:
        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()
            closed.append(self)

    closed = list[object]()
    started = trio.Event()

    async def use(_: Closing) -> None:
        started.set()
        with trio.CancelScope(shield=shield):
            await trio.sleep_forever()

    instruments = trio.lowlevel.current_task()._runner.instruments
    before = (all_tasks(), whats_there(), dict(instruments))
    async with trio.open_nursery() as nursery:

        async def sweep() -> None:
            with pytest.raises(trio.Cancelled):
                await cancel_everywhere(Closing, use, deadline=0.2)
            await trio.lowlevel.checkpoint()

        nursery.start_soon(sweep)
        await started.wait()
        nursery.cancel_scope.cancel()
    assert nursery.cancel_scope.cancelled_caught
    assert len(closed) == 1
    assert (all_tasks(), whats_there(), dict(instruments)) == before


async def test_the_tasks_of_the_caller_go_on() -> None:
    async def sleep(_: object) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        ticks = list[float]()

        async def tick() -> None:
            while True:
                await trio.sleep(0.001)
                ticks.append(trio.current_time())

        nursery.start_soon(tick)
        with pytest.raises(CancellationBroken):
            await cancel_everywhere(Planted, sleep, deadline=0.1)
        assert ticks
        nursery.cancel_scope.cancel()


# Wrong arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"make": 3}, r"make=3\): expected a function, got int"),
        ({"use": None}, r"use=None\): expected a function, got NoneType"),
        ({"observe": "depth"}, r"observe='depth'\): expected a function, got str"),
        ({"deadline": 0}, r"deadline=0\): expected a finite number of seconds above 0"),
        ({"deadline": math.inf}, r"deadline=inf\)"),
        ({"deadline": math.nan}, r"deadline=nan\)"),
        ({"deadline": True}, r"deadline=True\)"),
        ({"deadline": "5"}, r"deadline='5'\)"),
    ],
)
async def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"make": object, "use": locked, **arguments}
    with pytest.raises(ConfigurationError, match=message):
        await cancel_everywhere(**given)


async def test_a_forgotten_async() -> None:
    def forgotten(_: object) -> Any:
        return 42

    with pytest.raises(ConfigurationError, match="returns 42; begin it with `async def`"):
        await cancel_everywhere(object, forgotten)


async def test_an_operation_that_fails_by_itself() -> None:
    async def fail(_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("nothing there")

    with pytest.raises(CancellationBroken, match="fails by itself") as error:
        await cancel_everywhere(object, fail)
    assert isinstance(error.value.__cause__, LookupError)


async def test_an_interrupt_is_for_the_whole_program() -> None:
    async def interrupt(_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await cancel_everywhere(object, interrupt)


# Snapshots


async def test_snapshots_are_stable_and_print_what_they_saw(tmp_path: Path) -> None:
    assert whats_there() == whats_there()
    assert all_tasks() == all_tasks() >= system_tasks() | {trio.lowlevel.current_task()}
    before = whats_there()
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="waiting")
    thread.start()
    process = subprocess.Popen(["sleep", "30"])  # noqa: ASYNC220 - it returns at once
    with (tmp_path / "log").open("w") as file:
        texts = {str(thing) for thing in whats_there() - before}
        number = file.fileno()
    process.kill()
    process.poll()
    release.set()
    thread.join()
    assert f"descriptor {number} of {tmp_path / 'log'}" in texts
    assert "thread 'waiting', which runs Event.wait" in texts
    assert any(text.startswith(f"process {process.pid} (") for text in texts)
    process.wait()
    assert child_processes() == set()


async def test_a_dead_process_nobody_waited_for_is_still_there() -> None:
    with subprocess.Popen(["true"]) as process:  # noqa: ASYNC220 - it returns at once
        give_up = time.monotonic() + 5.0
        while f"process {process.pid} (true, dead)" not in map(str, child_processes()):
            assert time.monotonic() < give_up
            await trio.sleep(0.001)


class Slow:
    """An operation that takes time, on the loop and in a thread."""

    def __init__(self) -> None:
        self.done = 0

    async def use(self) -> None:
        with trio.fail_after(90):
            await trio.sleep(60)
            await trio.to_thread.run_sync(time.sleep, 0.002)
            await trio.sleep(20)
        self.done += 1


async def test_a_virtual_clock_that_nobody_drives_moves_by_itself_meanwhile() -> None:
    class Idle(AsyncNode):
        async def tick_async(self) -> None:
            pass

    async with open_harness(Idle(rate=10)) as h:
        before = h.now
        sweep = await cancel_everywhere(Slow, Slow.use, observe=lambda slow: slow.done)
        assert sweep.checkpoints == 4  # a thread is two: its token, and its end
        assert h.now > before + 80
        assert h.results == []
        now = h.now
        await trio.lowlevel.checkpoint()
        assert h.now == now
        await h.advance(1)
        assert len(h.results) == 10


def test_it_moves_by_itself_without_a_harness_too() -> None:
    async def main() -> float:
        await cancel_everywhere(Slow, Slow.use, observe=lambda slow: slow.done)
        return trio.current_time()

    assert trio.run(main, clock=VirtualClock()) > 80


async def test_a_deadline_around_it_is_not_taken_for_virtual_time() -> None:
    with trio.fail_after(30):
        async with open_harness() as h:
            await cancel_everywhere(Slow, Slow.use, observe=lambda slow: slow.done)
            assert h.now < 10_000
