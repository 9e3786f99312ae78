"""What the live table of `horus-trio run` costs a 100 Hz node in lateness: beside it, and without.

The table is drawn on a real terminal (a pty that another process reads) by a thread of the same
process, which takes the interpreter's lock from the loop while it draws.
"""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
from collections.abc import Iterator

import trio
from _compare import Target, compare, percentile, print_machine

import horus_trio as horus
from horus_trio.cli.console import Console
from horus_trio.cli.events import Events
from horus_trio.cli.live import View

SECONDS = 1.5
NODES = 10
TARGET = 1.5


class Sensor(horus.AsyncNode):
    rate = 100

    def __init__(self, name: str, late: list[float]) -> None:
        super().__init__(name)
        self.late = late

    async def tick_async(self) -> None:
        tick = self.current_tick
        if tick is not None:
            self.late.append(trio.current_time() - tick.scheduled)
        self.send(self.name, tick)


@contextlib.contextmanager
def terminal() -> Iterator[Console]:
    """A console on a terminal whose other end a process reads."""
    screen, end = pty.openpty()
    with (
        subprocess.Popen(["cat"], stdin=screen, stdout=subprocess.DEVNULL) as reader,
        os.fdopen(end, "w") as stream,
    ):
        os.close(screen)
        yield Console(stream)
        reader.kill()


def p99(*, with_table: bool) -> float:
    """The 99th percentile of lateness, in ms."""
    late: list[float] = []
    scheduler = horus.Scheduler()
    for number in range(NODES):
        scheduler.add(Sensor(f"sensor {number}", late))
    with contextlib.ExitStack() as stack:
        if with_table:
            events = Events()
            scheduler.on_result(events.result)
            console = stack.enter_context(terminal())
            stack.enter_context(View(console, scheduler, events, title="bench", seconds=SECONDS))
        scheduler.run(SECONDS)
    return percentile(late, 0.99) * 1e3


if __name__ == "__main__":
    os.environ["TERM"] = "xterm"
    print_machine()
    ratios = compare(
        f"Lateness p99 of {NODES} nodes at 100 Hz",
        "ms",
        {"without": lambda: p99(with_table=False), "with the table": lambda: p99(with_table=True)},
        base="without",
        repetitions=25,
        targets={"with the table": Target(at_most=TARGET)},
    )
    verdict = "holds" if ratios["with the table"] <= TARGET else "does NOT hold"
    print(f"ratio {ratios['with the table']:.2f}, at most {TARGET}: {verdict}")
