"""A pytest plugin: what coverage measures is marked with the test that runs, which is timed."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import coverage
import pytest

FOLDER = "HORUS_MUTATION_TRACES"
"""The environment variable that names the folder into which the times are written."""

TEST = "HORUS_MUTATION_TEST"
"""The environment variable that tells child processes, through coverage's configuration, the test
that started them."""

_TIMES = pytest.StashKey[dict[str, float]]()
_BAD = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin to note."""
    config.stash[_TIMES] = {}
    config.stash[_BAD] = []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Say which test runs, to this process and to its children."""
    measured = coverage.Coverage.current()
    os.environ[TEST] = item.nodeid
    if measured is not None:
        measured.switch_context(item.nodeid)
    result = yield
    if measured is not None:
        measured.switch_context("")
    del os.environ[TEST]
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note how long it took, and whether it failed."""
    report = yield
    times = item.config.stash[_TIMES]
    times[item.nodeid] = times.get(item.nodeid, 0.0) + report.duration
    if not report.passed:
        item.config.stash[_BAD].append(item.nodeid)
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    """Write down what was noted."""
    folder = os.environ.get(FOLDER)
    if folder and config.stash[_TIMES]:
        found = {"times": config.stash[_TIMES], "bad": config.stash[_BAD]}
        Path(folder, f"times-{os.getpid()}.json").write_text(json.dumps(found))
