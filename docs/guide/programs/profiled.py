"""Where the time of a robot goes, and what to do about it."""

import time

import horus_trio as horus
from horus_trio.profiling import Profiler


class Gauge(horus.Node):
    rate = 20

    def tick(self) -> None:
        time.sleep(0.02)  # a device that answers after 20 ms


class Filter(horus.AsyncNode):
    rate = 20

    async def tick_async(self) -> None:
        time.sleep(0.015)  # computes, and lets nobody else run meanwhile


scheduler = horus.Scheduler().add(Gauge("gauge")).add(Filter("filter"))
with Profiler(scheduler) as profiler:
    scheduler.run(duration=1)
print(profiler.report().table(columns=200))
profiler.write_trace("trace.json")
