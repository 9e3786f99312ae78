"""What a message costs, from `send` to whoever receives it.

Set ``HORUS_PYTHON`` to an interpreter that has ``horus-robotics`` 0.4.1 to compare with its topics
too. Theirs go through shared memory and reach other processes, ours hand a reference over inside
one: the two are alike only in what a node writes, ``send`` and ``recv``.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import json
import os
import pathlib
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import trio
import trio.testing
from _compare import Target, compare, curve, print_machine

import horus_trio as horus
from horus_trio.messages import Fence, current_fence

MESSAGE = {"x": 1.0, "y": 2.0, "theta": 0.5}
PAIRS = 5_000
HANDED_OVER = 50_000
WAKE_UPS = 2_000
ROUND = 1_000
WHY_FOREIGN = "the hop is gone; what is left is the send itself: lock, stamp, counters"
WHY_LATE = "a send works under a lock and by a bell that any thread may ring"


def cpu_us(work: Callable[[], None], count: int) -> float:
    """CPU microseconds of this thread for one of `count` pieces of work."""
    gc.collect()
    start = time.thread_time()
    work()
    return (time.thread_time() - start) / count * 1e6


# One thread: send, and receive at once


def bare_pair() -> float:
    async def main() -> float:
        sender, receiver = trio.open_memory_channel[object](64)

        def work() -> None:
            for _ in range(PAIRS):
                sender.send_nowait(MESSAGE)
                receiver.receive_nowait()

        return cpu_us(work, PAIRS)

    return trio.run(main)


def node_pair() -> float:
    async def main() -> float:
        topics = horus.Topics()
        node = horus.AsyncNode("bench")
        node.connect(topics, trio.lowlevel.current_clock().current_time)
        current_fence.set(Fence("bench"))  # as in a tick
        node.recv("topic")  # joins

        def work() -> None:
            for _ in range(PAIRS):
                node.send("topic", MESSAGE)
                node.recv("topic")

        figure = cpu_us(work, PAIRS)
        counted = topics.hub("topic").statistics()
        if counted.sent != PAIRS or counted.received != PAIRS:
            raise SystemExit(f"not every message came through: {counted}")
        return figure

    return trio.run(main)


@contextlib.contextmanager
def theirs(python: str) -> Iterator[Mapping[str, Callable[[], float]]]:
    """HORUS's topic object and its node, in a process that answers line by line."""
    program = str(pathlib.Path(__file__).with_name("_rival_horus_topic.py"))
    with subprocess.Popen(
        [python, program, str(PAIRS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        questions, answers = child.stdin, child.stdout

        def answer() -> dict[str, float]:
            for line in answers:
                if line.startswith("{"):  # HORUS writes banners too
                    figures: dict[str, float] = json.loads(line)
                    return figures
            raise SystemExit(f"{program} ended: {child.wait(10)}")

        def ask(which: str) -> float:
            questions.write(f"{which}\n")
            questions.flush()
            return answer()[which] * 1e6

        answer()  # ready
        yield {
            "HORUS 0.4.1, topic": lambda: ask("topic"),
            "HORUS 0.4.1, node": lambda: ask("node"),
        }
        questions.close()


def in_one_thread() -> None:
    ours = {"bare memory channel": bare_pair, "node.send, node.recv": node_pair}
    compare(
        "send and receive in one thread",
        "CPU us a message",
        ours,
        base="bare memory channel",
        repetitions=41,
        targets={"node.send, node.recv": Target(at_most=2.5)},
    )
    python = os.environ.get("HORUS_PYTHON")
    if python is None:
        print("  HORUS_PYTHON is not set: no comparison with HORUS")
        return
    with theirs(python) as programs:
        compare(
            "a dict in one thread: ours within the process, HORUS's through shared memory",
            "CPU us a message",
            {**programs, "node.send, node.recv": node_pair},
            base="HORUS 0.4.1, topic",
            targets={"node.send, node.recv": Target(at_most=0.4)},
        )


def where_it_goes() -> None:
    """The parts of a pair: what a longer call costs above a shorter one. A check is their sum."""

    async def main() -> None:
        topics = horus.Topics()
        node = horus.AsyncNode("bench")
        node.connect(topics, trio.lowlevel.current_clock().current_time)
        seat = node._seat
        assert seat is not None
        reader = seat.join(horus.Sub("topic", capacity=PAIRS))
        hub, unheard = topics.hub("topic"), topics.hub("unheard")
        lock = threading.RLock()

        def take_lock() -> None:
            lock.acquire()
            lock.release()

        fence = Fence("bench")
        calls: dict[str, Callable[[], object]] = {
            "lock": take_lock,
            "stamp": time.perf_counter,
            "publish, unheard": lambda: unheard.publish(MESSAGE),
            "publish": lambda: hub.publish(MESSAGE),
            "Hub.send": lambda: hub.send(MESSAGE),
            "node.send": lambda: node.send("topic", MESSAGE),
            "receive_nowait": reader.receive_nowait,
            "node.recv": lambda: node.recv("topic"),
            "pair": lambda: (node.send("topic", MESSAGE), node.recv("topic")),
            "nothing": lambda: None,
        }
        figures: dict[str, list[float]] = {name: [] for name in calls}
        current_fence.set(fence)
        for _ in range(100):
            for name, call in calls.items():
                reader.drain()
                if name in ("receive_nowait", "node.recv"):
                    for _ in range(ROUND):
                        hub.publish(MESSAGE)

                def work(call: Callable[[], object] = call) -> None:
                    for _ in range(ROUND):
                        call()

                start = time.thread_time()
                work()
                figures[name].append((time.thread_time() - start) / ROUND * 1e6)
        least = {name: min(values) for name, values in figures.items()}
        least = {name: value - least["nothing"] for name, value in least.items()}
        parts = {
            "node.send: find the topic": least["node.send"] - least["Hub.send"],
            "type, fence": least["Hub.send"] - least["publish"],
            "the lock": least["lock"],
            "the stamp": least["stamp"],
            "number, who listens, the call": least["publish, unheard"]
            - least["lock"]
            - least["stamp"],
            "the subscription: room, put in": least["publish"] - least["publish, unheard"],
            "take out, count": least["receive_nowait"],
            "node.recv: find the subscription": least["node.recv"] - least["receive_nowait"],
        }
        print("\nwhere a send and its recv go (CPU us, least of many)")
        for name, value in parts.items():
            print(f"  {name:34} {value:6.3f} {value / least['pair']:6.0%}")
        total = sum(parts.values())
        print(f"  {'sum':34} {total:6.3f} {total / least['pair']:6.0%}  of {least['pair']:.3f}")

    trio.run(main)


# Many subscriptions


def send_to(subscriptions: int) -> float:
    """CPU microseconds of a send, for each subscription that takes the message."""
    hub = horus.Hub[object]("bench")
    readers = [hub.subscribe(PAIRS) for _ in range(subscriptions)]
    rounds = max(10, min(1000, 20_000 // subscriptions))

    def work() -> None:
        for _ in range(rounds):
            hub.send(MESSAGE)

    figure = cpu_us(work, rounds * subscriptions)
    if any(len(reader.drain()) != rounds for reader in readers):
        raise SystemExit("a subscription did not get every message")
    return figure


def to_many() -> None:
    curve(
        "send to many subscriptions",
        "CPU us a subscription",
        (2, 5, 10, 20, 50, 100),
        "subscriptions",
        {"one alone": lambda _: send_to(1), "each of them": send_to},
        base="one alone",
        repetitions=9,
        targets={"each of them": Target(at_most=1.0)},
    )


# From a foreign thread to the loop


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def hop_each() -> float:
    """Thousands of messages a second by one `run_sync_soon` each."""

    async def main() -> float:
        token = trio.lowlevel.current_trio_token()
        received: collections.deque[object] = collections.deque()
        complete = trio.Event()

        def take(message: object) -> None:
            received.append(message)
            if len(received) == HANDED_OVER // 5:
                complete.set()

        def work() -> None:
            for _ in range(HANDED_OVER // 5):
                token.run_sync_soon(take, MESSAGE)

        start = time.perf_counter()
        thread = in_thread(work)
        await complete.wait()
        seconds = time.perf_counter() - start
        thread.join()
        return HANDED_OVER / 5 / seconds / 1e3

    return trio.run(main)


def hub_each(capacity: int) -> Callable[[], float]:
    """The same through a topic; every message is accounted for."""

    async def main() -> float:
        hub = horus.Hub[object]("bench")
        reader = hub.subscribe(capacity)
        done = False
        taken = 0

        def work() -> None:
            nonlocal done
            for _ in range(HANDED_OVER):
                hub.send(MESSAGE)
            done = True
            hub.close()

        start = time.perf_counter()
        thread = in_thread(work)
        with contextlib.suppress(trio.EndOfChannel):
            while True:
                await reader.receive()
                taken += 1 + len(reader.drain())
        seconds = time.perf_counter() - start
        thread.join()
        counted = reader.statistics()
        if not (
            done
            and counted.published == HANDED_OVER
            and counted.received == taken
            and counted.received + counted.dropped + counted.depth == HANDED_OVER
            and (counted.dropped == 0 or capacity < HANDED_OVER)
        ):
            raise SystemExit(f"a message is unaccounted for: {taken} taken, {counted}")
        return HANDED_OVER / seconds / 1e3

    return lambda: trio.run(main)


def from_a_thread() -> None:
    compare(
        "a foreign thread to the loop",
        "thousand messages a second",
        {
            "run_sync_soon each": hop_each,
            "Hub.send, room for all": hub_each(HANDED_OVER),
            "Hub.send, capacity 1024": hub_each(1024),
        },
        base="run_sync_soon each",
        targets={
            "Hub.send, room for all": Target(at_least=12, why_missed=WHY_FOREIGN),
            "Hub.send, capacity 1024": Target(at_least=12, why_missed=WHY_FOREIGN),
        },
    )


# On the loop: how soon a receiver that waits runs


async def wake_ups(send: Callable[[float], object], receive: Callable[[], object]) -> float:
    """Median microseconds from just before the send until the waiting receiver has its message."""
    lateness: list[float] = []

    async def wait_for_each() -> None:
        for _ in range(WAKE_UPS):
            sent: float = await receive()  # type: ignore[misc]
            lateness.append(time.perf_counter() - sent)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_each)
        for _ in range(WAKE_UPS):
            await trio.testing.wait_all_tasks_blocked()
            send(time.perf_counter())
    return statistics.median(lateness) * 1e6


def bare_wake_up() -> float:
    async def main() -> float:
        sender, receiver = trio.open_memory_channel[float](64)
        return await wake_ups(sender.send_nowait, receiver.receive)

    return trio.run(main)


def node_wake_up() -> float:
    async def main() -> float:
        topics = horus.Topics()
        node = horus.AsyncNode("bench")
        node.connect(topics, trio.lowlevel.current_clock().current_time)
        current_fence.set(Fence("bench"))
        node.recv("topic")
        return await wake_ups(
            lambda stamp: node.send("topic", stamp), lambda: node.recv_async("topic")
        )

    return trio.run(main)


def hub_wake_up() -> float:
    async def main() -> float:
        hub = horus.Hub[float]("bench")
        return await wake_ups(hub.send, hub.subscribe().receive)

    return trio.run(main)


def to_who_waits() -> None:
    compare(
        "from a send on the loop until the waiting receiver runs",
        "us, median of each repetition",
        {
            "bare memory channel": bare_wake_up,
            "Hub.send, Subscription.receive": hub_wake_up,
            "node.send, node.recv_async": node_wake_up,
        },
        base="bare memory channel",
        targets={
            "Hub.send, Subscription.receive": Target(at_most=1.2, why_missed=WHY_LATE),
            "node.send, node.recv_async": Target(at_most=1.2, why_missed=WHY_LATE),
        },
    )


def main() -> None:
    print_machine()
    in_one_thread()
    where_it_goes()
    to_many()
    from_a_thread()
    to_who_waits()


if __name__ == "__main__":
    main()
