"""A weather station that tells its values as JSON over HTTP: polled, and asked for news alone.

Run it with `python examples/weather_station.py`. The station is made up, on the loopback interface:
it has news three times a second and is asked ten times, and it is switched off for a while. The
node connects again by itself.
"""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass

import trio

import horus_trio as horus
from horus_trio.drivers import DriverNode, JsonField, JsonSensor


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
    async with trio.open_nursery() as nursery:
        port = await nursery.start(switch_on_and_off)
        station, display = Station(f"http://127.0.0.1:{port}/weather"), Display()
        scheduler = horus.Scheduler(name="weather")
        scheduler.add(station)
        scheduler.add(display)
        print(await scheduler.run(seconds))
        nursery.cancel_scope.cancel()
    counts, statistics = station.sensor.counts, station.sensor.statistics()
    print(
        f"asked {counts.questions} times: {len(display.shown)} times there was news, "
        f"{counts.unchanged} times there was none; {statistics.connects} connections, "
        f"{statistics.bytes_received} bytes"
    )
    return station, display


# A station, simulated

UNCHANGED = b"HTTP/1.1 304 Not Modified\r\n\r\n"


async def switch_on_and_off(*, task_status: trio.TaskStatus[int]) -> None:
    """On for a second and a half, off for a second, and on again."""
    port = 0
    for seconds in (1.5, math.inf):
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        if port == 0:
            port = listeners[0].socket.getsockname()[1]
            task_status.started(port)
        with trio.move_on_after(seconds):
            await trio.serve_listeners(answer, listeners)
        await trio.sleep(1)


async def answer(stream: trio.SocketStream) -> None:
    """Answer what comes over a connection, until it ends."""
    question = b""
    with contextlib.suppress(trio.BrokenResourceError):
        async for data in stream:
            question += data
            if question.endswith(b"\r\n\r\n"):
                number = int(trio.current_time() * 3)
                known = b'"%d"' % number in question
                await stream.send_all(UNCHANGED if known else news(number))
                question = b""


def news(number: int) -> bytes:
    air = {"temperature": round(15 + 5 * math.sin(number / 10), 1), "unit": "C"}
    gauges = [{"id": "roof", "speed": number % 11 / 2}]
    body = json.dumps({"air": air, "gauges": gauges, "rain": number % 5 == 0})
    head = f'HTTP/1.1 200 OK\r\nETag: "{number}"\r\nContent-Length: {len(body)}'
    return f"{head}\r\n\r\n{body}".encode()


if __name__ == "__main__":
    trio.run(main)
