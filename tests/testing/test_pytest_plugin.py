"""The pytest plugin from outside, beginning with users' mistakes: small suites in processes."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.slow

CONFIGURATION = """
[pytest]
trio_mode = true
horus_grace = 0.3
"""

ROBOT = """
import os, subprocess, threading, time
import pytest, trio
import horus_trio as horus
from horus_trio.testing import *

class Beats(horus.AsyncNode):
    async def tick_async(self):
        self.send("beats", self.now)

"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini(CONFIGURATION)
    return pytester


# Users' mistakes


def test_a_forgotten_await(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        ROBOT
        + """
async def test_forgets(node_harness):
    h = await node_harness(Beats("a"))
    h.advance(2.5)

async def test_forgets_too(node_harness):
    async with node_harness(Beats("a")) as h:
        h.tick()

async def test_forgets_to_open(node_harness):
    h = node_harness(Beats("a"))
    await h.tick()
"""
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines_random(
        [
            "*HarnessError: h.advance(2.5) in *.py:* was never awaited; write `await h.adv*",
            "*HarnessError: h.tick(1) in *.py:* was never awaited; write `await h.tick(1)`",
            "*not open yet has no attribute 'tick': write `h = await node_harness(…)`*",
        ]
    )


def test_a_plain_test_with_an_async_fixture(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        ROBOT
        + """
@pytest.fixture
async def camera():
    yield 1

def test_plain(node_harness):
    pass

def test_plain_with_a_fixture_of_its_own(camera):
    pass
"""
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "test_plain uses the fixture 'node_harness', which lives in a Trio run, and this *",
            "*write `async def test_plain`",
            "*uses the fixture 'camera'*write `async def test_plain_with_a_fixture_of_its_own`",
        ]
    )


def test_an_async_test_that_trio_does_not_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ROBOT + "async def test_unmarked(node_harness):\n    pass\n")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*set trio_mode = true in the pytest configuration, or mark it*"])
    result = pytester.runpytest_subprocess("-p", "no:trio")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*install pytest-trio: pip install 'horus-trio?pytest?'"])


def test_real_sleep_under_the_virtual_clock(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        ROBOT
        + """
class Sleeps(horus.AsyncNode):
    async def tick_async(self):
        time.sleep(0.5)

async def test_in_the_test(virtual_clock):
    time.sleep(0.5)

async def test_in_a_tick(node_harness):
    h = await node_harness(Sleeps("a"))
    await h.tick()

async def test_trio_sleep_in_the_test(node_harness):
    h = await node_harness(Beats("a"), real_limit=0.2)
    await trio.sleep(1)

async def test_in_a_def_tick(node_harness):
    h = await node_harness(horus.Node("slow", tick=lambda node: time.sleep(1)), real_limit=0.2)
    await h.tick()

async def test_in_a_thread_it_is_allowed(node_harness):
    h = await node_harness(horus.Node("slow", tick=lambda node: time.sleep(0.05)))
    await h.tick()
    assert h.now == 0
"""
    )
    result = suite.runpytest_subprocess()
    # The second test passes, for it does not look; but it is reported. And a thread still sleeps.
    result.assert_outcomes(failed=3, passed=2, errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "*time.sleep(0.5) at *.py:* blocks the Trio loop and lets no virtual time pass: use*",
            "*`await trio.sleep(…)` in async code*",
            "*for 0.2 s of real time the test has waited at 0 s of virtual time*",
            "*tick of node 'slow' has really blocked its thread for more than 0.2 s*",
        ]
    )


def test_virtual_time_that_nobody_moves(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        ROBOT
        + """
from horus_trio.testing import guard
guard.STANDSTILL = 0.2

async def test_waits(virtual_clock):
    await trio.sleep(1)

async def test_spins(virtual_clock):
    while True:
        await trio.sleep(0)

async def test_is_driven(virtual_clock, nursery):
    nursery.start_soon(virtual_clock.advance, 3600)
    await trio.sleep(1800)
    assert trio.current_time() == 1800
"""
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines_random(
        [
            "*the test has waited at 0 s of virtual time, which nothing moves*",
            "*runs again and again and never lets virtual time pass, at *test_spins*",
        ]
    )


def test_a_node_that_never_stops(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        ROBOT
        + """
class Endless(horus.AsyncNode):
    async def tick_async(self):
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()

async def test_endless(node_harness):
    h = await node_harness(Endless("endless", rate=1))
    await h.advance(1)

async def test_others_go_on(node_harness):
    h = await node_harness(Beats("a"))
    await h.tick()
"""
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        ["*HarnessError: node 'endless' does not stop: it is running*await trio.sleep_forever()*"]
    )


def test_a_test_that_never_ends(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        ROBOT
        + """
@pytest.mark.patience(0.2)
async def test_deadlock(autojump_clock):
    await trio.Event().wait()

@pytest.mark.patience(0.2)
async def test_a_virtual_hour(autojump_clock):
    await trio.sleep(3600)
    assert trio.current_time() == 3600
"""
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*was still running after 0.2 s*"])


# The fixtures


def test_the_fixtures(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        ROBOT
        + """
from hypothesis import given, settings, strategies

async def test_awaited(node_harness):
    h = await node_harness(Beats("a", rate=10))
    await h.advance(1)
    assert len(h.results) == 10

async def test_in_a_block(node_harness):
    for _ in range(2):
        async with node_harness(Beats, rate=10) as h:
            await h.advance(1)
            assert len(h.results) == 10

async def test_on_the_virtual_clock(node_harness, virtual_clock):
    h = await node_harness(Beats("a", rate=10))
    await h.advance(1)
    assert virtual_clock.current_time() == trio.current_time() == h.now == 1

async def test_contracts_and_sweeps(virtual_clock, node_harness):
    await check_node(Beats)
    await cancel_everywhere(Beats, lambda node: trio.sleep(1))

async def test_two_at_once(node_harness):
    await node_harness(Beats("a"))
    with pytest.raises(HarnessError, match="another harness is open in this run"):
        await node_harness(Beats("b"))

async def test_a_scheduler(scheduler, autojump_clock):
    scheduler.add(Beats("a", rate=10))
    assert scheduler.name == "test_a_scheduler"
    report = await scheduler.run(2)
    assert report.statistics.nodes["a"].ok == 20

def test_a_scheduler_in_a_plain_test(scheduler):
    scheduler.add(Beats("a"))
    assert scheduler.run(0.01).ok

async def test_failing_for_good(node_harness):
    h = await node_harness(Beats("a", failure_policy=horus.Fatal()))
    h.fail("tick", ValueError("x"), at=1)
    with pytest.raises(horus.RunFailed):
        await h.tick()

async def test_failing_unseen(node_harness):
    h = await node_harness(Beats("a", failure_policy=horus.Fatal(), on="go"))
    h.fail("tick", ValueError("unseen"), at=1)
    h.publish("go", 1)

@settings(max_examples=5, deadline=None)
@given(strategies.integers(1, 20))
async def test_generated(ticks):
    async with open_harness(Beats("a")) as h:
        assert len(await h.tick(ticks)) == ticks
"""
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=9, failed=1)
    result.stdout.fnmatch_lines(
        ["*RunFailed: harness: node 'a' failed (1 sub-exception)", "*ValueError: unseen*"]
    )


# What is left behind

LEAKS = """
kept = []

def test_thread():
    wait = threading.Event().wait
    threading.Thread(target=wait, name="forgotten", daemon=True).start()

def test_descriptor():
    kept.append(os.pipe())

def test_process():
    kept.append(subprocess.Popen(["sleep", "30"]))

def test_dead_process():
    kept.append(subprocess.Popen(["true"]))

async def test_busy_worker():
    release = threading.Event()
    with trio.move_on_after(0.1):
        await trio.to_thread.run_sync(release.wait, abandon_on_cancel=True)

async def test_task():
    trio.lowlevel.spawn_system_task(trio.sleep_forever, name="forgotten")

@pytest.mark.leaves_behind
def test_may():
    kept.append(os.pipe())

def test_kill():
    kept[1].kill(), kept[1].wait()
"""


def test_what_is_left_behind_fails_the_test(suite: pytest.Pytester) -> None:
    suite.makepyfile(ROBOT + LEAKS)
    result = suite.runpytest_subprocess("-W", "ignore")
    result.assert_outcomes(passed=7, failed=1, errors=5)
    result.stdout.fnmatch_lines_random(
        [
            "*left behind: thread 'forgotten', which runs Event.wait; end, close or wait for it*",
            "*left behind: descriptor * of pipe:*, descriptor * of pipe:*",
            "*left behind: process * (sleep)*",
            "*left behind: process * (true, dead)*",
            "*left behind: thread *test_busy_worker*",
            "*left behind: tasks forgotten *cancel them, or start them in a nursery*",
        ]
    )


def test_what_is_put_away_passes(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        ROBOT
        + """
from hypothesis import given, strategies

def test_thread_that_is_about_to_end():
    threading.Thread(target=time.sleep, args=[0.2]).start()

def test_process_that_was_waited_for():
    subprocess.run(["true"], check=True)

async def test_idle_worker():
    await trio.to_thread.run_sync(os.getpid)

async def test_tasks_of_the_test(nursery):
    nursery.start_soon(trio.sleep_forever)

@given(strategies.integers())
async def test_generated(number):
    await trio.lowlevel.checkpoint()
"""
    )
    suite.runpytest_subprocess().assert_outcomes(passed=5)


def test_which_tests_are_checked(suite: pytest.Pytester) -> None:
    leak = "kept = []\ndef test_leak():\n    import os\n    kept.append(os.pipe())\n"
    suite.makepyfile(test_other=leak, test_ours=f"import horus_trio\n{leak}")
    suite.runpytest_subprocess().assert_outcomes(passed=2, errors=1)
    suite.runpytest_subprocess("-o", "horus_checks=all").assert_outcomes(passed=2, errors=2)
    suite.runpytest_subprocess("-o", "horus_checks=none").assert_outcomes(passed=2)
    result = suite.runpytest_subprocess("-o", "horus_checks=some")
    result.stderr.fnmatch_lines(["*horus_checks='some': expected auto, all or none*"])


# The order of tasks

ORDER = (
    ROBOT
    + """
async def test_order(node_harness):
    order = []
    async def note(n):
        order.append(n)
    async with trio.open_nursery() as nursery:
        for n in range(10):
            nursery.start_soon(note, n)
    h = await node_harness(Beats("a"))
    print("order", order)
    assert False
"""
)


def test_the_order_is_random_its_seed_is_printed_and_can_be_given_back(
    suite: pytest.Pytester,
) -> None:
    suite.makepyfile(ORDER)

    def run(*options: str) -> tuple[str, str, str]:
        text = suite.runpytest_subprocess(*options).stdout.str()
        header = re.search(r"Trio's run order has seed (\d+); --horus-seed=\1 repeats it", text)
        order = re.search(r"order (\[.*\])", text)
        robot = re.search(r"the robot of 'harness': seed=(\d+)", text)
        assert header
        assert order
        assert robot
        assert f"Trio's run order: --horus-seed={header[1]}" in text
        return header[1], order[1], robot[1]

    first = run()
    second = run()
    assert first != second
    assert run(f"--horus-seed={first[0]}") == first
    assert run("-n", "1", f"--horus-seed={first[0]}")[1:] == first[1:]


def test_the_plugin_can_be_left_out(suite: pytest.Pytester) -> None:
    suite.makepyfile("import horus_trio\ndef test_nothing():\n    pass\n")
    suite.makeini("[pytest]\n")
    result = suite.runpytest_subprocess("-p", "no:horus_trio")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*run order has seed*")
