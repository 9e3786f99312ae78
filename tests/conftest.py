"""What the tests here need of the machine.

That they end in time and leave nothing behind is seen to by this package's own pytest plugin, which
is configured in `pyproject.toml`.

Time: an async test that asks for `autojump_clock` or `mock_clock` (of pytest-trio), or that opens a
harness, runs on virtual time and compares it with `==`. Real time is for tests of what only real
time shows.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ["pytester"]

hypothesis.settings.register_profile("real machines pause", deadline=None)
hypothesis.settings.register_profile(
    "that it fails is enough",
    deadline=None,
    phases=set(hypothesis.Phase) - {hypothesis.Phase.shrink, hypothesis.Phase.explain},
)
hypothesis.settings.load_profile("real machines pause")


SHARED_MEMORY = Path("/dev/shm")


def pytest_configure() -> None:
    """Have children die by Ctrl-C and hang-ups as on a terminal: a shell's job ignores them.

    And have what tests here do with HORUS's own package done in a place of its own.
    """
    os.environ.setdefault("HORUS_NAMESPACE", f"horus_trio_tests_{os.getpid()}")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """Have the collector walk over all that there is a fifth as often: most of it are the tests."""
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, 5 * old)


def pytest_unconfigure() -> None:
    """Remove that place."""
    name = f"horus_trio_tests_{os.getpid()}"
    if os.environ.get("HORUS_NAMESPACE") == name:
        del os.environ["HORUS_NAMESPACE"]
        shutil.rmtree(SHARED_MEMORY / f"horus_{name}", ignore_errors=True)


@pytest.fixture
def untraced() -> Iterator[None]:
    """Whatever traces this thread, as measuring coverage does, pauses for the test."""
    trace = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(trace)


@pytest.fixture(autouse=True)
def untraced_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coverage is not measured in the processes that a test starts: it takes 0.15 s in each.

    What is tested in children alone has another fixture of this name, which leaves it measured.
    """
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture(scope="session")
def require() -> Callable[[str, bool, str], None]:
    """Call with a name, whether it is present, and how to install it.

    What is absent skips the test on a user's machine, and fails it in continuous integration.
    """

    def require(name: str, present: bool, how_to_install: str) -> None:
        if present:
            return
        reason = f"needs {name}, which is not here: {how_to_install}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)

    return require
