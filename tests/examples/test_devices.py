"""The examples with devices do what they show."""

from __future__ import annotations

import re
import runpy
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import trio

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def example(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_the_gps_logger_logs_every_whole_position_of_two_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    trio.run(example("gps_logger")["main"], "")
    with sqlite3.connect("gps.sqlite3") as connection:
        rows = connection.execute("SELECT * FROM fixes").fetchall()
    connection.close()
    times = [float(row[0]) for row in rows]
    assert len(times) >= 8
    assert times == sorted(set(times))
    assert all(49.24 < row[1] < 49.26 for row in rows)
    assert all(-123.18 < row[2] < -123.15 for row in rows)
    assert {row[3] for row in rows} == {70.0}
    said = capsys.readouterr().out
    assert re.search(r"\d+ sentences, [1-9] damaged, 2 connections", said)
    assert said.count("no position") == 1


def test_degrees_are_those_of_nmea() -> None:
    degrees = example("gps_logger")["degrees"]
    assert degrees("4916.4500", "N") == pytest.approx(49.274166, abs=1e-6)
    assert degrees("12311.1200", "W") == pytest.approx(-123.185333, abs=1e-6)
    assert degrees("00007.5000", "E") == 0.125


def test_the_power_supply_is_ramped_up_to_what_its_load_allows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ramp = trio.run(example("power_supply")["main"])
    asked = [reading.asked for reading in ramp.readings]
    assert asked[:10] == [float(volts) for volts in range(1, 11)]
    assert set(asked[10:]) <= {10.0}  # it stays there
    for reading in ramp.readings:
        assert reading.volts == pytest.approx(reading.asked, abs=0.05)
        assert reading.amperes == pytest.approx(reading.asked / 5, abs=0.01)
    said = capsys.readouterr().out
    assert said.count("the supply refuses: VOLT 11.00: ") == 1


def test_the_robot_arm_is_stopped_while_a_read_waits_for_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulated = trio.run(example("robot_arm")["main"])
    assert simulated.commands[0] == b"MOVE 90.0"
    assert simulated.commands[-1] == b"STOP"  # and nothing after it
    assert simulated.commands.count(b"STOP") == 1
    assert 0 < simulated.angle < 90
    said = capsys.readouterr().out
    (line,) = (line for line in said.splitlines() if line.startswith("stopped at"))
    assert float(line.split()[4]) < 300  # ms


def test_the_sensor_hub_counts_what_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    heard = trio.run(example("sensor_hub")["main"])
    assert heard["wind"] == heard["temperature"] == (100, 0)
    received, lost = heard["water level"]
    assert received + lost == 100
    assert 5 < lost < 45


def test_the_battery_monitor_stops_the_charger_and_comes_back_to_the_bus(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bus = trio.run(example("can_battery_monitor")["main"], "")
    counts = bus.statistics()
    assert (counts.bus_offs, counts.connects, counts.rejected) == (1, 2, 0)
    assert counts.refused >= 1
    assert counts.received > 60  # thirty pairs come before it is off the bus
    said = capsys.readouterr().out
    assert len(re.findall(r"WARNING: a cell has 4\d °C, charging is stopped", said)) == 1
    assert said.count("the controller is bus off") == 1
    amperes = [line.split()[2] for line in said.splitlines() if line.endswith("°C")]
    assert amperes == ["12.0"] * amperes.count("12.0") + ["-1.5"] * amperes.count("-1.5")
    assert set(amperes) == {"12.0", "-1.5"}
    assert f"{counts.received} frames, 1 time off the bus" in said


def test_the_instrument_answers_obeys_and_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    trio.run(example("scpi_instrument")["main"])
    identity, measured, refused = capsys.readouterr().out.splitlines()
    assert identity.startswith("connected to HORUS,Simulated supply")
    assert re.fullmatch(r"(4\.9|5\.0)\d V, 1\.000 A", measured)
    assert refused == 'the supply refuses OUTP:SMOKE ON: "Undefined header" (-113)'


def test_the_log_watcher_tells_of_warnings_once(capsys: pytest.CaptureFixture[str]) -> None:
    supervisor = trio.run(example("log_watcher")["main"], "")
    assert len(supervisor.warnings) >= 4
    assert supervisor.warnings == [
        f"motor {number % 4} draws {10 + number} A"
        for number in range(5, 6 * len(supervisor.warnings), 6)
    ]
    assert "files; go on at TailPosition(" in capsys.readouterr().out


def test_the_mission_planner_plans_what_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    planner = trio.run(example("mission_planner")["main"], "")
    assert planner.planned == ["charge", "patrol", "fetch"]
    said = capsys.readouterr().out
    assert "mission patrol: gate -> hall -> gate" in said
    assert said.count("mission typo is refused: JSONDecodeError") == 1
