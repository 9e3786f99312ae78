"""Nobody reads what the robot writes: a closed pipe, and a terminal that is stuck."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from environment.robot import Told, at_best, ended, started

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="pipes are sized by a call of Linux"),
]

# Closed

CLOSED = """
class Prints(horus.Node):
    def tick(self):
        print("a line", flush=True)


async def logs(node):
    node.log.warning("a record")


logging.basicConfig(stream=sys.stdout, format="%(message)s")
logging.raiseExceptions = False  # else logging itself fills stderr with a traceback a record
robot(
    Prints("prints", rate=20, failure_policy=POLICY),
    horus.Node("logs", tick=logs, rate=100),
    duration=1.5,
)
# As Python's documentation has it for whoever writes to a pipe: nothing to be flushed at exit.
os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
"""


def into_head(folder: Path, policy: str) -> Told:
    """``robot | head -1``"""
    with started(CLOSED.replace("POLICY", policy), folder) as process:
        head = subprocess.run(
            ["head", "-1"], stdin=process.stdout, capture_output=True, text=True, timeout=30
        )
        assert head.stdout in ("a line\n", "a record\n")
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        return ended(process, folder)


def test_into_a_closed_pipe_a_print_is_its_nodes_failure(tmp_path: Path) -> None:
    told = at_best(
        lambda folder: into_head(folder, "horus.Restart(max_restarts=2, backoff=0.01)"), tmp_path
    )
    assert told.code == 0
    assert told.report["reason"] == "its duration of 1.5 s was over"
    (failure,) = told.report["failed"]
    assert failure["node"] == "prints"
    assert failure["error"].startswith("BrokenPipeError: ")
    assert told.nodes["prints"]["restarts"] == 2
    assert told.nodes["logs"]["errors"] == 0  # handlers swallow their errors, and in a thread
    assert told.stderr == ""
    told.require_nothing_lost()
    told.require_accounted()


def test_a_policy_may_end_the_run_over_a_closed_pipe(tmp_path: Path) -> None:
    program = CLOSED.replace("POLICY", "horus.Fatal()")
    with started(program, tmp_path / "run") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        assert process.stderr is not None
        stderr = process.stderr.read().decode()
        assert process.wait(30) == 1
    assert "BrokenPipeError" in stderr
    assert "in node 'prints', tick" in stderr


# Stuck

STUCK = """
async def logs(node):
    for _ in range(int(sys.argv[4])):
        node.log.warning("%d %s", node.current_tick.seq, "x" * int(sys.argv[5]))


logging.basicConfig(format="%(message)s")
print("begins", flush=True)
robot(horus.Node("logs", tick=logs, rate=100), duration=float(sys.argv[3]))
print("over", flush=True)
"""


def shrink(process: subprocess.Popen[bytes], size: int = 4096) -> None:
    """Make the pipe of its stderr as small as it can be: one page; and wait until it begins."""
    assert process.stderr is not None
    fcntl.fcntl(process.stderr.fileno(), fcntl.F_SETPIPE_SZ, size)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begins\n"


def dropped_by(told: Told) -> int:
    """How many records were dropped, as the report has it."""
    (text,) = (text for text in told.report["warnings"] if "log records were dropped" in text)
    return int(text.split()[0])


@pytest.mark.parametrize(
    ("length", "stuck_in"),
    [("80", "waits for room"), ("6000", "is stuck in a write, and holds its handler's lock")],
)
def test_a_terminal_that_is_stuck_to_the_end(tmp_path: Path, length: str, stuck_in: str) -> None:
    """The log thread `stuck_in`; the run ends as ever, and so does the interpreter."""

    def attempt(folder: Path) -> Told:
        with started(STUCK, folder, "2", "30", length) as process:
            shrink(process)
            assert process.stdout is not None
            assert process.stdout.readline() == b"over\n"
            before = time.monotonic()
            assert process.wait(20) == 0
            assert time.monotonic() - before < 5
            return ended(process, folder)

    told = at_best(attempt, tmp_path)
    assert told.report["reason"] == "its duration of 2 s was over"
    logged = told.nodes["logs"]["ok"] * 30
    handled = told.stderr.count("x\n")
    assert dropped_by(told) in (logged - handled, logged - handled - 1)  # one may be half written
    told.require_nothing_lost()
    told.require_accounted()


@pytest.mark.parametrize(
    ("stuck", "size", "records"),
    [(2.0, 4096, 30), pytest.param(20.0, 65536, 5, id="20 seconds")],
)
def test_a_terminal_that_is_stuck_for_a_while(
    tmp_path: Path, stuck: float, size: int, records: int
) -> None:
    """Whoever reads on finds how many records are missing."""

    def attempt(folder: Path) -> Told:
        with started(STUCK, folder, str(stuck + 1.0), str(records), "80") as process:
            shrink(process, size)
            time.sleep(stuck)
            return ended(process, folder)

    told = at_best(attempt, tmp_path)
    assert told.code == 0
    lines = told.stderr.splitlines()
    said = [int(line.split()[0]) for line in lines if "log records were dropped" in line]
    assert sum(said) == dropped_by(told) > 0
    assert len(lines) - len(said) + sum(said) == told.nodes["logs"]["ok"] * records
    told.require_nothing_lost()


def test_a_stop_is_bounded_while_the_terminal_is_stuck(tmp_path: Path) -> None:
    with started(STUCK, tmp_path / "run", "60", "50", "80") as process:
        shrink(process)
        time.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        before = time.monotonic()
        assert process.wait(20) == 0
        assert time.monotonic() - before < 10  # the scheduler's stop_timeout
        told = ended(process, tmp_path / "run")
    assert told.report["reason"].startswith("SIGTERM")
    assert told.report["forced_by"] == ""
    told.require_nothing_lost()
