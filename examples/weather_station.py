"""A weather station that tells its values as JSON over HTTP: polled, and asked for news alone.

Run it with `python examples/weather_station.py`. The station is made up: it has news three times a
second and is asked ten times, and it is switched off for a while. The node connects again by
itself. It needs `pip install 'horus-trio[http]'`.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

import horus_trio as horus
from horus_trio.drivers import DriverNode, JsonField, JsonSensor
from simulated.weather_station import weather_station


@dataclass(frozen=True)
class Weather:
    temperature: float  # °C
    wind: float  # m/s
    rain: bool = False


class Station(DriverNode):
    """Publishes the weather whenever it has changed."""

    def __init__(self, url: str) -> None:
        celsius = JsonField("air.temperature", low=-60, high=60, unit="C", unit_path="air.unit")
        self.sensor: JsonSensor[Weather] = JsonSensor(
            url,
            fields={"temperature": celsius, "wind": "gauges.0.speed"},
            into=Weather,
            every=0.1,
        )
        super().__init__("station", self.sensor, publish="weather")

    def on_stale(self, silence: float) -> None:
        print(f"the station is away: {self.sensor.statistics().last_error}")


class Display(horus.AsyncNode):
    """Prints what is new."""

    on = "weather"

    def __init__(self) -> None:
        super().__init__("display")
        self.shown: list[Weather] = []

    async def tick_async(self) -> None:
        weather = await self.recv_async("weather")
        self.shown.append(weather)
        print(f"{weather.temperature:.1f} °C, {weather.wind} m/s{', rain' * weather.rain}")


async def main(seconds: float = 4.0) -> tuple[Station, Display]:
    """Watch the weather."""
    async with weather_station() as url:
        station, display = Station(url), Display()
        scheduler = horus.Scheduler(name="weather").add(station).add(display)
        print(await scheduler.run(seconds))
    counts, statistics = station.sensor.counts, station.sensor.statistics()
    print(
        f"asked {counts.questions} times: {len(display.shown)} times there was news, "
        f"{counts.unchanged} times there was none; {statistics.connects} connections, "
        f"{statistics.bytes_received} bytes"
    )
    return station, display


if __name__ == "__main__":
    trio.run(main)
