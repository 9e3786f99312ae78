"""Step 2 of the tutorial: a reading hangs, and the control loop goes on.

Run it with `python examples/tutorial/step2_a_hung_reading.py`. The sonar's fifth
reading hangs for a second, as readings of real devices do. It has a time limit,
and beside it a control loop ticks a hundred times a second and notices when what
it knows is too old.
"""

import time

import horus_trio as horus


class Sonar(horus.Node):
    """Measures ten times a second. A reading that takes 0.5 s is given up."""

    rate = 10
    tick_timeout = 0.5
    failure_policy = horus.Ignore()  # the next reading may be better
    readings = 0

    def tick(self) -> None:
        self.readings += 1
        time.sleep(1.0 if self.readings == 5 else 0.02)
        self.send("distance", 2.0)


class Drive(horus.AsyncNode):
    """Drives while it sees, and the slower the nearer the wall is."""

    rate = 100
    speed: float | None = None

    async def tick_async(self) -> None:
        metres = self.latest("distance", max_age=0.4)
        speed = 0.0 if metres is None else round(min(0.5, metres / 2), 1)
        if speed != self.speed:
            what = "blind" if metres is None else f"{metres} m ahead"
            print(f"{what}: {speed} m/s")
            self.speed = speed
        self.send("speed", speed)


if __name__ == "__main__":
    scheduler = horus.Scheduler(name="rover")
    scheduler.add(Sonar("sonar"))
    scheduler.add(Drive("drive"))
    print(scheduler.run(duration=2.5))
