"""A reading that may hang: it has a time limit, and meanwhile the last good value is used."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import horus_trio as horus

released = threading.Event()


class Sensor:
    """Every fourth reading hangs."""

    def __init__(self) -> None:
        self.readings = itertools.count(1)

    def read(self) -> int:
        number = next(self.readings)
        if number % 4 == 0:
            released.wait(0.4)
        return number


class ByHand(horus.Node):
    """The limit is the caller's. The call goes on, and in the end has all the pool's threads."""

    rate = 20

    def init(self) -> None:
        self.sensor, self.last_good, self.misses = Sensor(), 0, 0
        self.pool = ThreadPoolExecutor(4)

    def tick(self) -> None:
        reading: Future[int] = self.pool.submit(self.sensor.read)
        try:
            self.last_good = reading.result(timeout=0.04)
        except TimeoutError:
            self.misses += 1

    def shutdown(self) -> None:
        released.set()
        self.pool.shutdown()


class Reader(horus.Node):
    """The limit is the engine's. It has one call under way, and says when it hung."""

    def init(self) -> None:
        self.sensor = Sensor()

    def tick(self) -> None:
        self.send("reading", self.sensor.read())


class Here(horus.AsyncNode):
    rate = 20

    async def tick_async(self) -> None:
        self.last_good = self.latest("reading", 0)  # or `max_age=`, and no value if it is too old


if __name__ == "__main__":
    by_hand, here = ByHand("by hand"), Here("here")
    scheduler = horus.Scheduler()
    scheduler.add(by_hand)
    scheduler.add(here)
    scheduler.add(
        Reader("reader"), rate=20, tick_timeout=0.04, failure_policy=horus.Ignore(), thread="own"
    )
    report = scheduler.run(duration=1)
    reader = report.statistics.nodes["reader"]
    print("by hand: has a value:", by_hand.last_good > 0, "- has missed some:", by_hand.misses > 0)
    print("here: has a value:", here.last_good > 0, "- abandoned some:", reader.abandoned > 0)
