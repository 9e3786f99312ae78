"""A deterministic run on virtual time: the same trace every time, in no time at all."""

import trio
from trio.testing import MockClock

import horus_trio as horus


class Sensor(horus.AsyncNode):
    rate = 10

    async def tick_async(self) -> None:
        await trio.sleep(0.02)
        await self.send_async("value", self.now)


class Control(horus.AsyncNode):
    rate = 10
    order = 1

    async def tick_async(self) -> str:
        return f"a value {self.age('value'):.2f} s old"


def trace() -> list[tuple[str, float, object]]:
    seen: list[tuple[str, float, object]] = []
    scheduler = horus.Scheduler(deterministic=True)
    scheduler.add(Control("control")).add(Sensor("sensor"))
    scheduler.on_result(lambda r: seen.append((r.node, round(r.started, 3), r.value)))
    trio.run(scheduler.run, 0.2, clock=MockClock(autojump_threshold=0))
    return seen


if __name__ == "__main__":
    for event in trace():
        print(event)
    print("the same again:", trace() == trace())
