"""Ticks on an absolute grid: late ones do not move it, and missed ones are not made up for."""

import trio
from trio.testing import MockClock

import horus_trio as horus


class Loop(horus.AsyncNode):
    rate = 10
    deadline = 0.05

    async def init(self) -> None:
        self.ticks = 0

    async def tick_async(self) -> None:
        self.ticks += 1
        if self.ticks == 3:
            await trio.sleep(0.25)  # two and a half periods


def say(result: horus.AsyncResult) -> None:
    print(f"tick {result.seq} was due at {result.scheduled - epoch:.1f} s")


if __name__ == "__main__":
    scheduler = horus.Scheduler().add(Loop("loop"))
    scheduler.on_result(say)
    clock = MockClock(autojump_threshold=0)
    epoch = clock.current_time()
    report = trio.run(scheduler.run, 0.8, clock=clock)
    loop = report.statistics.nodes["loop"]
    print("released:", loop.ticks_released, "ok:", loop.ok, "missed:", loop.missed)
    print("past the deadline:", loop.deadline_missed)
