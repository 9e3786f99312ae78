"""Breaks each promise on purpose and expects the promise's test module to notice.

A promise's tests are worth what they catch. Each breaker below is a small patch that takes one
promise away. It is applied to a copy of the project, the promise's module is run there, and it has
to turn red: a module that stays green is a defect of the tests, and so is a patch that no longer
fits the sources.

    python tests/guarantees/breakers.py [--only G4] [--no-unbroken] [--jobs 3]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patches import PACKAGE, PROJECT, Patch, copy_package

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pytest", "hypothesis", "trio"])  # importing them takes a second

PATIENCE = 60.0
"""Seconds a broken module may take; one that takes longer hangs, which also shows the break."""

UNBROKEN_PATIENCE = 300.0
"""Seconds the modules may take together while nothing is broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker(Patch):
    """One way of breaking one promise.

    Attributes:
        promise: Such as ``G4``.
        tests: Names of tests that are run, as for ``pytest -k``; all of the module if empty.
    """

    promise: str
    tests: str = ""


BREAKERS = [
    Breaker(
        promise="G1",
        breaks="an abandoned thread keeps its token",
        search="""
        if len(self._out) <= self.max_abandoned:
            call.give_back()""",
        replace="""
        if not self._out:
            call.give_back()""",
        tests="five_hung",
    ),
    Breaker(
        promise="G1",
        breaks="a def tick runs on the loop",
        search="        self._jobs.put((context, call))\n",
        replace="        call.work(); self._deliver(call)\n",
        tests="one_blocking",
    ),
    Breaker(
        promise="G1",
        breaks="a thread of its own waits for the pool",
        search="            if own is None:\n                await self._take_token()\n",
        replace="            await self._take_token()\n",
        tests="thread_of_its_own",
    ),
    Breaker(
        promise="G2",
        breaks="the next release counts from the wake-up",
        search="        self._next = n + 1\n        self._alarm.set(following)\n",
        replace="        self._next = n + 1\n        grid.start = now - n / grid.rate\n"
        "        self._alarm.set(grid.point(n + 1))\n",
        tests="late_wake_up",
    ),
    Breaker(
        promise="G2",
        breaks="after a stall every release is made up for",
        search="        if following <= now:",
        replace="        if False:",
        tests="stall or blocked or stopped",
    ),
    Breaker(
        promise="G2",
        breaks="wake-ups fall on whole milliseconds",
        search='sys.platform == "linux" and is_real_time(clock)',
        replace='sys.platform == "no system"',
        tests="finer",
    ),
    Breaker(
        promise="G3",
        breaks="a tick that was cut off is not a failure of its node",
        search="                error = ticker.error\n",
        replace="                error = None\n",
        tests="policy",
    ),
    Breaker(
        promise="G3",
        breaks="a function that had returned loses its result",
        search="        result = call.result\n        if result is None:\n",
        replace="        result = None if call.timed_out else call.result\n"
        "        if result is None:\n",
        tests="already_returned",
    ),
    Breaker(
        promise="G3",
        breaks="time counts from the wait for a token",
        search="                await self._take_token()\n",
        replace="                if self._limit is not None:\n"
        "                    alarm = self.pool.timer.alarm(lambda now: self.cancel())\n"
        "                    alarm.set(self.queued_at + self._limit.seconds)\n"
        "                await self._take_token()\n",
        tests="token",
    ),
    Breaker(
        promise="G3",
        breaks="a node ticks on while its thread is out",
        search='        self.phase = "stuck: its thread has not returned"\n'
        "        await self._worker.wait_while_stuck()\n",
        replace='        self.phase = "stuck: its thread has not returned"\n'
        "        self._worker.stuck = None\n",
        tests="left_behind or at_once",
    ),
    Breaker(
        promise="G4",
        breaks="an abandoned tick publishes on",
        search="            self.expired = self.closed = True\n",
        replace="            self.expired = True\n",
        tests="tries_later",
    ),
    Breaker(
        promise="G4",
        breaks="who waits in a link is not woken",
        search="        for wake in wakers or ():\n            wake()\n",
        replace="        for wake in wakers or ():\n            pass\n",
        tests="is_woken",
    ),
    Breaker(
        promise="G4",
        breaks="a send and the abandonment overlap",
        search="            guards = list(self._guards or ())\n",
        replace="            guards: list[threading.Lock] = []\n",
        tests="under_way",
    ),
    Breaker(
        promise="G4",
        breaks="the fence is looked at before it is one's turn",
        search="""
            lock.acquire()
            if fence is not None:
                if fence is not self._latest_from and fence not in self._met:
                    fence.meet(lock, self._met)
                if fence.closed:
                    fence.refuse()
""",
        replace="""
            if fence is not None:
                if fence is not self._latest_from and fence not in self._met:
                    fence.meet(lock, self._met)
                if fence.closed:
                    fence.refuse()
            lock.acquire()
            if fence is not None:
""",
        tests="waits_for_another",
    ),
    Breaker(
        promise="G4",
        breaks="a node can send after its run",
        search="        self._worker.fence.close()\n        self.seat.over = True\n",
        replace="",
        tests="after_the_run",
    ),
    Breaker(
        promise="G4",
        breaks="a cancelled async tick cannot say STOP",
        search="            self._timed_out = True\n",
        replace="            self._timed_out = True\n            self._worker.fence.close()\n",
        tests="unwound",
    ),
    Breaker(
        promise="G5",
        breaks="grid points slept through count as one",
        search="        self.missed += count\n",
        replace="        self.missed += 1\n",
        tests="generated",
    ),
    Breaker(
        promise="G5",
        breaks="a call stands between two counter updates",
        search="        self.errors += 1\n        self.in_flight -= 1\n",
        replace="        self.errors += 1\n        self.durations.summary()\n"
        "        self.in_flight -= 1\n",
        tests="foreign or signal_handler",
    ),
    Breaker(
        promise="G5",
        breaks="a def tick given up at the stop is not settled",
        search="            shield=True,  # only `cancel` ends it",
        replace="            shield=False,  # only `cancel` ends it",
        tests="waits_for_a_thread",
    ),
    Breaker(
        promise="G5",
        breaks="a missed grid point takes no number",
        search="            self.seq += count\n",
        replace="",
        tests="takes_a_number",
    ),
    Breaker(
        promise="G6",
        breaks="groups shut down in the order of init",
        search="            for turn in sorted(gates):\n",
        replace="            for turn in sorted(gates, reverse=True):\n",
        tests="reverse",
    ),
    Breaker(
        promise="G6",
        breaks="a failed init is followed by a shutdown",
        search="        if error is not None:\n"
        "            await self._shut_down_late()\n"
        "            return\n",
        replace="",
        tests="every_init or not_initialised",
    ),
    Breaker(
        promise="G6",
        breaks="an outer cancellation reaches the nodes",
        search="nodes.cancel_scope.shield = True\n",
        replace="nodes.cancel_scope.shield = False\n",
        tests="outer_cancellation",
    ),
    Breaker(
        promise="G6",
        breaks="nothing is forced when the stop takes too long",
        search="            deadline.set(self.clock() + within - grace)\n",
        replace="",
        tests="bounds",
    ),
    Breaker(
        promise="G6",
        breaks="hooks that wait for a reserved thread are not started",
        search="        if call.waits_for_thread and self._forced and "
        "limiter is self._pool.reserved:\n",
        replace="        if False:\n",
        tests="two_hundred",
    ),
    Breaker(
        promise="G6",
        breaks="SIGTERM ends the process",
        search="            for signum in STOPS:\n",
        replace="            for signum in STOPS[:1]:\n",
        tests="gracefully",
    ),
    Breaker(
        promise="G6",
        breaks="signal handlers stay",
        search="            if signal.getsignal(signum) in (self._handle, self._leave_to_hear):\n",
        replace="            if False:\n",
        tests="restored",
    ),
    Breaker(
        promise="G7",
        breaks="KeyboardInterrupt is a failure",
        search="    return isinstance(error, KeyboardInterrupt)\n",
        replace="    return False\n",
    ),
    Breaker(
        promise="G7",
        breaks="groups stay nested",
        search="            yield from _leaves(inner)\n",
        replace="            yield inner\n",
    ),
    Breaker(
        promise="G7",
        breaks="a node that is not critical ends the run",
        search="            self.fatal = isinstance(decision, EndRun) or self.options.critical\n",
        replace="            self.fatal = True\n",
    ),
    Breaker(
        promise="G7",
        breaks="a robot of failed nodes runs on",
        search='                self.stop("every node has failed")\n',
        replace="                pass\n",
    ),
    Breaker(
        promise="G8",
        breaks="the window of the restart intensity does not slide",
        search="(*(t for t in state.failures if now - t < self.within), now)",
        replace="(*state.failures, now)",
        tests="intensity",
    ),
    Breaker(
        promise="G8",
        breaks="stable time does not reset the backoff",
        search="        streak = 1 if now - last >= stable else state.streak + 1\n",
        replace="        streak = state.streak + 1\n",
        tests="intensity",
    ),
    Breaker(
        promise="G8",
        breaks="the backoff has no bound",
        search="        delay = min(self.max_backoff, ",
        replace="        delay = max(0.0, ",
        tests="intensity",
    ),
    Breaker(
        promise="G8",
        breaks="jitter only lengthens the backoff",
        search="Rebuild(delay * (1 + self.jitter * (2 * roll - 1)))",
        replace="Rebuild(delay * (1 + self.jitter * roll))",
        tests="intensity",
    ),
    Breaker(
        promise="G8",
        breaks="an open breaker lets no probe through",
        search="        self.resting = False\n        self.open()\n",
        replace="        pass\n",
        tests="matrix",
    ),
    Breaker(
        promise="G8",
        breaks="a good probe leaves the breaker open",
        search="        return replace(state, streak=0, open=False)\n",
        replace="        return state\n",
        tests="probe",
    ),
    Breaker(
        promise="G8",
        breaks="an init that fails again does not count",
        search='                decision = await self._decide(error, "init")\n',
        replace="                decision = Rebuild(0.1)\n",
        tests="matrix",
    ),
    Breaker(
        promise="G8",
        breaks="a restart does not shut down before",
        search="        if self._hooks.shutdown is not None:\n",
        replace="        if self._hooks.shutdown and not isinstance(decision, Rebuild):\n",
        tests="matrix",
    ),
    Breaker(
        promise="G8",
        breaks="a failed node does not enter its safe state",
        search="            self.safe_state.enter()\n        await self._end_tasks()\n",
        replace="            pass\n        await self._end_tasks()\n",
        tests="matrix",
    ),
    Breaker(
        promise="G8",
        breaks="a stop waits for a backoff",
        search="is NodeState.BACKING_OFF:\n            self._life.scope.cancel()\n",
        replace="is NodeState.BACKING_OFF:\n            pass\n",
        tests="matrix",
    ),
    Breaker(
        promise="G8",
        breaks="a factory's instance is used again",
        search="            fresh = self.factory()\n",
        replace="            fresh = self.node\n",
        tests="fresh_instance",
    ),
    Breaker(
        promise="G8",
        breaks="a background task that fails is only noted",
        search="            self._background_error = error\n            self._life.cut_short()\n",
        replace="            pass\n",
        tests="task_that_fails",
    ),
    Breaker(
        promise="G8",
        breaks="a policy that decides nothing is not noticed",
        search="if not isinstance(decision, (Continue, Rebuild, Suspend, GiveUp, EndRun)):",
        replace="if False:",
        tests="policy_that_is_broken",
    ),
    Breaker(
        promise="G8",
        breaks="an overrun is counted and nothing follows",
        search="            self._overrun()\n",
        replace="",
        tests="misses",
    ),
    Breaker(
        promise="G8",
        breaks="what is owed has no bound",
        search="            if len(self._owed) < CATCH_UP_BOUND:\n",
        replace="            if True:\n",
        tests="catching_up",
    ),
    Breaker(
        promise="G9",
        breaks="what an overflow loses is not counted",
        search="        self._dropped += 1\n        try:\n",
        replace="        try:\n",
        tests="model or concurrent",
    ),
    Breaker(
        promise="G9",
        breaks="a reader is interrupted between counting and taking",
        search="        self._received += 1  # no call between the look and the take\n",
        replace="        self._received += 1\n        __import__('time').sleep(1e-4)\n",
        tests="concurrent or threads_and_tasks",
    ),
    Breaker(
        promise="G9",
        breaks="who came last is served first",
        search="            sender, _ = self._senders.popitem(last=False)\n",
        replace="            sender, _ = self._senders.popitem(last=True)\n",
        tests="model",
    ),
    Breaker(
        promise="G9",
        breaks="a reader that does not tick holds senders up",
        search="            self._lenient = lenient\n",
        replace="            self._lenient = False\n",
        tests="block_reader",
    ),
    Breaker(
        promise="G9",
        breaks="a cancelled receive carries a message away",
        search="                await TaskWaiter().wait(self._as_consumer, self._leave_consumer)\n"
        "            else:\n"
        "                await trio.lowlevel.cancel_shielded_checkpoint()\n",
        replace="                await TaskWaiter().wait("
        "self._as_consumer, self._leave_consumer)\n"
        "            else:\n"
        "                await trio.lowlevel.checkpoint()\n",
        tests="link or lossless",
    ),
    Breaker(
        promise="G9",
        breaks="an abandoned thread carries a message away",
        search="                self._look(fence)\n"
        "            if not self._buffer:\n"
        "                if self._closed:\n"
        "                    raise trio.EndOfChannel\n"
        "                raise trio.WouldBlock\n"
        "            self._received += 1\n"
        "            value = self._buffer.popleft()\n",
        replace="                pass\n"
        "            if not self._buffer:\n"
        "                if self._closed:\n"
        "                    raise trio.EndOfChannel\n"
        "                raise trio.WouldBlock\n"
        "            self._received += 1\n"
        "            value = self._buffer.popleft()\n"
        "            if fence is not None:\n"
        "                self._look(fence)\n",
        tests="link or lossless",
    ),
    Breaker(
        promise="G10",
        breaks="the timer's descriptor stays open",
        search="            fd, self.fd = self.fd, -1\n            os.close(fd)\n",
        replace="            pass\n",
    ),
    Breaker(
        promise="G10",
        breaks="worker threads are not ended",
        search="        for worker in self._workers:\n            worker.finish()\n",
        replace="        for worker in self._workers:\n            worker._scope.cancel()\n",
    ),
    Breaker(
        promise="G10",
        breaks="abandoned threads are not listed",
        search="        self._out[call] = None\n",
        replace="        pass\n",
        tests="listed",
    ),
    Breaker(
        promise="G11",
        breaks="the time is asked of the machine",
        search="        self.clock: Callable[[], float] = clock.current_time\n",
        replace="        import time\n        self.clock: Callable[[], float] = time.monotonic\n",
    ),
    Breaker(
        promise="G11",
        breaks="periods are added up",
        search="        return self.start + n / self.rate\n",
        replace="        return self.start + n * (1 / self.rate)\n",
        tests="absolute_grid",
    ),
    Breaker(
        promise="G11",
        breaks="a timerfd under every clock",
        search='    return type(clock).__name__ == "SystemClock"\n',
        replace="    return True\n",
        tests="timer_sleeps",
    ),
    Breaker(
        promise="G11",
        breaks="def nodes are let in under autojump",
        search="        if hooks.uses_threads and self._has_autojump:\n",
        replace="        if False:\n",
        tests="refused",
    ),
    Breaker(
        promise="G11",
        breaks="the first backoff is doubled already",
        search="self.backoff * 2.0 ** min(streak - 1, 64)",
        replace="self.backoff * 2.0 ** min(streak, 64)",
        tests="backoff",
    ),
    Breaker(
        promise="G12",
        breaks="nobody watches the loop",
        search="        else:\n            self._watch(now - self._asked)\n",
        replace="",
        tests="who_blocks",
    ),
    Breaker(
        promise="G12",
        breaks="a task that a node has started is nobody's",
        search="    if fence is None:\n        return Owner(node=None",
        replace="    if True:\n        return Owner(node=None",
        tests="who_blocks",
    ),
    Breaker(
        promise="G12",
        breaks="one of many is blamed for the others",
        search="            if 2 * times[culprit.node, culprit.what] > len(looks):\n",
        replace="            if True:\n",
        tests="take_turns",
    ),
    Breaker(
        promise="G12",
        breaks="it is reported again at every look",
        search="            self._next_report *= 2\n",
        replace="",
        tests="doubling",
    ),
    Breaker(
        promise="G12",
        breaks="a held lock passes for a suspended process",
        search="if waits < min(possible / 2, max(LOCK_WAITS, possible * LOCK_SHARE)):\n",
        replace="if True:\n",
        tests="c_code",
    ),
    Breaker(
        promise="G12",
        breaks="a suspended process passes for a held lock",
        search="if waits < min(possible / 2, max(LOCK_WAITS, possible * LOCK_SHARE)):\n",
        replace="if False:\n",
        tests="suspended",
    ),
    Breaker(
        promise="G12",
        breaks="the watchdog itself writes to the terminal",
        search="        record.exc_info = None\n        thread.put(record)\n",
        replace="        self._target.handle(record)\n",
        tests="nobody_reads",
    ),
    Breaker(
        promise="G12",
        breaks="a node that waits for input has stalled",
        search="        if runner.seat.waiting_for is not None:\n            record.since",
        replace="        if False:\n            record.since",
        tests="has_stalled",
    ),
    Breaker(
        promise="G12",
        breaks="who reads too slowly is not named",
        search="            name for name, runner in tuple(runners.items()) "
        "if runner.seat.holds_up(subject.name)\n",
        replace="            name for name, runner in tuple(runners.items()) if not name\n",
        tests="has_stalled",
    ),
    Breaker(
        promise="G12",
        breaks="whoever could not go on is accused, too",
        search="        if stood or self._stood:\n",
        replace="        if False:\n",
        tests="not_accused",
    ),
    Breaker(
        promise="G12",
        breaks="a stop that does not end is not noticed",
        search="            self._endless()\n",
        replace="            pass\n",
        tests="does_not_end",
    ),
    Breaker(
        promise="G13",
        breaks="the thread of a safe state is started in the emergency",
        search="        if not self._ready or self.hook is None or self.hook.is_async:\n",
        replace="        if True:\n",
        tests="no_thread_is_started",
    ),
    Breaker(
        promise="G13",
        breaks="each call is an emergency of its own",
        search="        if self._latch.acquire(blocking=False):\n",
        replace="        if self._latch.acquire(blocking=False) or True:\n",
        tests="many_threads",
    ),
    Breaker(
        promise="G13",
        breaks="critical nodes tick on in an emergency",
        search="        self._turnstile.held = True\n",
        replace="        self._turnstile.held = False\n",
        tests="stand_still",
    ),
    Breaker(
        promise="G13",
        breaks="a safe state needs the loop",
        search="                    runner.safe_state.enter()\n",
        replace="                    self._token.run_sync_soon(runner.safe_state.enter)\n",
        tests="blocked",
    ),
    Breaker(
        promise="G13",
        breaks="a fatal failure makes nobody safe",
        search='            self.executor.safety.trip(f"node {self.name!r} failed for good")\n',
        replace="            pass\n",
        tests="fatal_failure",
    ),
    Breaker(
        promise="G13",
        breaks="a stop that is held up makes nobody safe",
        search="            held_up.set(self.now() + HELD_UP)\n",
        replace="",
        tests="hold_up",
    ),
    Breaker(
        promise="G13",
        breaks="a forced stop makes nobody safe",
        search='        self.safety.trip_if_exposed("the stop is forced")\n',
        replace="",
        tests="forced_stop",
    ),
    Breaker(
        promise="G13",
        breaks="a tick in flight may go on after the safe state",
        search="        fence = Fence(self._name)\n        call = self._call = SafeCall(",
        replace="        self._is_ending = lambda: False\n"
        "        fence = Fence(self._name)\n        call = self._call = SafeCall(",
        tests="about_to_end",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one breaker."""

    noticed: bool
    text: str
    seconds: float = 0.0


def modules_of(promise: str) -> list[Path]:
    """The test modules of a promise.

    Raises:
        LookupError: There is none.
    """
    number = int(promise.removeprefix("G"))
    found = sorted(Path(__file__).parent.glob(f"test_g{number:02}_*.py"))
    if not found:
        raise LookupError(f"{promise} has no test module")
    return found


def copy_project(to: Path) -> None:
    """What the tests of promises need: the package, what helps them, the configuration."""
    copy_package(to)
    tests = PROJECT / "tests"
    others = [path.name for path in tests.glob("*/") if path.name != "guarantees"]
    leave_out = shutil.ignore_patterns(*others, "test_*.py")
    shutil.copytree(tests, to / "tests", ignore=leave_out)
    shutil.copytree(tests / "guarantees", to / "tests" / "guarantees", dirs_exist_ok=True)
    for name in ("pyproject.toml", "README.md"):
        if (PROJECT / name).exists():
            shutil.copy(PROJECT / name, to / name)


def run_tests(
    where: Path, modules: Sequence[Path], tests: str, seconds: float
) -> tuple[int | None, str]:
    """Run test modules of a copy; the exit code of pytest (None: it hung) and what it said."""
    names = [str(module.relative_to(PROJECT)) for module in modules]
    chosen = ["-k", tests] if tests else []
    how = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile", "that it fails is enough"]
    how += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
    said = where / "said"
    process = FORKS.Process(target=be_pytest, args=(where, [*how, *chosen, *names], said))
    process.start()
    process.join(seconds)
    if process.exitcode is None and process.pid is not None:
        os.killpg(process.pid, signal.SIGKILL)  # the session that it has started
        process.join()
        return None, said.read_text()
    return (process.exitcode or 0) - 100, said.read_text()


def be_pytest(where: Path, arguments: Sequence[str], said: Path) -> None:
    """In a process of its own: run pytest in a copy of the project."""
    import pytest

    os.setsid()
    os.chdir(where)
    with said.open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.path.insert(0, str(where))
    os.environ |= {"PYTHONPATH": str(where), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True

    sys.exit(100 + pytest.main(list(arguments)))  # an error before it would be a 1


def first_failure(said: str) -> str:
    """The name of the first test that failed, from pytest's summary."""
    for line in said.splitlines():
        if line.startswith(("FAILED tests", "ERROR tests")):
            return line.split(" - ")[0].partition("::")[2]
    return "?"


def judge(breaker: Breaker) -> Verdict:
    """Apply one breaker to a copy and run its promise's modules there."""
    with tempfile.TemporaryDirectory(prefix="breaker-") as folder:
        copy = Path(folder)
        copy_project(copy)
        try:
            modules = modules_of(breaker.promise)
            breaker.apply(copy / PACKAGE)
        except LookupError as error:
            return Verdict(noticed=False, text=f"DOES NOT APPLY: {error}")
        began = time.monotonic()
        code, said = run_tests(copy, modules, breaker.tests, PATIENCE)
        seconds = time.monotonic() - began
    match code:
        case 1:
            text = first_failure(said)
        case None:
            text = f"hung for {PATIENCE:g} s"
        case 0:
            text = "STAYED GREEN"
        case 5:
            text = f"NO TEST matches {breaker.tests!r}"
        case _:
            last = "\n".join(said.splitlines()[-15:])
            text = f"PYTEST FAILED with exit code {code}\n{last}"
    return Verdict(noticed=code in (1, None), text=text, seconds=seconds)


def check_unbroken(breakers: Sequence[Breaker]) -> bool:
    """Whether the modules are green while nothing is broken."""
    modules = sorted({m for breaker in breakers for m in modules_of(breaker.promise)})
    with tempfile.TemporaryDirectory(prefix="unbroken-") as folder:
        copy_project(Path(folder))
        code, said = run_tests(Path(folder), modules, "", UNBROKEN_PATIENCE)
    if code != 0:
        print(said)
    return code == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; its exit code is 0 if every breaker was noticed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", metavar="PROMISE", help="such as G4")
    parser.add_argument(
        "--unbroken",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="first check that the modules are green as they are",
    )
    parser.add_argument("--jobs", type=int, default=4, help="how many to try at once")
    options = parser.parse_args(arguments)
    breakers = [b for b in BREAKERS if options.only in (None, b.promise)]
    if not breakers:
        known = ", ".join(dict.fromkeys(b.promise for b in BREAKERS))
        parser.error(f"no breaker for {options.only!r}; there are some for {known}")
    if options.unbroken and not check_unbroken(breakers):
        print("not green while nothing is broken: that comes first")
        return 1
    missed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        # Those of the last promises take longest, so they come first.
        verdicts = {pool.submit(judge, breaker): breaker for breaker in reversed(breakers)}
        for judged in as_completed(verdicts):
            breaker, verdict = verdicts[judged], judged.result()
            missed += not verdict.noticed
            mark = "noticed" if verdict.noticed else "MISSED "
            print(
                f"{mark}  {breaker.promise:<3}  {breaker.breaks:<55}  "
                f"{verdict.seconds:5.1f} s  {verdict.text}",
                flush=True,
            )
    print(f"{len(breakers) - missed} of {len(breakers)} breakers noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
