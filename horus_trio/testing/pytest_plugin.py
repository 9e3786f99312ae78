"""The pytest plugin: fixtures, a check of what tests leave behind, and a repeatable run order.

It is thin: everything it does is done by the other modules here, for pytest and pytest-trio. It
concerns itself with Trio tests, with tests that use its fixtures, and with tests in modules that
use horus_trio; the option ``horus_checks`` makes that all tests, or none.
"""

from __future__ import annotations

import functools
import inspect
import random
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest
import trio

from ..scheduler import Scheduler
from .clock import VirtualClock
from .guard import Guard
from .internals import seeded_run_order
from .leftovers import whats_there
from .openings import Openings
from .stage import HarnessError

__all__ = ["node_harness", "scheduler", "virtual_clock"]

_SEED = pytest.StashKey[int]()
_SEEDS = pytest.StashKey[list[str]]()
_HAS_FAILED = pytest.StashKey[bool]()

_FIXTURES = ("node_harness", "scheduler", "virtual_clock")


# Configuration


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("horus_trio")
    group.addoption(
        "--horus-seed",
        type=int,
        default=None,
        help="seed of Trio's random order of ready tasks; drawn, and printed, if not given",
    )
    parser.addini(
        "horus_checks",
        "which tests are checked for leftovers: those of Trio and horus_trio (auto), all, or none",
        default="auto",
    )
    parser.addini(
        "horus_grace",
        "real seconds in which threads and processes that have been told to end may end",
        default="2",
    )
    parser.addini(
        "horus_patience",
        "real seconds an async test that uses horus_trio may take; 0: no limit",
        default="60",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Describe the markers, and draw the seed."""
    config.addinivalue_line(
        "markers", "patience(seconds): real seconds this async test may take, whatever its clock"
    )
    config.addinivalue_line(
        "markers", "leaves_behind: this test may leave threads, descriptors and processes behind"
    )
    if config.getini("horus_checks") not in ("auto", "all", "none"):
        raise pytest.UsageError(
            f"horus_checks={config.getini('horus_checks')!r}: expected auto, all or none"
        )
    seed: int | None = getattr(config, "workerinput", {}).get("horus_seed")
    if seed is None:
        seed = config.getoption("--horus-seed")
    config.stash[_SEED] = random.SystemRandom().getrandbits(32) if seed is None else seed


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give the workers of pytest-xdist the same seed."""
    node.workerinput["horus_seed"] = node.config.stash[_SEED]


def pytest_report_header(config: pytest.Config) -> str:
    """Print the seed."""
    seed = config.stash[_SEED]
    return f"horus_trio: Trio's run order has seed {seed}; --horus-seed={seed} repeats it"


# Fixtures


@pytest.fixture
def virtual_clock(_no_real_sleep: None) -> VirtualClock:
    """The clock of the test's run: it stands still until it is driven."""
    return VirtualClock()


@pytest.fixture
def scheduler(request: pytest.FixtureRequest) -> Iterator[Scheduler]:
    """A scheduler of the test's own, which leaves signals alone; its nodes are free afterwards."""
    scheduler = Scheduler(name=request.node.name, signals=False)
    yield scheduler
    scheduler._release_nodes()


@pytest.fixture
async def node_harness(
    request: pytest.FixtureRequest, _no_real_sleep: None
) -> AsyncIterator[Openings]:
    """Open harnesses: ``h = await node_harness(Camera())``, closed after the test.

    Or ``async with node_harness(Camera()) as h:``. The arguments are those of `open_harness`.
    """
    async with Openings.open(request.node.stash.setdefault(_SEEDS, [])) as openings:
        yield openings


@pytest.fixture
def _no_real_sleep(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Refuse `time.sleep` on the loop: it blocks every node, and lets no virtual time pass."""
    refused: list[str] = []
    really = time.sleep

    def sleep(seconds: float) -> None:
        if trio.lowlevel.in_trio_run():
            line = traceback.extract_stack(limit=2)[0]
            refused.append(
                f"time.sleep({seconds!r}) at {line.filename}:{line.lineno} blocks the Trio loop "
                "and lets no virtual time pass: use `await trio.sleep(…)` in async code, and "
                "horus_trio.testing.blocking_delay(…) in def hooks"
            )
            raise HarnessError(refused[-1])
        really(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    yield
    # In a node it is a failure of the node, which the test may not have looked at.
    if refused and not request.node.stash.get(_HAS_FAILED, False):
        pytest.fail(refused[0], pytrace=False)


# Mistakes that are seen before a test begins


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say what is wrong with a test that cannot use an async fixture."""
    if not isinstance(item, pytest.Function) or item.get_closest_marker("trio"):
        return
    if not _is_concerned(item):
        return
    definitions = item._fixtureinfo.name2fixturedefs
    for name in item.fixturenames:
        function = definitions[name][-1].func if name in definitions else None
        if not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
            continue
        if not item.config.pluginmanager.hasplugin("trio"):
            remedy = "install pytest-trio: pip install 'horus-trio[pytest]'"
        elif inspect.iscoroutinefunction(item.obj):
            remedy = "set trio_mode = true in the pytest configuration, or mark it pytest.mark.trio"
        else:
            remedy = f"write `async def {item.originalname}`"
        pytest.fail(
            f"{item.name} uses the fixture {name!r}, which lives in a Trio run, and this test does "
            f"not: {remedy}",
            pytrace=False,
        )


# Every test of ours: a repeatable order, a limit in real time, no system task left


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Run an async test in its seed's order and under guard."""
    if not isinstance(item, pytest.Function) or not item.get_closest_marker("trio"):
        return (yield)
    if _is_concerned(item):
        if generated := getattr(item.obj, "hypothesis", None):
            generated.inner_test = _guarded(item, generated.inner_test)
        else:
            item.obj = _guarded(item, item.obj)
    with seeded_run_order(f"{item.config.stash[_SEED]}/{item.nodeid}"):
        return (yield)


def _guarded(item: pytest.Item, test: Callable[..., Awaitable[None]]) -> Callable[..., object]:
    if not inspect.iscoroutinefunction(test):
        return test  # another example of a generated test, guarded already
    marker = item.get_closest_marker("patience")
    patience = float(marker.args[0] if marker else item.config.getini("horus_patience"))

    @functools.wraps(test)
    async def run(**arguments: object) -> None:
        guard = Guard(patience)
        await guard.run(lambda: test(**arguments))
        if guard.problem:
            pytest.fail(guard.problem)

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Name the seeds of a test that failed."""
    report = yield
    if report.when == "call":
        item.stash[_HAS_FAILED] = report.failed
    if report.when == "call" and report.failed and item.get_closest_marker("trio"):
        seed = item.config.stash[_SEED]
        lines = [f"Trio's run order: --horus-seed={seed}", *item.stash.get(_SEEDS, [])]
        report.sections.append(("horus_trio: seeds", "\n".join(lines)))
    return report


# What tests leave behind: nothing


@pytest.fixture(autouse=True)
def _leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    item = request.node
    if not _is_concerned(item) or item.get_closest_marker("leaves_behind"):
        yield
        return
    before = whats_there()
    yield
    give_up = time.monotonic() + float(item.config.getini("horus_grace"))
    while left := whats_there() - before:
        if time.monotonic() > give_up:
            names = ", ".join(sorted(map(str, left)))
            pytest.fail(
                f"left behind: {names}; end, close or wait for it, or mark the test "
                "pytest.mark.leaves_behind",
                pytrace=False,
            )
        time.sleep(0.01)


def _is_concerned(item: pytest.Item) -> bool:
    """Whether a test is one of those this plugin cares for."""
    which = item.config.getini("horus_checks")
    if which != "auto":
        return bool(which == "all")
    if item.get_closest_marker("trio"):
        return True
    if any(name in _FIXTURES for name in getattr(item, "fixturenames", ())):
        return True
    module = getattr(item, "module", None)
    return any(map(_is_ours, vars(module).values())) if module is not None else False


def _is_ours(value: object) -> bool:
    name = getattr(value, "__name__" if inspect.ismodule(value) else "__module__", None)
    return isinstance(name, str) and name.partition(".")[0] == "horus_trio"
