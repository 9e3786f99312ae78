"""Errors that say that the machine is short of something are noted with what to do."""

from __future__ import annotations

import errno
import os

import pytest
from trio.testing import MockClock

import horus_trio as horus
from horus_trio.errors import add_remedy


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.EMFILE, "x"), "ulimit -n"),
        (OSError(errno.ENFILE, "x"), "fs.file-max"),
        (OSError(errno.ENOSPC, "x"), "make room"),
        (OSError(errno.EDQUOT, "x"), "quota"),
        (OSError(errno.EFBIG, "x"), "ulimit -f"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
    ],
)
def test_a_remedy_is_noted_once(error: Exception, remedy: str) -> None:
    group = ExceptionGroup("", [ExceptionGroup("", [error])])
    for same in (error, error, group):
        add_remedy(same)
    (note,) = error.__notes__
    assert remedy in note
    assert not hasattr(group, "__notes__")


@pytest.mark.parametrize(
    "error", [OSError(), OSError("x"), OSError(errno.ENOENT, "x"), RuntimeError(), ValueError()]
)
def test_other_errors_are_left_as_they_are(error: Exception) -> None:
    add_remedy(error)
    assert not hasattr(error, "__notes__")


async def test_a_node_that_fails_for_want_of_something_says_what_to_do(
    autojump_clock: MockClock,
) -> None:
    async def tick(node: horus.Node) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    scheduler = horus.Scheduler()
    scheduler.add(horus.Node("a", tick=tick, failure_policy=horus.Fatal()))
    with pytest.raises(horus.RunFailed) as caught:
        await scheduler.run()
    assert "ulimit -n" in str(caught.value.report.failed[0].error)
    assert "ulimit -n" in str(caught.value.report.statistics.nodes["a"].last_error)
