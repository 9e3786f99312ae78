"""`Scheduler.dump` and SIGUSR1: who waits for what, and where every task and thread stands."""

from __future__ import annotations

import io
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from children import Child, line_of
from trio.testing import MockClock, wait_all_tasks_blocked

import horus_trio as horus
from horus_trio import AsyncNode, Node, Scheduler
from horus_trio.executor import open_executor
from horus_trio.scheduler.watchdog import dump
from horus_trio.scheduler.watchdog.dump import _children, _tasks, make_dump

HERE = Path(__file__)


async def well(node: Node) -> None:
    pass


def dump_of(scheduler: Scheduler) -> str:
    file = io.StringIO()
    scheduler.dump(file)
    return file.getvalue()


def nodes_of(dump: str) -> str:
    """What is said about the nodes."""
    head, tasks, _ = dump.partition("\ntasks\n")
    return head if tasks else ""


def node_line(dump: str, name: str) -> str:
    """What is said about a node, behind its name."""
    (line,) = re.findall(rf"^  {re.escape(name)} +(.*)$", nodes_of(dump), re.MULTILINE)
    return str(line)


def place(mark: str) -> str:
    return f"{HERE}:{line_of(HERE, mark)} in"


async def eventually(look: Callable[[], bool]) -> None:
    """Real time passes, but not for long."""
    with trio.fail_after(10):
        while not look():  # noqa: ASYNC110 - there is nothing to wait for
            await trio.sleep(0.005)


# Before, during and after a run


async def test_before_and_after_a_run_there_are_only_threads(autojump_clock: MockClock) -> None:
    scheduler = Scheduler(10.0, name="robby")
    scheduler.add(Node("arm", tick=well))
    before = dump_of(scheduler)
    await scheduler.run(0.5)
    for text in (before, dump_of(scheduler)):
        assert text.startswith("robby does not run\n\nthreads\n")
        assert "arm" not in text


async def test_during_a_run_each_node_has_a_line_and_its_task_a_stack() -> None:
    async def waits(node: Node) -> None:
        await trio.sleep_forever()  # arm

    scheduler = Scheduler(100.0, name="robby")
    scheduler.add(Node("arm", tick=waits))
    scheduler.add(Node("a longer name", tick=well))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        await eventually(lambda: "in tick" in nodes_of(dump_of(scheduler)))
        text = dump_of(scheduler)
        scheduler.stop("enough")
        assert " and is stopping: enough\n" in dump_of(scheduler).partition("\n")[0] + "\n"
    title, _, rest = text.partition("\n")
    assert re.fullmatch(r"robby has been running for \d\.\d s", title)
    here = re.escape(place("# arm"))
    assert re.fullmatch(
        rf"running, in tick 1 for \d\.\d s: awaits something, at {here} waits",
        node_line(text, "arm"),
    )
    assert node_line(text, "a longer name") == "running"
    assert "\n  pool: 0 of 4 tokens are taken\n" in rest
    stack = rf"\n +node 'arm'\n +{here} waits: await trio.sleep_forever\(\)  # arm\n"
    assert re.search(stack, rest)
    assert "\nthreads\n" in rest


async def test_any_thread_may_ask_and_so_may_a_node_in_its_tick() -> None:
    texts: list[str] = []
    own: list[str] = []

    class Asks(AsyncNode):
        async def tick_async(self) -> None:
            own.append(dump_of(scheduler))  # asks
            self.request_stop()

    class AsksInThread(Node):
        def tick(self) -> None:
            texts.append(dump_of(scheduler))

    scheduler = Scheduler(100.0)
    scheduler.add(AsksInThread("thread"), phase=0.0)
    scheduler.add(Asks("loop"), phase=0.02)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        texts.append(await trio.to_thread.run_sync(dump_of, scheduler))
    assert len(texts) >= 2
    for text in texts + own:
        assert text.startswith("horus ")
        assert "\nthreads\n" in text
    assert f"{place('# asks')} tick_async" in own[0]
    assert "node 'loop', running now: see its thread\n" in own[0]
    assert "watchdog/dump.py" not in own[0]


# While the loop is blocked


async def test_while_the_loop_is_blocked_it_says_so_and_by_whom() -> None:
    texts: list[str] = []
    release = threading.Event()

    async def blocks(node: Node) -> None:
        release.wait(10)  # blocks
        node.request_stop()

    def ask() -> None:
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up and "BLOCKED" not in "".join(texts):
            time.sleep(0.05)
            texts[:] = [dump_of(scheduler)]
        release.set()

    scheduler = Scheduler(100.0, stall_after=0.1)
    scheduler.add(Node("culprit", tick=blocks))
    scheduler.add(Node("innocent", tick=well))
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        await scheduler.run()
    finally:
        release.set()
        thread.join()
    (text,) = texts
    assert re.search(
        rf"^the loop has been BLOCKED for \d\.\d s by node 'culprit' \(tick \d+\) at "
        rf"{re.escape(place('# blocks'))} blocks$",
        text,
        re.MULTILINE,
    )
    assert "innocent" not in text.partition("\nnodes\n")[0]
    tasks, _, threads = text.partition("\ntasks\n")[2].partition("\nthreads\n")
    assert "node 'culprit', running now: see its thread\n" in tasks
    assert f"{place('# blocks')} blocks: release.wait(10)  # blocks" in threads


async def test_tasks_that_come_and_go_meanwhile_do_no_harm() -> None:
    over = threading.Event()
    problems: list[BaseException] = []
    dumps: list[str] = []

    def ask() -> None:
        try:
            while not over.is_set():
                dumps.append(dump_of(scheduler))
        except BaseException as problem:
            problems.append(problem)
            raise

    async def brief(n: int) -> None:
        for _ in range(n % 5):
            await trio.lowlevel.checkpoint()

    async def numbers() -> Any:
        for n in range(3):
            yield n
            await trio.lowlevel.checkpoint()

    async def tick(node: Node) -> None:
        async with trio.open_nursery() as nursery:
            for n in range(300):
                nursery.start_soon(brief, n)
        async for _ in numbers():
            pass

    scheduler = Scheduler(100.0)
    for n in range(3):
        scheduler.add(Node(f"spawner {n}", tick=tick))
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        await scheduler.run(0.8)
        for n in range(3):
            scheduler.remove(f"spawner {n}")
    finally:
        over.set()
        thread.join()
    assert problems == []
    assert len(dumps) > 3


# Who waits for what


async def test_who_waits_for_what(autojump_clock: MockClock) -> None:
    async def sends_nothing(node: Node) -> None:
        await trio.sleep_forever()  # camera

    async def fails(node: Node) -> None:
        raise ValueError("no bus")

    async def reads(node: Node) -> None:
        await node.recv_async(topics[node.name])

    async def writes(node: Node) -> None:
        while True:
            await node.send_async("scan", 0)

    topics = {"display": "image", "planner": "pose", "lonely": "nowhere"}
    scheduler = Scheduler(10.0, name="robby")
    scheduler.add(Node("camera", tick=sends_nothing), pubs=["image"])
    scheduler.add(
        Node("odometry", tick=fails),
        pubs=["pose"],
        failure_policy=horus.Restart(backoff=100.0, max_backoff=100.0, jitter=0.0),
    )
    for name in topics:
        scheduler.add(Node(name, tick=reads))
    scheduler.add(Node("lidar", tick=writes))
    scheduler.add(
        Node("mapper", tick=sends_nothing),
        subs=[horus.Sub("scan", capacity=1, overflow=horus.Overflow.BLOCK)],
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        await trio.sleep(3.0)
        text = dump_of(scheduler)
        scheduler.stop()
    said = {name: node_line(text, name) for name in (*topics, "lidar", "odometry")}
    assert re.fullmatch(
        r"waiting for input from topic 'image': its publisher 'camera' has been in tick 1 for "
        rf"[23]\.\d s \(awaits something, at {re.escape(place('# camera'))} sends_nothing\)",
        said["display"],
    )
    assert said["planner"] == (
        "waiting for input from topic 'pose': its publisher 'odometry' is backing off"
    )
    assert said["lonely"] == (
        "waiting for input from topic 'nowhere': no node is known to publish it"
    )
    assert "waits for room in topic 'scan', held up by 'mapper', at " in said["lidar"]
    assert said["odometry"] == "backing off before its restart"


async def test_nobody_is_named_at_a_link_that_no_node_uses_from_the_other_end(
    autojump_clock: MockClock,
) -> None:
    link = horus.Link[int]("pose", capacity=1)

    async def reads(node: Node) -> None:
        await link.receive()

    async def writes(node: Node) -> None:
        while True:
            await full.send(0)

    full = horus.Link[int]("full", capacity=1)
    scheduler = Scheduler(10.0).add(Node("planner", tick=reads)).add(Node("writer", tick=writes))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        await trio.sleep(1.0)
        before = node_line(dump_of(scheduler), "planner")
        async with trio.open_nursery() as sending:
            sending.start_soon(link.send, 1)
        await trio.sleep(1.0)
        after = node_line(dump_of(scheduler), "planner")
        writer = node_line(dump_of(scheduler), "writer")
        scheduler.stop()
    for line in (before, after):
        assert re.search(r"s: waits for link 'pose', at \S+test_dump\.py:\d+ in reads$", line)
    assert re.search(
        r"s: waits for room in link 'full', at \S+test_dump\.py:\d+ in writes$", writer
    )


def test_a_thread_stands_at_its_innermost_line() -> None:
    release = threading.Event()

    def reading() -> None:
        release.wait(30)  # the device

    def outer(node: Node) -> None:
        reading()

    scheduler = Scheduler(10.0).add(Node("device", tick=outer, thread="own"))
    try:
        with horus.background(scheduler):
            give_up = time.monotonic() + 10
            line = ""
            while not line.endswith(" reading") and time.monotonic() < give_up:
                time.sleep(0.005)
                line = node_line(dump_of(scheduler), "device")
            release.set()
    finally:
        release.set()
    assert line.endswith(f"s: is busy in a thread, at {place('# the device')} reading")


async def test_who_waits_for_a_thread_and_who_has_them(mock_clock: MockClock) -> None:
    release = threading.Event()

    def hangs(node: Node) -> None:
        release.wait(30)  # holder

    few = trio.CapacityLimiter(1)
    scheduler = Scheduler(1.0)
    scheduler.add(Node("holder", tick=hangs), limiter=few, phase=0.0)
    scheduler.add(Node("queued", tick=hangs), limiter=few, phase=0.5)
    scheduler.add(Node("own", tick=hangs), thread="own", phase=0.0)
    scheduler.add(Node("hung", tick=hangs), tick_timeout=0.25, phase=0.0)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scheduler.run)
            for _ in range(5):
                await wait_all_tasks_blocked(0.02)
                mock_clock.jump(0.2)
            await wait_all_tasks_blocked(0.02)
            text = dump_of(scheduler)
            release.set()
            scheduler.stop()
            while nursery.child_tasks:
                await wait_all_tasks_blocked(0.01)
                mock_clock.jump(0.5)
    finally:
        release.set()
    assert node_line(text, "queued").endswith(
        "s: waits for a thread of the pool, held up by 'holder'"
    )
    assert node_line(text, "queued").startswith("waiting for a thread, in tick 1 for 0.5")
    assert node_line(text, "holder").endswith(
        f"s: is busy in a thread, at {place('# holder')} hangs"
    )
    assert "\n  pool: waiting for a token: queued\n" in text
    assert re.search(r"\n  left behind 0\.\d s ago: hung\.tick\n", text)
    assert re.fullmatch(
        r"stuck, in tick 1 for \d\.\d s: waits for its thread, which was left behind, at "
        rf"{re.escape(place('# holder'))} hangs",
        node_line(text, "hung"),
    )
    assert text.partition("\nthreads\n")[2].count(f"{place('# holder')} hangs") == 3


async def test_an_emergency_is_said_first(autojump_clock: MockClock) -> None:
    class Arm(AsyncNode):
        async def tick_async(self) -> None:
            pass

        async def enter_safe_state(self) -> None:
            pass

    scheduler = Scheduler(10.0)
    scheduler.add(Arm("arm", critical=True))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        await trio.sleep(0.5)
        scheduler.emergency_stop("a fence was opened")
        await trio.sleep(0.5)
        text = dump_of(scheduler)
        scheduler.reset_emergency()
        later = dump_of(scheduler)
        scheduler.stop()
    assert text.splitlines()[1] == "emergency (a fence was opened): 'arm' safe after 0.0 ms"
    assert node_line(text, "arm").startswith("safe state")
    assert later.splitlines()[1:3] == ["", "nodes"]


# SIGUSR1


def test_sigusr1_prints_it_in_a_thread_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    printed: list[str] = []

    def looks(node: Node) -> None:
        printed.append(capfd.readouterr().err)
        if "\nthreads\n" in "".join(printed):
            scheduler.stop("it was printed")

    scheduler = Scheduler(50.0, name="robby").add(Node("looker", init=asks, tick=looks))
    report = scheduler.run(10)
    assert report.reason == "it was printed"
    assert "".join(printed).startswith("robby has been running for ")


def asks(node: Node) -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)


@pytest.mark.slow
def test_sigusr1_prints_it_also_while_the_main_thread_is_in_c_code(tmp_path: Path) -> None:
    program = """
        import hashlib

        async def tick(node):
            if once(node, 5):
                say("in C")
                hashlib.pbkdf2_hmac("sha256", b"", b"", 20_000_000)  # here

        scheduler = Scheduler(50.0, name="robby")
        scheduler.add(Node("cruncher", tick=tick))
        scheduler.run()
    """
    with Child(tmp_path, program) as child:
        child.told("in C")
        child.wait_for("blocked for")
        asked = time.monotonic()
        child.signal(signal.SIGUSR1)
        title = child.wait_for("^robby has been running for")
        child.wait_for(r"^the loop has been BLOCKED for \d+\.\d s by node 'cruncher' \(tick \d+\)")
        child.wait_for("^nodes$")
        child.wait_for("^tasks$")
        child.wait_for("^threads$")
        child.wait_for(rf"{re.escape(str(child.file))}:{child.line_of('# here')} in tick")
        assert child.process.poll() is None
    assert title.at - asked < 2.0


@pytest.mark.slow
def test_sigusr1_is_left_alone_where_it_has_a_use_and_restored_at_the_end(tmp_path: Path) -> None:
    program = """
        def mine(signum, frame):
            say("mine")

        async def tick(node):
            if once(node, 5):
                os.kill(os.getpid(), signal.SIGUSR1)
            if once(node, 15):
                node.request_stop()

        def run():
            scheduler = Scheduler(50.0, name="robby")
            scheduler.add(Node("a", tick=tick))
            scheduler.run()
            _done.clear()

        for handler in (mine, signal.SIG_IGN, signal.SIG_DFL):
            signal.signal(signal.SIGUSR1, handler)
            run()
            say(f"restored {signal.getsignal(signal.SIGUSR1) == handler}")
            say("--")
    """
    with Child(tmp_path, program) as child:
        assert child.end() == 0
    own, ignored, ours = (re.sub(r" [\d.]+$", "", part) for part in child.said.split("-- ")[:3])
    assert "mine" in own
    assert "mine" not in ignored
    assert "robby has been running for" not in own + ignored
    assert "robby has been running for" in ours
    assert child.said.count("restored True") == 3


@pytest.mark.slow
def test_nobody_who_reads_is_no_harm_to_the_robot(tmp_path: Path) -> None:
    """A dump that cannot be written hangs in a thread of its own."""
    program = """
        os.set_blocking(2, False)
        try:
            while True:
                os.write(2, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(2, True)

        async def tick(node):
            if node.current_tick.seq in (5, 10, 15):
                os.kill(os.getpid(), signal.SIGUSR1)

        scheduler = Scheduler(50.0)
        scheduler.add(Node("a", tick=tick))
        report = scheduler.run(1)
        os._exit(7 if report.statistics.nodes["a"].ok > 30 else 1)
    """
    with Child(tmp_path, program, read=False) as child:
        assert child.process.wait(timeout=20) == 7


@pytest.fixture(autouse=True)
def own_handler() -> Iterator[None]:
    """Runs in this process would take SIGUSR1; that they give it back is checked here, too."""
    before = signal.getsignal(signal.SIGUSR1)
    yield
    assert signal.getsignal(signal.SIGUSR1) is before


async def test_a_task_stands_below_the_one_that_has_started_it() -> None:
    async def inner(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep_forever()

    async def outer(task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(inner, name="the inner one")
            task_status.started()

    async with trio.open_nursery() as nursery:
        await nursery.start(outer, name="the outer one")
        lines = list(_tasks(trio.lowlevel.current_task(), {}, 0))
        nursery.cancel_scope.cancel()
    below = [line for line in lines if line.endswith(" one")]
    assert below == ["  the outer one", "    the inner one"]


async def test_tasks_that_change_at_each_of_five_looks_are_left_out() -> None:
    class Busy:
        """A nursery in which tasks come and go while somebody looks."""

        def __init__(self, looks: int) -> None:
            self.looks = looks

        @property
        def child_tasks(self) -> frozenset[trio.lowlevel.Task]:
            self.looks -= 1
            if self.looks > 0:
                if self.looks % 2:
                    raise AttributeError("'Nursery' object has no attribute '_children'")
                raise RuntimeError("Set changed size during iteration")
            return frozenset({trio.lowlevel.current_task()})

    busy: Any = Busy(5)
    assert _children(busy) == [trio.lowlevel.current_task()]
    busier: Any = Busy(6)
    assert _children(busier) == []


async def test_names_are_aligned_and_a_run_without_nodes_has_no_lines(
    autojump_clock: MockClock,
) -> None:
    async with open_executor() as executor:
        empty = make_dump("robby", executor, None, None)
        for name in ("zz", "a longer name"):
            await executor.spawn_node(Node(name, tick=well))
        full = make_dump("robby", executor, trio.lowlevel.current_root_task(), None)
    assert empty.startswith("robby\n\nnodes\n  pool: 0 of 4 tokens are taken\n\nthreads\n")
    assert "\nnodes\n  zz             running\n  a longer name  running\n  pool: " in full
    assert re.search(r"\ntasks\n  \S", full)
    assert "waiting for a token" not in full


def test_a_thread_that_only_waits_is_idle_and_one_that_only_asks_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[str] = []
    over = threading.Event()
    waits = threading.Thread(target=over.wait, name="it waits")
    asks = threading.Thread(target=make_dump, args=("robby", None, None, None), name="it asks")
    monkeypatch.setattr(dump, "entry", lines.append)
    waits.start()
    asks.start()
    asks.join()
    over.set()
    waits.join()
    assert "  it waits, idle" in lines
    assert not [line for line in lines if "it asks" in line]
