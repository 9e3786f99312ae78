"""`horus-trio doctor`: what it finds on this machine, and what it warns of."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from command_line import COMMAND, finished

import horus_trio
from horus_trio.cli import examination
from horus_trio.cli.examination import Findings, examine


@pytest.fixture(scope="module")
def findings() -> Findings:
    return examine()


def test_it_says_what_is_here(findings: Findings) -> None:
    facts = findings.to_dict()
    assert facts["versions"]["horus_trio"] == horus_trio.__version__
    assert facts["versions"]["trio"] == trio.__version__
    assert facts["versions"]["python"].startswith(platform.python_version())
    assert facts["timer"]["wake_ups"] == 200
    assert 0 <= facts["timer"]["late_p50"] <= facts["timer"]["late_p99"]
    if sys.platform == "linux":
        assert facts["timer"]["source"] == "timerfd"
    assert facts["limits"]["processors"] >= 1
    assert json.loads(json.dumps(facts)) == facts


def test_the_extras_are_those_of_the_package(findings: Findings) -> None:
    extras = findings.facts["extras"]
    metadata = importlib.metadata.metadata("horus-trio")
    assert list(extras) == metadata.get_all("Provides-Extra")
    assert extras["pytest"]["pytest"] == importlib.metadata.version("pytest")


def test_an_extra_that_is_missing_is_said_with_its_installation(
    findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not installed" not in extra_line(findings, "pytest")
    real = examination._version
    monkeypatch.setattr(
        examination, "_version", lambda package: None if package == "pytest-trio" else real(package)
    )
    without = Findings(facts={**findings.facts, "extras": examination._extras()}, warnings=())
    assert extra_line(without, "pytest").split(None, 1) == [
        "pytest",
        "not installed: pip install 'horus-trio[pytest]'",
    ]


def extra_line(findings: Findings, extra: str) -> str:
    [line] = [line for line in findings.lines() if line.startswith(f"  {extra} ")]
    return line


@pytest.mark.parametrize(
    ("section", "found", "said"),
    [
        ("timer", {"source": "trio.sleep"}, "the timer is trio.sleep, which wakes on whole millis"),
        ("timer", {"late_p99": 0.02}, "one of a hundred wake-ups is 20.0 ms late or more"),
        ("limits", {"processors": 1}, "there is one processor"),
        ("limits", {"cpu_quota": 0.5}, "may use 0.50 processors"),
        ("limits", {"open_files": 100}, "only 100 files may be open; `ulimit -n 4096`"),
        ("limits", {"processes": 100}, "only 100 threads may run; `ulimit -u 4096`"),
        ("environment", {"dev_mode": True}, "unset PYTHONDEVMODE"),
        ("environment", {"traced": True}, "a debugger or a coverage tool"),
    ],
)
def test_what_may_become_a_problem_is_said(
    findings: Findings, section: str, found: dict[str, Any], said: str
) -> None:
    good: dict[str, dict[str, Any]] = {name: dict(facts) for name, facts in findings.facts.items()}
    good["timer"] |= {"source": "timerfd", "late_p99": 0.001}
    good["limits"] |= {"processors": 4, "cpu_quota": None, "open_files": 4096, "processes": None}
    good["environment"] |= {"dev_mode": False, "traced": False}
    assert list(examination._warnings(good)) == []
    good[section] |= found
    [warning] = examination._warnings(good)
    assert said in warning
    assert f"WARNING {warning}" in Findings(facts=good, warnings=(warning,)).lines()


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "what is this"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
    ],
)
def test_the_quota_of_a_control_group(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert examination._cpu_quota(tmp_path) == quota


@pytest.mark.slow
def test_the_exit_code_says_whether_there_are_warnings() -> None:
    code, out, err = finished("doctor", "--json")
    assert err == ""
    assert code == (1 if json.loads(out)["warnings"] else 0)
    done = subprocess.run(
        [*COMMAND, "doctor"],
        env=os.environ | {"PYTHONDEVMODE": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "WARNING Python's development mode is on" in done.stdout
