"""The rules of `conftest.py` are tested from outside: small test files that break each of them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def outcome_of(pytester: pytest.Pytester) -> pytest.Pytester:
    here = Path(__file__).parent
    rules = (here / "conftest.py").read_text()
    pytester.makeconftest(rules.replace("GRACE = 2.0", "GRACE = 0.5"))
    pytester.makepyprojecttoml((here.parent / "pyproject.toml").read_text())
    return pytester


def test_what_is_left_behind_fails_the_test(outcome_of: pytest.Pytester) -> None:
    outcome_of.makepyfile(
        """
        import functools, os, subprocess, threading
        import pytest, trio

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

        def test_kill():
            kept[1].kill(), kept[1].wait()
        """
    )
    result = outcome_of.runpytest_subprocess(".", "-W", "ignore")
    result.assert_outcomes(passed=6, failed=1, errors=5)
    result.stdout.fnmatch_lines_random(
        [
            "*left behind: *Thread(forgotten*",
            "*left behind: descriptor * of pipe:*",
            "*left behind: process *(sleep)*",
            "*left behind: process *(true)*",
            "*left behind: *Thread(wait from *test_busy_worker*",
            "*left behind: tasks forgotten*",
        ]
    )


def test_what_is_put_away_passes(outcome_of: pytest.Pytester) -> None:
    outcome_of.makepyfile(
        """
        import os, subprocess, threading, time
        import trio
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
    outcome_of.runpytest_subprocess(".").assert_outcomes(passed=5)


def test_patience_is_in_real_time_whatever_the_clock(outcome_of: pytest.Pytester) -> None:
    outcome_of.makepyfile(
        """
        import pytest, trio

        @pytest.mark.patience(0.2)
        async def test_deadlock(autojump_clock):
            await trio.sleep_forever()

        @pytest.mark.patience(0.2)
        async def test_a_virtual_hour(autojump_clock):
            await trio.sleep(3600)
            assert trio.current_time() == 3600
        """
    )
    result = outcome_of.runpytest_subprocess(".")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*was still running after 0.2 s*"])


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", {"skipped": 1, "passed": 1}), ("true", {"failed": 1, "passed": 1})]
)
def test_what_is_missing_skips_here_and_fails_in_ci(
    outcome_of: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: dict[str, int]
) -> None:
    monkeypatch.setenv("CI", ci)
    outcome_of.makepyfile(
        """
        def test_absent(require):
            require("a robot", False, "build one")

        def test_present(require):
            require("a computer", True, "buy one")
        """
    )
    result = outcome_of.runpytest_subprocess(".")
    result.assert_outcomes(**outcome)
    result.stdout.fnmatch_lines(["*needs a robot, which is not here: build one*"])
