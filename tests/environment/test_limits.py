"""The machine is short of something: disk space, descriptors, threads."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from environment.robot import at_best, run, started

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="limits are those of Linux"),
]

# A full disk: files may not grow beyond a size, which Python shows as OSError EFBIG

DISK = """
logging.basicConfig(filename=Path(sys.argv[1]).with_name("log"), format="%(message)s")
logging.raiseExceptions = False


async def logs(node):
    node.log.warning("x" * 1000)


def fill_the_disk():
    time.sleep(0.5)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
    time.sleep(1.0)
    if sys.argv[3] == "and room again":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)


threading.Thread(target=fill_the_disk).start()
robot(horus.Node("logs", tick=logs, rate=100), duration=2.5)
"""


@pytest.mark.parametrize("then", ["to the end", "and room again"])
def test_a_full_disk_is_the_writers_failure_alone(tmp_path: Path, then: str) -> None:
    told = at_best(lambda folder: run(DISK, folder, then), tmp_path)
    assert told.code == 0
    writer = told.nodes["writer"]
    assert writer["errors"] > 0
    assert writer["restarts"] > 0
    assert "sqlite3.OperationalError: " in writer["last_error"]
    told.require_nothing_lost()
    told.require_accounted()
    assert told.nodes["logs"]["errors"] == 0
    if then == "and room again":
        assert len(told.left) <= 2  # it caught up
    else:
        assert len(told.left) > 50


FILE = """
class Keeps(horus.Node):
    thread = "own"

    def init(self):
        self.file = open(Path(sys.argv[1]).with_name("file"), "ab", buffering=0)

    def tick(self):
        self.file.write(b"x" * 999 + b"\\n")

    def shutdown(self):
        self.file.close()


resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
robot(Keeps("keeps", rate=100, failure_policy=horus.Restart(max_restarts=2, backoff=0)))
"""


def test_a_file_that_cannot_grow_says_so(tmp_path: Path) -> None:
    told = run(FILE, tmp_path / "run")
    failures = {failure["node"]: failure for failure in told.report["failed"]}
    assert failures["keeps"]["error"].startswith(
        "OSError: [Errno 27] File too large; the file may not grow: raise the limit (ulimit -f)"
    )
    assert (tmp_path / "run" / "file").read_bytes() == (b"x" * 999 + b"\n") * 50
    told.require_nothing_lost()


# No more descriptors

LEAK = """
def leaks(node):
    while True:
        leaked.append(os.open(os.devnull, os.O_RDONLY))


async def opens(node):
    async with await trio.open_file(os.devnull) as file:
        await file.read()


def needs_a_thread(node):
    return threading.current_thread().name


leaked = []
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
robot(
    horus.Node("leaks", tick=leaks, rate=5, phase=0.5, failure_policy=horus.Ignore()),
    horus.Node("opens", tick=opens, rate=5, phase=0.1, failure_policy=horus.Ignore()),
    # Its thread does not exist before its first tick, and by then no descriptor is left.
    horus.Node("late", tick=needs_a_thread, rate=20, phase=1.0, thread="own"),
)
"""


def test_a_node_that_leaks_descriptors_fails_and_its_siblings_tick_on(tmp_path: Path) -> None:
    told = at_best(lambda folder: run(LEAK, folder), tmp_path)
    assert told.code == 0
    assert told.report["reason"] == "its duration of 3 s was over"
    leaks, opens = told.nodes["leaks"], told.nodes["opens"]
    assert leaks["errors"] == leaks["ticks_released"] == 13
    assert "OSError: [Errno 24] Too many open files" in leaks["last_error"]
    assert "raise its limit (ulimit -n)" in leaks["last_error"]
    assert opens["ok"] >= 1
    assert opens["errors"] > 0  # a sibling that opens things feels it, too, and says so
    assert "raise its limit (ulimit -n)" in opens["last_error"]
    assert told.nodes["late"]["errors"] == 0
    assert told.nodes["late"]["ok"] > 20
    assert told.report["hook_errors"] == []
    told.require_nothing_lost()
    told.require_accounted()


SHORT = """
async def tick(node):
    pass


soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
warnings.simplefilter("ignore", ResourceWarning)  # Trio leaves what it had when it cannot start
for missing in range(20):
    scheduler = horus.Scheduler().add(horus.Node("beat", tick=tick))
    there = len(os.listdir("/proc/self/fd")) - 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (there + missing, hard))
    try:
        report = scheduler.run(0.1)
    except OSError as error:
        print(error, *error.__notes__, sep="; ")
    else:
        print(report.statistics.timer, report.statistics.nodes["beat"].ok, *report.warnings)
        if report.statistics.timer == "timerfd":
            break
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
"""


def test_a_robot_without_descriptors_says_what_to_do(tmp_path: Path) -> None:
    """One more at a time: it does not start before it has all that it needs, its watchdog too."""
    with started(SHORT, tmp_path / "run") as process:
        out, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, b"")
    *without, fine = out.decode().splitlines()
    assert len(without) > 3
    for line in without:
        assert line.startswith("[Errno 24] Too many open files; this process has no descriptor")
        assert "ulimit -n" in line
    assert fine == "timerfd 10"


ALONE = """
def refuse(thread):
    raise RuntimeError("can't start new thread")


async def tick(node):
    pass


async def main():
    before = set(os.listdir("/proc/self/fd"))
    scheduler = horus.Scheduler().add(horus.Node("beat", tick=tick))
    start, threading.Thread.start = threading.Thread.start, refuse
    try:
        await scheduler.run(0.1)
    except RuntimeError as error:
        print(error, *error.__notes__, sep="; ")
    finally:
        threading.Thread.start = start
    report = await scheduler.run(0.1)
    print(report.statistics.nodes["beat"].ok, set(os.listdir("/proc/self/fd")) - before)


trio.run(main)
"""


def test_a_robot_without_a_thread_for_its_watchdog_says_what_to_do(tmp_path: Path) -> None:
    with started(ALONE, tmp_path / "run") as process:
        out, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, b"")
    refused, fine = out.decode().splitlines()
    assert refused.startswith("can't start new thread; the machine has no thread left")
    assert fine == "10 set()"


# No more threads

THREADS = """
import ctypes


def slow(node):
    time.sleep(0.1)


def forbid():
    time.sleep(0.6)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, hard))
    time.sleep(1.4)
    resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))


if os.geteuid() == 0:  # root has no such limit: be somebody else who may open the same files
    os.setresuid(65534, 0, 0)
    libc = ctypes.CDLL(None)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    for capability in (21, 24):  # CAP_SYS_ADMIN and CAP_SYS_RESOURCE
        for kind in range(3):
            sets[kind] &= ~(1 << capability)
    assert libc.capset(header, sets) == 0
soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
threading.Thread(target=forbid).start()
robot(
    *(
        horus.Node(f"needs {n}", tick=slow, rate=5, phase=1 + n / 50, failure_policy=horus.Ignore())
        for n in range(2)
    ),
)
"""


def test_without_a_thread_a_def_tick_fails_and_says_what_to_do(tmp_path: Path) -> None:
    told = at_best(lambda folder: run(THREADS, folder), tmp_path)
    assert told.code == 0, told.stderr
    for name in ("needs 0", "needs 1"):
        node = told.nodes[name]
        assert node["errors"] > 0
        assert node["ok"] > 0  # once there are threads again
        assert "can't start new thread" in node["last_error"]
        assert "ulimit -u" in node["last_error"]
    assert told.nodes["writer"]["errors"] == 0
    told.require_nothing_lost()
    told.require_accounted()
