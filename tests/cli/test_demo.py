"""End to end: `horus-trio demo` as users meet it, with real processes, signals and terminals."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pty
import re
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import horus_trio
from horus_trio.cli import main
from horus_trio.cli.demo.codec import FrameParser
from horus_trio.cli.demo.firmware import SEED, frames
from horus_trio.cli.demo.robot import BlackBox, Control

pytestmark = pytest.mark.slow

COMMAND = (sys.executable, "-W", "error", "-m", "horus_trio.cli")


@pytest.fixture(autouse=True)
def _temporary_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


@contextlib.contextmanager
def started(*options: str) -> Iterator[subprocess.Popen[str]]:
    """The demo as a process; killed if a test fails before it has ended."""
    process = subprocess.Popen(
        [*COMMAND, "demo", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    """Read lines until one has the pattern; returns that one."""
    assert process.stdout is not None
    for line in process.stdout:
        if re.search(pattern, line):
            return line
    pytest.fail(f"ended without a line like {pattern!r}: {process.communicate()}")


def samples_of_the_run(database: Path) -> list[int]:
    """The numbers of the inertial samples that came in during the run, in order.

    What came before, in the naive loop, was timed by another clock.
    """
    query = "SELECT time, data FROM messages WHERE topic = 'imu' ORDER BY rowid"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(query).fetchall()
    times = [time for time, _ in rows]
    jumps = [n for n, (a, b) in enumerate(itertools.pairwise(times), 1) if not 0 <= b - a < 60]
    return [json.loads(data)["sequence"] for _, data in rows[max(jumps, default=0) :]]


def firmware_frames(number: int) -> Iterator[bytes]:
    return itertools.islice(frames(SEED), number)


def rows_in(database: Path) -> int:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        [[rows]] = connection.execute("SELECT count(*) FROM messages")
    return int(rows)


def test_json_says_what_was_survived_and_the_file_agrees(tmp_path: Path) -> None:
    database = tmp_path / "box.sqlite3"
    with started("--duration", "4", "--json", "--database", str(database)) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    summary: dict[str, Any] = json.loads(out)

    assert summary["ok"] is True
    assert summary["problems"] == []
    assert summary["casualties"] == []
    control, naive = summary["control"], summary["naive"]
    assert naive["rate"] < 20
    assert 2 * naive["rate"] < control["rate"] < 110
    assert control["ticks"] >= 0.5 * control["releases"]
    assert naive["rounds"] >= 1
    assert set(naive) == {"seconds", "rounds", "failures", "stuck_in", "rate"}
    survived = summary["survived"]
    received = samples_of_the_run(database)
    corrupted = {
        n for n, frame in enumerate(firmware_frames(1000)) if not FrameParser().feed(frame)
    }
    missing = {n for a, b in itertools.pairwise(received) if b - a < 10 for n in range(a + 1, b)}
    assert survived["frames_accepted"] == len(received) > 50
    assert survived["frames_rejected"] == len(missing)
    assert missing <= corrupted
    assert survived["hang_ups"] == 1
    assert survived["connections"] == 2
    assert sum(survived["http_failures"].values()) >= 1
    assert survived["hung_ticks"].get("sonar") == 1
    box = summary["black_box"]
    assert box["path"] == str(database)
    assert box["rows"] == box["acknowledged"] == rows_in(database) > 200
    nodes = summary["report"]["statistics"]["nodes"]
    assert list(nodes) == ["black box", "imu", "weather", "sonar", "control"]
    # What the topics carried during the run is in the file (with the naive loop's part).
    topics = summary["report"]["statistics"]["topics"]
    assert sum(topic["sent"] for topic in topics.values()) <= box["rows"]
    assert all(topic["dropped"] == 0 for topic in topics.values())


def test_killing_the_firmware_ends_well_and_is_said() -> None:
    with started("--duration", "3") as process:
        firmware = read_until(process, "firmware")
        [pid] = re.findall(r"process (\d+)", firmware)
        read_until(process, "connected to the serial line")
        os.kill(int(pid), signal.SIGKILL)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "the firmware process was killed by SIGKILL; the robot ran on" in out
    # The dead firmware's terminal is free, and another program's may get its number.
    assert re.search("hung up (once|2 times); (not )?connected again", out)
    assert re.search(r"in horus_trio +\d+\.\d Hz", out)
    assert "acknowledged by its node: equal" in out


def test_ctrl_c_ends_gracefully_with_the_summary() -> None:
    with started("--duration", "3") as process:
        read_until(process, "connected to the serial line")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "acknowledged by its node: equal" in out
    assert out.endswith("The run ended: SIGINT.\n")


def test_a_second_ctrl_c_shows_in_the_exit_code() -> None:
    with started("--duration", "3") as process:
        read_until(process, "connected to the serial line")
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)  # two signals at once would be one
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode in (130, 0)  # 0: it had ended before the second came


@pytest.mark.parametrize(
    ("signum", "code", "said"),
    [(signal.SIGINT, 130, "horus-trio: interrupted\n"), (signal.SIGTERM, 143, "")],
)
def test_a_signal_in_the_naive_part_ends_the_demo(
    signum: signal.Signals, code: int, said: str
) -> None:
    with started("--duration", "3") as process:
        read_until(process, "for node in nodes")
        process.send_signal(signum)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, said)


@pytest.mark.parametrize("lines", [1, 12])
def test_a_reader_that_goes_away_ends_it_quietly(lines: int) -> None:
    with started("--duration", "3") as process:
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 128 + signal.SIGPIPE


def test_on_a_terminal_there_is_a_live_table() -> None:
    screen, end = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [*COMMAND, "demo", "--duration", "2"], stdin=end, stdout=end, stderr=end, env=environment
    )
    os.close(end)
    shown = bytearray()
    with process:
        while select.select([screen], [], [], 30.0)[0]:
            try:
                shown += os.read(screen, 4096)
            except OSError:
                break
    os.close(screen)
    text = shown.decode()
    assert process.returncode == 0
    assert re.search(r"control +\x1b\[32mrunning", text)
    assert re.search(r"\x1b\[\d+A", text)  # drawn again over the last one
    assert re.search(r"restarts +took p50/max", text)  # there is room for it
    assert text.rstrip().endswith("was over.")


# In this process: what goes wrong is said, and shows in the exit code


def test_a_black_box_that_lies_is_found_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    honest = BlackBox.shutdown

    def shutdown(self: BlackBox) -> None:
        honest(self)
        self.acknowledged += 1

    monkeypatch.setattr(BlackBox, "shutdown", shutdown)
    box = tmp_path / "box.sqlite3"
    assert main(["demo", "--duration", "2", "--plain", "--database", str(box)]) == 1
    out = capsys.readouterr().out
    assert "acknowledged by its node: NOT EQUAL" in out
    assert f"WRONG: the black box holds {rows_in(box)} rows, but " in out


def test_a_run_that_fails_is_still_summed_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def tick(self: Control) -> None:
        raise RuntimeError("the motor is on fire")

    monkeypatch.setattr(Control, "tick", tick)
    monkeypatch.setattr(Control, "failure_policy", horus_trio.Fatal(), raising=False)
    box = tmp_path / "box.sqlite3"
    assert main(["demo", "--duration", "2", "--json", "--database", str(box)]) == 1
    summary = json.loads(capsys.readouterr().out)
    assert summary["ok"] is False
    assert "the run failed" in summary["problems"][0]
    assert "the motor is on fire" in summary["problems"][1]
    assert summary["black_box"]["rows"] == summary["black_box"]["acknowledged"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fly"], "invalid choice: 'fly'"),
        (["demo", "--duration", "soon"], "'soon' is not a number of seconds, 2 or more"),
        (["demo", "--duration", "1"], "'1' is not a number of seconds, 2 or more"),
        (["demo", "--duration", "nan"], "'nan' is not"),
        (["demo", "--database", __file__], "is not empty; name another file"),
        (["demo", "--database", "/no/such/box"], "cannot be written: No such file or directory"),
        (["demo", "--database", "a" * 300], "cannot be written: File name too long"),
    ],
)
def test_wrong_usage_says_what_is_wrong(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        main(words)
    assert exited.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--help"], "exit codes:"),
        (["demo", "--help"], "--database PATH"),
        (["--version"], f"horus-trio {horus_trio.__version__}"),
    ],
)
def test_help_and_version(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(words)
    assert exited.value.code == 0
    assert said in capsys.readouterr().out


def test_a_world_that_does_not_start_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("horus_trio.cli.demo.world.__package__", "horus_trio.nowhere")
    assert main(["demo", "--database", str(tmp_path / "box")]) == 1
    assert "horus-trio demo: the firmware process ended" in capsys.readouterr().err
