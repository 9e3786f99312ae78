"""A control loop of 100 Hz among devices that are slow, fail, hang and hang up.

Run it with `python examples/demo_robot.py`; it starts the devices, each a process, lives for four
seconds and says how its nodes fared. They are those of `horus-trio demo`, but for the loop itself:
horus_trio/cli/demo/robot.py has an inertial sensor on a serial line, a weather service, a sonar
whose reading hangs for good, and a black box that writes everything to SQLite.
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import horus_trio as horus
from horus_trio.cli.demo.robot import BlackBox, Command, Imu, Sonar, Weather, WeatherStation
from horus_trio.cli.demo.world import World


class Control(horus.Node):
    """The loop all this is for: a hundred times a second, with whatever is known by then."""

    rate = 100
    thread = "own"
    critical = True

    def __init__(self) -> None:
        super().__init__("control")
        self.heading: float = 0.0
        self.blind: int = 0

    def tick(self) -> None:
        for sample in self.recv_all("imu"):
            self.heading += sample.gyro[2] / 100
        distance = self.latest("sonar", max_age=1.0)
        weather = self.latest("weather", default=Weather(wind=12.0), max_age=5.0)
        if distance is None:  # the sonar says nothing: creep
            self.blind += 1
            speed = 0.1
        else:
            speed = min(1.0, distance.metres / 2)
        self.send("command", Command(speed / (1 + weather.wind / 10), -0.5 * self.heading))

    def enter_safe_state(self) -> None:
        self.send("command", Command(speed=0.0, turn=0.0))


def main() -> None:
    """Run them for four seconds; the serial line hangs up for one of them."""
    with World() as world, tempfile.TemporaryDirectory() as folder:
        world.hang_up(after=1.5, seconds=1.0)
        control, black_box = Control(), BlackBox(Path(folder) / "black_box.sqlite3")
        scheduler = horus.Scheduler(name="demo")
        for node in (
            black_box,
            Imu(world.imu_port),
            WeatherStation(world.weather_url),
            Sonar(world.sonar_address),
            control,
        ):
            scheduler.add(node)
        print(scheduler.run(duration=4))
        with sqlite3.connect(black_box.path) as database:
            [(rows,)] = database.execute("SELECT count(*) FROM messages")
        database.close()
    print(f"{rows} messages written, {black_box.acknowledged} acknowledged")
    print(f"{control.blind} ticks without the sonar, at a creep")


if __name__ == "__main__":
    main()
