"""A web API that is polled as fast as it allows, and no faster; what it says goes into a file.

Run it with `python examples/api_poller.py`. The API is made up. It sometimes fails and sometimes
does not answer, and it counts who asks too often. A node for each weather station polls it. They
share a `RateLimiter`, which every request passes, and a `BatchProcessor`, which writes many lines
at once.
"""

from __future__ import annotations

import csv
from pathlib import Path

import trio

import horus_trio as horus
from horus_trio.helpers import BatchProcessor, RateLimiter
from simulated.weather_api import WeatherApi, get

STATIONS = ("harbour", "hill", "airport", "forest", "island")
LIMIT, BURST = 50, 10  # requests a second, and at once

Reading = tuple[str, int, float]  # the station, the number of the reading, °C


class Poller(horus.AsyncNode):
    """Asks for one station, again and again; the limiter says how fast."""

    rate = 1000  # far more than there will be

    def __init__(
        self, station: str, port: int, limiter: RateLimiter, readings: BatchProcessor[Reading]
    ) -> None:
        super().__init__(station, helpers=[limiter, readings])
        self.port, self.limiter, self.readings = port, limiter, readings
        self.retries: int = 0

    async def tick_async(self) -> None:
        for attempt in range(6):
            await self.limiter.acquire()
            with trio.move_on_after(0.1):
                answer = await get(self.port, f"/stations/{self.name}")
                if answer is not None:
                    break
            self.retries += 1
            await trio.sleep(0.01 * 2**attempt)
        else:
            raise OSError(f"the API does not tell about {self.name}")
        await self.readings.add_async((self.name, answer["number"], answer["temperature"]))


def write(batch: list[Reading]) -> None:
    """Add lines to the file."""
    with Path("readings.csv").open("a", newline="") as file:
        csv.writer(file).writerows(batch)


async def main(seconds: float = 3.0) -> WeatherApi:
    """Poll for so long."""
    api = WeatherApi(LIMIT, BURST)
    limiter = RateLimiter(LIMIT, burst=BURST, name="API")
    readings = BatchProcessor(write, batch_size=25, interval=0.5, dead_letter=Path("readings.dead"))
    async with api.serving() as port:
        scheduler = horus.Scheduler(name="API poller")
        pollers = [Poller(station, port, limiter, readings) for station in STATIONS]
        for poller in pollers:
            scheduler.add(poller)
        print(await scheduler.run(seconds))
    print(f"{api.requests} requests, {sum(poller.retries for poller in pollers)} of them retried")
    print(f"{api.too_many} were too many for an API that allows {LIMIT} a second")
    counts = readings.statistics()
    print(f"{counts.processed} readings written, in {counts.batches} batches; {counts.dead} lost")
    return api


if __name__ == "__main__":
    trio.run(main)
