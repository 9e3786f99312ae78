"""The example that polls a weather station shows its news, also after it was switched off."""

from __future__ import annotations

import itertools
import runpy
from pathlib import Path

import pytest
import trio

from horus_trio.drivers import DriverState

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "weather_station.py"


def test_the_weather_station_goes_away_and_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    station, display = trio.run(runpy.run_path(str(EXAMPLE))["main"], 5.0)
    shown = display.shown
    assert len(shown) >= 6
    assert all(-60 <= weather.temperature <= 60 for weather in shown)
    for weather, later in itertools.pairwise(shown):
        assert weather != later  # it was news
    counts, statistics = station.sensor.counts, station.sensor.statistics()
    assert counts.unchanged > 0
    assert statistics.connects >= 2
    assert statistics.state is DriverState.CLOSED
    said = capsys.readouterr().out
    assert said.count("the station is away: JsonSensor http://127.0.0.1:") == 1
    before, _, after = said.partition("the station is away")
    assert before.count("°C") >= 2
    assert after.count("°C") >= 2
    assert f"{len(shown)} times there was news" in said
