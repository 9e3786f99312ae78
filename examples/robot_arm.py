"""A robot arm on a serial line, which an emergency stops at once, while a read waits for it.

Run it with `python examples/robot_arm.py`. The arm is made up. It says nothing while it moves, so
that there is nothing to read; a light curtain notices a hand, and the stop overtakes everything.
"""

from __future__ import annotations

import trio

import horus_trio as horus
from horus_trio.drivers import DriverNode, Lines, SerialPort
from simulated.arm import SimulatedArm


class Arm(DriverNode):
    """Publishes where the arm is, and moves it where it is told to be.

    A critical node takes part in the safety chain: its `enter_safe_state` is called in an
    emergency, and from then on no command is sent.
    """

    critical = True

    def decode(self, message: bytes) -> float:
        word, degrees = message.split()
        if word != b"AT":
            raise ValueError(f"expected AT and an angle, got {message!r}")
        return float(degrees)

    def encode(self, data: float) -> bytes:
        return b"MOVE %.1f" % data

    async def enter_safe_state(self) -> None:
        await self.driver.send(b"STOP")


class Planner(horus.AsyncNode):
    """Wants the arm to go to and fro, five times a second, whatever happens."""

    rate = 5

    async def tick_async(self) -> None:
        self.send("target", 0.0 if self.latest("angle", 0.0) > 80 else 90.0)


class LightCurtain(horus.AsyncNode):
    """Notices a hand in its tenth tick."""

    rate = 20
    noticed: float = 0.0

    async def tick_async(self) -> None:
        if self.current_tick is not None and self.current_tick.seq == 10:
            self.noticed = trio.current_time()
            self.emergency_stop("a hand in the light curtain")


async def main() -> SimulatedArm:
    """Work for a second and a half; a hand comes after half a second."""
    simulated, curtain = SimulatedArm(), LightCurtain("light curtain")
    async with simulated.plugged_in() as port:
        driver = SerialPort(port, framing=Lines())
        arm = Arm("arm", driver, publish="angle", listen="target")
        scheduler = horus.Scheduler(name="robot arm")
        for node in (arm, Planner("planner"), curtain):
            scheduler.add(node)
        print(await scheduler.run(1.5))
    if simulated.stopped is not None:
        later = 1000 * (simulated.stopped - curtain.noticed)
        print(f"stopped at {simulated.angle:.0f} degrees, {later:.1f} ms after the hand came")
    print(f"{driver.statistics().received} messages had come, and a read was waiting for the next")
    print(f"{arm.unsent} commands came after that, and were not sent")
    return simulated


if __name__ == "__main__":
    trio.run(main)
