"""The database logger loses nothing of what was acknowledged, however it ends."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "database_logger.py"


def logged(said: str) -> dict[str, int]:
    return {name: int(count) for name, count in re.findall(r"(\w+): (\d+) readings logged", said)}


def stored(folder: Path) -> dict[str, int]:
    connection = sqlite3.connect(folder / "readings.sqlite3")
    rows = connection.execute("SELECT sensor, count(*) FROM readings GROUP BY sensor").fetchall()
    connection.close()
    return dict(rows)


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(EXAMPLE), *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_logs_what_its_sensors_read(tmp_path: Path) -> None:
    with start(tmp_path, "1.5") as process:
        said, complaints = process.communicate(timeout=60)
    assert process.returncode == 0, complaints
    assert stored(tmp_path) == logged(said)
    assert set(logged(said)) == {"imu", "lidar"}
    assert min(logged(said).values()) > 10
    assert re.search(r"\d+ writes in \d+ transactions, 0 failed", said)
    assert "readings so far" in said


def test_ctrl_c_loses_nothing(tmp_path: Path) -> None:
    with start(tmp_path, "60") as process:
        assert process.stdout is not None
        heard = process.stdout.readline()
        while "readings so far" not in heard or heard.startswith("0 "):
            heard = process.stdout.readline()
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        said, complaints = process.communicate(timeout=30)
    assert process.returncode == 0, complaints
    assert stored(tmp_path) == logged(said)
    assert min(logged(said).values()) > 5
