"""End to end: ``horus-trio run`` with real processes, signals, pipes and terminals."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import ROBOT, Screen, finished, started, wait_for_socket, write_program

pytestmark = pytest.mark.slow


def run_json(*words: str | Path, code: int = 0) -> dict[str, Any]:
    returned, out, _ = finished("run", *words, "--json")
    assert returned == code
    report: dict[str, Any] = json.loads(out)
    return report


def test_json_is_the_report_and_nothing_else(tmp_path: Path) -> None:
    report = run_json(write_program(tmp_path, ROBOT), "--duration", "0.5", "--name", "rover")
    assert report["name"] == "rover"
    assert report["reason"] == "its duration of 0.5 s was over"
    nodes = report["statistics"]["nodes"]
    assert {name: node["ticks_released"] for name, node in nodes.items()} == {
        "Imu-1": 50,
        "Camera-1": 10,
    }


def test_options_are_set(tmp_path: Path) -> None:
    words = ["--set", "Imu-1.rate=20", "--set", "scheduler.stop_timeout=2", "--duration", "0.5"]
    report = run_json(write_program(tmp_path, ROBOT), *words)
    assert report["statistics"]["nodes"]["Imu-1"]["ticks_released"] == 10


def test_lines_and_a_report_where_there_is_no_terminal(tmp_path: Path) -> None:
    code, out, err = finished("run", write_program(tmp_path, ROBOT), "--duration", "1.5")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "robot, 1.5 s"
    assert re.fullmatch(r" +1\.\d s  Imu-1 \d+ Hz, Camera-1 \d+ Hz", lines[1])
    assert re.fullmatch(
        r"robot ran \d+\.\d\d s and ended: its duration of 1\.5 s was over", lines[2]
    )
    assert len(lines) == 6


def test_quiet_says_nothing_when_all_is_well(tmp_path: Path) -> None:
    done = finished("run", write_program(tmp_path, ROBOT), "--duration", "0.2", "--quiet")
    assert done == (0, "", "")


FAILING = """
    import horus_trio as horus

    class Camera(horus.AsyncNode):
        failure_policy = horus.Fatal()
        async def tick_async(self):
            self.open()
        def open(self):
            try:
                {}["device"]
            except KeyError as error:
                raise OSError("no device") from error

    class Other(horus.AsyncNode):
        async def tick_async(self): pass
"""


def test_a_run_that_fails_shows_the_users_own_frames(tmp_path: Path) -> None:
    program = write_program(tmp_path, FAILING)
    code, out, err = finished("run", program, "--quiet", "--no-control")
    assert code == 1
    assert out.startswith("robot ran ")
    assert "ended: node 'Camera-1' failed" in out
    assert "node 'Camera-1' failed in tick 1" in err  # what was logged when it happened
    shown = "".join(err.split("Traceback (most recent call last):")[-2:])
    frames = re.findall(r'File "(.*)", line \d+, in (\w+)', shown)
    assert frames == [(str(program), name) for name in ("open", "tick_async", "open")]
    assert "KeyError: 'device'" in shown
    assert shown.endswith("OSError: no device\n    in node 'Camera-1', tick 1, failure 1\n")


def test_all_frames_are_shown_on_demand(tmp_path: Path) -> None:
    program = write_program(tmp_path, FAILING)
    code, _, err = finished("run", program, "--quiet", "--traceback")
    assert code == 1
    shown = err.split("Traceback (most recent call last):")[-1]
    assert re.search(r'File ".*horus_trio/executor', shown)


def test_a_node_that_failed_for_good_shows_in_the_exit_code(tmp_path: Path) -> None:
    program = write_program(
        tmp_path,
        ROBOT
        + """
    class Sonar(horus.AsyncNode):
        failure_policy = horus.Restart(max_restarts=0)
        async def tick_async(self):
            raise OSError("no echo")
    """,
    )
    report = run_json(program, "--duration", "0.3", code=1)
    [failed] = report["failed"]
    assert (failed["node"], failed["fatal"]) == ("Sonar-1", False)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere.py"], 2, "horus-trio run: nowhere.py: there is no such file"),
        (["robot.py", "--set", "Imo-1.rate=3"], 2, "horus-trio run: --set Imo-1.rate=3: no node"),
        (["robot.py", "--set", "rate"], 2, "argument --set: 'rate': expected NODE.OPTION=VALUE"),
        (["robot.py", "--duration", "-1"], 2, "'-1' is not a number of seconds, 0 or more"),
        (
            ["robot.py", "--name", "\n"],
            2,
            "--name: name='\\n': expected a printable, non-empty str",
        ),
        (["robot.py", "--json", "--quiet"], 2, "not allowed with argument"),
        ([], 2, "the following arguments are required: TARGET"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    write_program(tmp_path, ROBOT)
    returned, out, err = finished("run", *words, cwd=tmp_path)
    assert (returned, out) == (code, "")
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(tmp_path: Path, runtime: Path, signum: signal.Signals) -> None:
    with started("run", write_program(tmp_path, ROBOT), "--json") as process:
        wait_for_socket(runtime)
        time.sleep(0.3)  # the socket is there a little before the run
        process.send_signal(signum)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["reason"] == signum.name
    assert list(runtime.iterdir()) == []


def test_a_robot_that_cannot_be_looked_into_runs_all_the_same(
    tmp_path: Path, runtime: Path
) -> None:
    runtime.chmod(0o755)
    words = ["run", str(write_program(tmp_path, ROBOT)), "--duration", "0.2", "--quiet"]
    code, out, err = finished(*words)
    assert (code, out) == (0, "")
    assert err.startswith("horus-trio: nobody can look into this robot: there is no folder for")
    assert finished(*words, "--no-control") == (0, "", "")


HARD_TO_STOP = """
    import time, trio
    import horus_trio as horus

    class Slow(horus.AsyncNode):
        async def tick_async(self):
            print("ticks", flush=True)
            await trio.sleep_forever()
        async def shutdown(self):
            print("shuts down", flush=True)
            await trio.sleep(60)
    node = Slow(shutdown_timeout=60)
"""


def test_a_second_signal_shows_in_the_exit_code(tmp_path: Path) -> None:
    with started("run", write_program(tmp_path, HARD_TO_STOP), "--quiet") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ticks\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "shuts down\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    # Its shutdown was cut short, which is a failure as well: that goes first.
    assert process.returncode in (1, 130)


def test_a_reader_that_goes_away_ends_it_in_order(tmp_path: Path) -> None:
    program = write_program(
        tmp_path,
        ROBOT
        + f"""
        def shutdown(self):
            open({str(tmp_path / "closed")!r}, "w").close()
    """,
    )
    with started("run", program) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=30) == 128 + signal.SIGPIPE
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert (tmp_path / "closed").exists()


def test_a_reader_that_does_not_read_holds_up_neither_the_robot_nor_its_end(
    tmp_path: Path, runtime: Path
) -> None:
    program = write_program(
        tmp_path,
        ROBOT
        + """
    class Chatty(horus.Node):
        shutdown_timeout = 0.2
        def tick(self):
            print("x" * 10_000)  # hangs, and holds the stream's lock
    """,
    )
    reading, writing = os.pipe()
    try:
        size = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        os.write(writing, b"x" * size)
        with started("run", program, "--name", "rover", stdout=writing) as process:
            wait_for_socket(runtime)
            time.sleep(1.0)
            code, out, _ = finished("nodes", "--json")
            assert code == 0
            before = {node["name"]: node["ok"] for node in json.loads(out)}
            time.sleep(0.5)
            _, out, _ = finished("nodes", "--json")
            now = {node["name"]: node["ok"] for node in json.loads(out)}
            assert now["Imu-1"] >= before["Imu-1"] + 25
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0
    finally:
        os.close(reading)
        os.close(writing)


LAST_RESORT = """
    import threading
    from horus_trio.cli.last_resort import end_process

    threading.Thread(target=end_process, args=("node 'a' blocks the loop\\n",)).start()
    threading.Event().wait()
"""


def test_the_last_resort_says_why_and_ends_the_process(tmp_path: Path) -> None:
    command = [sys.executable, str(write_program(tmp_path, LAST_RESORT))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 70
    assert done.stderr == "horus-trio: node 'a' blocks the loop; ending the process\n"


def test_the_last_resort_waits_for_no_reader(tmp_path: Path) -> None:
    command = [sys.executable, str(write_program(tmp_path, LAST_RESORT))]
    reading, full = os.pipe()
    try:
        size = fcntl.fcntl(full, fcntl.F_SETPIPE_SZ, 4096)
        os.write(full, b"x" * size)
        assert subprocess.run(command, stderr=full, timeout=30, check=False).returncode == 70
    finally:
        os.close(reading)
        os.close(full)
    closed = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    assert subprocess.run(closed, timeout=30, check=False).returncode == 70


def test_a_robot_that_cannot_end_is_ended(tmp_path: Path) -> None:
    program = write_program(
        tmp_path,
        """
        import time
        import horus_trio as horus

        class Deaf(horus.AsyncNode):
            async def tick_async(self):
                print("blocks", flush=True)
                while True:
                    try:
                        time.sleep(60)
                    except KeyboardInterrupt:
                        pass

        scheduler = horus.Scheduler(stop_timeout=0.5).add(Deaf("deaf"))
        """,
    )
    with started("run", program, "--quiet") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "blocks\n"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 70
    assert "horus-trio: node 'deaf' does not end" in err
    assert "; ending the process\n" in err


# On a terminal


CHATTY = """
    import logging
    import horus_trio as horus

    logging.basicConfig(level=logging.INFO, format="LOGGED %(message)s")

    class Talker(horus.AsyncNode):
        rate = 20
        async def tick_async(self):
            print(f"printed {self.current_tick.seq}")
            self.log.info("line %d", self.current_tick.seq)

    class Broken(horus.AsyncNode):
        rate = 5
        failure_policy = horus.Ignore()
        async def tick_async(self):
            raise OSError("no device")
"""


def test_what_is_printed_and_logged_does_not_tear_the_table(tmp_path: Path) -> None:
    with Screen("run", write_program(tmp_path, CHATTY), "--duration", "1.5") as screen:
        shown = screen.read()
        assert screen.process.wait(timeout=10) == 0
    for number in range(1, 31):  # each on a line of its own, from its first column
        assert re.search(rf"(^|[\nAl])printed {number}(\x1b\[K)?\r\n", shown), number
        assert re.search(rf"[\nA]LOGGED line {number}(\x1b\[K)?\r\n", shown), number
    assert re.search(r"Talker-1 +\x1b\[32mrunning", shown)
    assert "tick 1: no device" in shown  # below the table
    assert re.search(r"\x1b\[\d+A", shown)
    assert re.search(r"robot ran \d+\.\d\d s and ended", shown)
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")  # the cursor is back


def test_many_nodes_fit_the_terminal(tmp_path: Path) -> None:
    program = write_program(
        tmp_path,
        """
        import horus_trio as horus

        def tick(node):
            if node.name == "n33":
                raise OSError("no device")

        nodes = [
            horus.Node(f"n{i}", tick=tick, rate=5, failure_policy=horus.Ignore()) for i in range(40)
        ]
        """,
    )
    with Screen("run", f"{program}:nodes", "--duration", "1", lines=20) as screen:
        shown = screen.read()
    pictures = [p for p in shown.split("\x1b[?7l") if "\x1b[J" in p]
    assert pictures
    assert max(picture.partition("\x1b[J")[0].count("\n") for picture in pictures) <= 19
    assert re.search(r"… and 3\d more", pictures[-1])
    assert "n33 " in pictures[-1]  # the one that fails is among those shown


def test_a_stopped_terminal_does_not_hold_up_the_end(tmp_path: Path, runtime: Path) -> None:
    program = write_program(tmp_path, CHATTY.replace("printed {", "{'x' * 9000}{"))
    with Screen("run", program) as screen:
        screen.read(until="messages:")
        for _ in range(20):  # nobody reads the terminal, until it takes no more
            time.sleep(0.1)
        assert finished("stop")[0] == 0
        assert screen.process.wait(timeout=20) == 0
