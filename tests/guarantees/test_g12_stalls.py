"""G12 stalls, nodes: one whose tick does not come to an end is named with what it waits for, and so
is one that does not let a stop come to its end.

The robots run in processes of their own; what the watchdog writes is read while they are stuck.
"""

from __future__ import annotations

import contextlib
import re
import textwrap
from pathlib import Path

import pytest
from children import Child, robot

WITHIN = 2.0
"""Seconds beyond all time limits by which the culprit is to be named."""


# Nodes that stall


STALLED = robot("""
    link, deep = horus.Link("link", capacity=1), horus.Link("deep", capacity=1)
    few = trio.CapacityLimiter(1)

    async def for_ever(node):
        node.send("pose", 0)
        await trio.sleep_forever()  # sleeper

    async def awaits_pose(node):
        while True:
            await node.recv_async("pose")

    def in_thread(node):
        time.sleep(60)  # thread

    async def writes(node):
        while True:
            await node.send_async("scan", 0)  # writer

    async def reads_nothing(node):
        await trio.sleep_forever()

    async def produces(node):
        while True:
            await link.send(0)  # producer

    async def consumes_one(node):
        await link.receive()
        await trio.sleep_forever()

    def produces_in_thread(node):
        while True:
            deep.send_blocking(0)  # deep

    def consumes_one_in_thread(node):
        deep.receive_blocking()
        time.sleep(60)

    async def receives(node):
        await horus.Link("silent").receive()

    async def beats(node):
        node.send("beat", 0)

    async def streams(node):
        while True:
            await node.recv_async("beat")
            await trio.sleep(0.05)

    async def tardy(node):
        await trio.sleep(2.1)

    def add(name, tick, **options):
        scheduler.add(Node(name, tick=tick), **options)

    add("sleeper", for_ever, pubs=["pose"])
    add("listener", awaits_pose)
    add("threader", in_thread, limiter=few, phase=0.0)
    add("own", in_thread, thread="own")
    add("queued", in_thread, limiter=few, phase=0.01)
    add("writer", writes)
    add("reader", reads_nothing, subs=[
        horus.Sub("scan", capacity=1, overflow=horus.Overflow.BLOCK)])
    add("producer", produces)
    add("consumer", consumes_one)
    add("deep producer", produces_in_thread, thread="own")
    add("deep consumer", consumes_one_in_thread, thread="own")
    add("silent", receives)
    add("beat", beats, rate=5)
    add("stream", streams)
    add("tardy", tardy)
    add("slow", tardy, rate=1)
""")


@pytest.mark.slow
def test_a_node_that_has_stalled_is_reported_with_what_it_waits_for(tmp_path: Path) -> None:
    with Child(tmp_path, STALLED) as child:
        child.wait_for(r"'sleeper' has been in tick")
        child.listen(4)

    def at(mark: str) -> str:
        return f"at {child.file}:{child.line_of(mark)} in"

    report = r"^node '([\w ]+)' has been in tick 1 for \d\.\d s, more than 1 s: it (.*)$"
    said = dict(re.findall(report, child.said, re.MULTILINE))
    assert said["sleeper"].startswith(f"awaits something, {at('# sleeper')} for_ever")
    assert said["sleeper"].endswith("; waiting for it: 'listener' (for topic 'pose')")
    assert said["threader"] == f"is busy in a thread, {at('# thread')} in_thread"
    assert said["queued"] == "waits for a thread of the pool, held up by 'threader'"
    assert said["writer"].startswith(
        f"waits for room in topic 'scan', held up by 'reader', {at('# writer')}"
    )
    assert said["producer"].startswith(
        f"waits for room in link 'link', held up by 'consumer', {at('# producer')}"
    )
    assert said["deep producer"].startswith(
        f"waits for room in link 'deep', held up by 'deep consumer', {at('# deep')}"
    )
    assert "tardy" in said
    assert not said.keys() & {"listener", "silent", "beat", "stream", "slow"}
    # Each twice at most in five seconds: at once, and when it has lasted twice as long.
    assert 1 <= child.said.count("node 'sleeper' has been in tick") <= 3
    assert child.said.count("node 'tardy' has been in tick") == 1


@pytest.mark.slow
def test_who_was_in_a_tick_while_another_blocked_the_loop_is_not_accused(tmp_path: Path) -> None:
    program = robot(
        """
        async def tick(node):
            if once(node, 10):
                time.sleep(2)

        async def innocent(node):
            for _ in range(8):
                await trio.sleep(0.1)

        scheduler.add(Node("culprit", tick=tick))
        for n in range(8):
            scheduler.add(Node(f"innocent {n}", tick=innocent), phase=n / 10)
        """,
        after="scheduler.run(3.5)",
    )
    with Child(tmp_path, program) as child:
        assert child.end() == 0
    assert "by node 'culprit' (tick " in child.said
    assert "innocent" not in child.said


# A stop that does not end


ENDLESS = {
    "a shielded shutdown": """
        async def shutdown(node):
            with trio.CancelScope(shield=True):
                await trio.sleep(60)  # here

        scheduler.add(Node("culprit", tick=well, shutdown=shutdown))
    """,
    "a swallowed cancellation": """
        async def tick(node):
            while True:
                try:
                    await trio.sleep(60)
                except trio.Cancelled:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(60)  # here

        scheduler.add(Node("culprit", tick=tick))
    """,
    "a blocked loop": """
        async def shutdown(node):
            time.sleep(60)  # here

        scheduler.add(Node("culprit", tick=well, shutdown=shutdown))
    """,
}


@pytest.mark.slow
def test_a_stop_that_does_not_end_is_named_and_the_last_resort_called(tmp_path: Path) -> None:
    program = """
scheduler = Scheduler(50.0, stop_timeout=0.5)
{}
scheduler.add(Node("innocent", tick=well))

def last_resort(text):
    for line in text.splitlines():
        say(f"| {{line}}")
    time.sleep(0.5)  # the log has a thread of its own
    os._exit(7)

scheduler._last_resort = last_resort
threading.Timer(0.3, lambda: (say("stopping"), scheduler.stop("enough"))).start()
scheduler.run()
"""
    with contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(Child(tmp_path / why, program.format(textwrap.dedent(body))))
            for why, body in ENDLESS.items()
        ]
        for child in children:
            asked = child.told("stopping")
            named = child.wait_for(r"^\| .*node 'culprit'")
            assert child.end() == 7
            # The time limit of the stop, the patience after it, and what the promise allows.
            assert 0.5 <= named.at - asked <= 0.5 + 1.5 + WITHIN
            last_words = "\n".join(line.text for line in child.seen if line.text[:1] == "|")
            assert f"{child.file}:{child.line_of('# here')}" in last_words
            assert "Trio cannot leave behind async code that shields itself" in last_words
            logged = re.findall(r"^node 'culprit' does not end", child.said, re.MULTILINE)
            assert len(logged) == 1
            assert "innocent" not in child.said
