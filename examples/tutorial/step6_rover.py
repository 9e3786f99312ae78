"""Step 6 of the tutorial: a small robot that runs on, looked at from outside.

Run it with `horus-trio run examples/tutorial/step6_rover.py`, or, for five
seconds, with `python examples/tutorial/step6_rover.py`. It has the sonar of step
4, the control loop of step 2, motors that are critical, and a corridor to drive
in, which is made up.
"""

import os
import pty
import tempfile
import tty
from pathlib import Path

from step2_a_hung_reading import Drive
from step4_serial_line import Sonar

import horus_trio as horus
from horus_trio.drivers import Lines, SerialPort

PORT = Path(tempfile.gettempdir()) / f"sonar-{os.getpid()}"


class Corridor(horus.AsyncNode):
    """What the sonar measures, on a serial line: there is a wall every 3 m."""

    rate = 20
    order = -1  # it is there before the others, and after them
    metres = 3.0

    def init(self) -> None:
        self.device, self.line = pty.openpty()
        tty.setraw(self.line)
        PORT.symlink_to(os.ttyname(self.line))

    async def tick_async(self) -> None:
        self.metres -= self.latest("wheels", 0.0) / 20
        if self.metres < 0.3:
            self.metres = 3.0  # the rover has turned round
        os.write(self.device, f"{self.metres:.2f} m\n".encode())

    def shutdown(self) -> None:
        PORT.unlink()
        os.close(self.device)
        os.close(self.line)


class Motors(horus.AsyncNode):
    """Turn the wheels as fast as they are told to, and brake in an emergency."""

    rate = 50
    critical = True

    async def tick_async(self) -> None:
        self.send("wheels", self.latest("speed", 0.0, max_age=0.1))

    def enter_safe_state(self) -> None:
        self.send("wheels", 0.0)

    def shutdown(self) -> None:
        self.send("wheels", 0.0)


scheduler = horus.Scheduler(name="rover")
scheduler.add(Corridor("corridor"))
scheduler.add(Sonar("sonar", SerialPort(PORT, framing=Lines()), publish="distance"))
scheduler.add(Drive("drive"))
scheduler.add(Motors("motors"))

if __name__ == "__main__":
    print(scheduler.run(duration=5))
