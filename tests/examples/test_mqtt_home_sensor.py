"""The examples with a sensor and with a thermostat do what they show."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "mqtt_thermostat.py"


def example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE))


def test_a_sensor_that_is_killed_is_gone_and_its_last_value_is_kept(
    require: Callable[[str, bool, str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mosquitto = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    require("mosquitto", mosquitto is not None, "apt install mosquitto")
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLE.parent.parent))
    thermostat = trio.run(example()["main"])
    assert thermostat.heater == "off"
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in said if "the sensor" in line] == ["here", "gone"] * 2
    assert said.count("heater on") == said.count("heater off") >= 1
    kept = dict(line.removeprefix("kept: ").split(" = ") for line in said if "kept: " in line)
    assert kept["home/kitchen/sensor"] == "gone"
    assert kept["home/kitchen/heater"] == "off"
    assert 17 <= float(kept["home/kitchen/temperature"]) <= 23


def test_without_a_broker_it_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(SystemExit, match="there is no mosquitto: apt install mosquitto"):
        trio.run(example()["main"])
