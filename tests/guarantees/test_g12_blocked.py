"""G12 stalls, the loop: whoever blocks it is named with its stack, while it does.

The robots run in processes of their own. Each says when it is about to block, and what the watchdog
writes to its standard error is read while it is blocked.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from children import PRELUDE, Child, robot

import horus_trio as horus

WITHIN = 2.0
"""Seconds from the moment of blocking by which the culprit is to be named."""


def blocking_tick(how: str) -> str:
    return robot(f"""
        async def tick(node):
            if once(node, 5):
                say("about to block")
                {how}  # here

        scheduler.add(Node("well", tick=well))
        scheduler.add(Node("culprit", tick=tick))
    """)


BLOCKS = 'say("about to block"); time.sleep(30)  # here'

BLOCKERS = {
    "a loop that never ends": (
        blocking_tick("while True: pass"),
        r"node 'culprit' \(tick \d+\)",
    ),
    "a sleep": (
        blocking_tick("time.sleep(30)"),
        r"node 'culprit' \(tick \d+\)",
    ),
    "a function of a library": (
        blocking_tick("queue.Queue().get()"),
        r"node 'culprit' \(tick \d+\)",
    ),
    "init": (
        robot(f"""
            async def init(node):
                {BLOCKS}

            scheduler.add(Node("culprit", tick=well, init=init))
        """),
        r"node 'culprit' \(init\)",
    ),
    "shutdown": (
        robot(
            f"""
            async def shutdown(node):
                {BLOCKS}

            scheduler.add(Node("culprit", tick=well, shutdown=shutdown))
            """,
            after="scheduler.run(0.1)",
        ),
        r"node 'culprit' \(shutdown\)",
    ),
    "enter_safe_state": (
        robot(f"""
            class Arm(AsyncNode):
                async def tick_async(self):
                    if once(self, 5):
                        scheduler.emergency_stop("a test")

                async def enter_safe_state(self):
                    {BLOCKS}

            scheduler.add(Arm("culprit", critical=True))
        """),
        r"node 'culprit' \(enter_safe_state\)",
    ),
    "a background task": (
        robot(f"""
            async def work():
                await trio.sleep(0.1)
                {BLOCKS}

            async def init(node):
                node.start_soon(work)

            scheduler.add(Node("culprit", tick=well, init=init))
        """),
        r"node 'culprit' \(a background task\)",
    ),
    "a task that a tick has started": (
        robot(f"""
            async def work():
                {BLOCKS}

            async def tick(node):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(work)

            scheduler.add(Node("culprit", tick=tick))
        """),
        r"node 'culprit' \(a task that it started\)",
    ),
    "on_stale": (
        robot(f"""
            def on_stale(topic):
                {BLOCKS}

            scheduler.add(Node("culprit", tick=well, subs=[
                horus.Sub("scan", max_age=0.1, on_stale=on_stale)]))
        """),
        r"node 'culprit' \(on_stale\)",
    ),
    "a failure policy": (
        robot(f"""
            class Slow(horus.Restart):
                def failed(self, state, now, dice):
                    {BLOCKS}

            async def tick(node):
                raise ValueError

            scheduler.add(Node("culprit", tick=tick, failure_policy=Slow()))
        """),
        r"node 'culprit' \(its failure policy\)",
    ),
    "a factory at a restart": (
        robot(f"""
            made = []

            async def tick(node):
                raise ValueError

            def make():
                if made:
                    {BLOCKS}
                made.append(True)
                return Node("culprit", tick=tick)

            scheduler.add(make)
        """),
        r"node 'culprit' \(what builds it anew\)",
    ),
    "a result callback": (
        robot(f"""
            def callback(result):
                {BLOCKS}

            scheduler.on_result(callback)
            scheduler.add(Node("innocent", tick=well))
        """),
        "a result callback",
    ),
    "a task of no node": (
        robot(
            f"""
            async def work():
                await trio.sleep(0.2)
                {BLOCKS}

            async def main():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(work)
                    await scheduler.run()

            scheduler.add(Node("innocent", tick=well))
            """,
            after="trio.run(main)",
        ),
        "code of no node",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("blocker", BLOCKERS)
def test_who_blocks_the_loop_is_named_while_it_does(blocker: str, tmp_path: Path) -> None:
    program, owner = BLOCKERS[blocker]
    with Child(tmp_path, program) as child:
        since = child.told("about to block")
        named = child.wait_for("blocked for")
        assert child.process.poll() is None
        assert named.at - since <= WITHIN
        line = child.line_of("# here")
        place = re.escape(f"{child.file}:{line} in ")
        assert re.search(f"by {owner} at {place}", named.text)
        child.wait_for(re.escape(f'File "{child.file}", line {line}'))  # of the stack


@pytest.mark.slow
def test_nodes_that_take_turns_are_named_together(tmp_path: Path) -> None:
    program = robot("""
        async def tick(node):
            time.sleep(0.15)

        for n in range(12):
            scheduler.add(Node(f"part {n}", tick=tick, phase=0.0))
    """)
    with Child(tmp_path, program) as child:
        named = child.wait_for("blocked for").text
    assert "several in turn, such as node 'part " in named
    assert len(set(re.findall(r"'part \d+'", named))) > 1
    assert "lower rates" in named


@pytest.mark.slow
def test_reports_come_at_doubling_intervals_and_the_end_is_told(tmp_path: Path) -> None:
    program = robot(
        """
        async def tick(node):
            if once(node, 5):
                time.sleep(3.2)  # here

        scheduler.add(Node("culprit", tick=tick))
        scheduler.add(Node("innocent", tick=well))
        """,
        after="""
def watch():
    while not scheduler.statistics().stalls:
        time.sleep(0.01)
    stall = scheduler.statistics().stalls[0]
    say(f"seen meanwhile {stall.node} {stall.what}")

threading.Thread(target=watch).start()
report = scheduler.run(4)
(stall,) = report.statistics.stalls
say(f"counted {report.statistics.stall_count} {stall.node} {stall.duration:.2f}")
for text in report.warnings:
    say(text)
""",
    )
    with Child(tmp_path, program) as child:
        assert child.end() == 0
    place = f"{child.file}:{child.line_of('# here')} in tick"
    reports = [float(n) for n in re.findall(r"has been blocked for ([\d.]+) s by", child.said)]
    assert len(reports) == 3
    for report, at_least in zip(reports, (0.5, 1.0, 2.0), strict=True):
        assert at_least <= report < at_least + 1.0
    assert "seen meanwhile culprit tick " in child.said
    goes_on = re.search(r"the loop goes on: (.*) had blocked it for ([\d.]+) s", child.said)
    assert goes_on is not None
    assert re.fullmatch(rf"node 'culprit' \(tick \d+\) at {re.escape(place)}", goes_on[1])
    assert 3.1 <= float(goes_on[2]) < 5.0
    counted = re.search(r"counted 1 culprit ([\d.]+)", child.said)
    assert counted is not None
    assert 3.1 <= float(counted[1]) < 5.0
    assert re.search(
        rf"node 'culprit' blocked the loop for up to 3\.\d s at {re.escape(place)}; make it a "
        "plain `def` hook",
        child.said,
    )
    assert "innocent" not in child.said


@pytest.mark.slow
def test_c_code_that_keeps_the_interpreter_is_named_as_soon_as_it_lets_go(tmp_path: Path) -> None:
    program = robot(
        """
        keeper = ctypes.PyDLL(None)

        def keep(node):
            keeper.usleep(1_000_000)
            say(f"{node.name} lets go")

        async def on_loop(node):
            if once(node, 10):
                keep(node)

        def in_thread(node):
            if once(node, 80):
                keep(node)

        scheduler.add(Node("innocent", tick=well))
        scheduler.add(Node("looper", tick=on_loop))
        scheduler.add(Node("threader", tick=in_thread))
        """,
        after="""
report = scheduler.run(3)
for stall in report.statistics.stalls:
    say(f"stall of {stall.node} {stall.duration:.2f}")
""",
    )
    with Child(tmp_path, program) as child:
        for name in ("looper", "threader"):
            # Which of the two threads writes first is open.
            either = r"^\w+ lets go|the interpreter's lock was held"
            lines = [child.wait_for(either) for _ in range(2)]
            let_go, named = sorted(lines, key=lambda line: "lock was held" in line.text)
            assert let_go.text.startswith(f"{name} lets go")
            assert f"by node '{name}' (" in named.text
            assert named.at - float(let_go.text.split()[-1]) <= WITHIN
            assert "C code has to release that lock" in named.text
        assert child.end() == 0
    assert re.findall(r"stall of (\w+) [12]\.", child.said) == ["looper", "threader"]
    assert "stood still" not in child.said
    assert "innocent" not in child.said


@pytest.mark.alone
@pytest.mark.slow
def test_a_suspended_process_stood_still_and_nobody_is_blamed(tmp_path: Path) -> None:
    program = robot(
        """
        async def tick(node):
            await trio.sleep(0.3)
            say("ticking")
            await trio.sleep(0.3)

        def in_thread(node):
            time.sleep(0.3)

        scheduler.add(Node("on loop", tick=tick))
        scheduler.add(Node("in thread", tick=in_thread))
        """,
        after="""
report = scheduler.run(3.5)
for stall in report.statistics.stalls:
    say(f"stall of {stall.node} {stall.what} {stall.duration:.2f}")
say(f"counted {report.statistics.stall_count} warned {report.warnings}")
""",
    )
    with Child(tmp_path, program) as child:
        child.told("ticking")
        child.signal(signal.SIGSTOP)
        time.sleep(1.2)
        child.signal(signal.SIGCONT)
        child.wait_for(r"the process stood still for [1-4]\.\d s")
        assert child.end() == 0
    assert re.search(r"stall of None the process stood still [1-4]\.", child.said)
    assert "counted 1 warned ()" in child.said
    assert "node '" not in child.said
    assert "blocked" not in child.said


@pytest.mark.slow
def test_a_terminal_that_nobody_reads_does_not_stop_the_watchdog(tmp_path: Path) -> None:
    program = robot(
        """
        os.set_blocking(2, False)
        try:
            while True:
                os.write(2, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(2, True)

        async def tick(node):
            if once(node, 5) or once(node, 60):
                time.sleep(0.9)

        scheduler.add(Node("culprit", tick=tick))
        """,
        after="""
report = scheduler.run(2.4)
counted = [stall.node for stall in report.statistics.stalls]
print(counted, flush=True)
""",
    )
    file = tmp_path / "robot.py"
    file.write_text(PRELUDE + program)
    reading, writing = os.pipe()
    try:
        with subprocess.Popen(
            [sys.executable, str(file)],
            stdout=subprocess.PIPE,
            stderr=writing,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(horus.__file__).parents[1])},
        ) as process:
            os.close(writing)
            writing = -1
            assert process.stdout is not None
            said = process.stdout.readline()
            process.kill()
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    assert said == "['culprit', 'culprit']\n"
