"""Nodes that start other processes: nothing of the robot leaks into them, or breaks by them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from environment.robot import at_best, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

FORKS = """
def calls(node):
    node.log.warning("calls")  # there is a log thread, which no child has
    subprocess.run(["true"], check=True, close_fds=False)


def forks(node):
    child = os.fork()
    if child == 0:
        os._exit(7)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7


async def forks_async(node):
    forks(node)


async def runs(node):
    await trio.run_process(["true"])


async def looks(node):
    # What a child without close_fds would inherit, and what the robot has opened.
    inherited, opened = [], []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # closed again
            target = os.readlink(f"/proc/self/fd/{name}")
            opened.append(target)
            if int(name) > 2 and os.get_inheritable(int(name)):
                inherited.append(target)
    assert inherited == []
    assert {"anon_inode:[timerfd]", "anon_inode:[eventpoll]"} <= set(opened), opened
    assert any(target.startswith("socket:") for target in opened), opened


logging.basicConfig(handlers=[logging.NullHandler()])
robot(
    horus.Node("calls", tick=calls, rate=10),
    horus.Node("forks", tick=forks, rate=10),
    horus.Node("forks async", tick=forks_async, rate=5),
    horus.Node("runs", tick=runs, rate=5),
    horus.Node("looks", tick=looks, rate=10),
)
"""


# Coverage would write its file in `os._exit`, for which a forked child may lack a lock for ever.
def test_nodes_may_start_processes_and_fork(tmp_path: Path) -> None:
    # A fork on the loop holds the loop up, by itself.
    told = at_best(lambda folder: run(FORKS, folder), tmp_path, enough=0.9)
    assert told.code == 0, told.stderr
    for name in ("calls", "forks", "forks async", "runs", "looks"):
        node = told.nodes[name]
        assert node["errors"] == 0, node["last_error"]
        assert node["abandoned"] == 0
        assert node["ok"] > 10
    told.require_nothing_lost()
    told.require_accounted()
