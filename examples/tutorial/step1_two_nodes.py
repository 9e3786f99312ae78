"""Step 1 of the tutorial: two nodes, and the topics between them.

Run it with `python examples/tutorial/step1_two_nodes.py`. A sonar measures how
far it is to a wall, and a second node says how fast to drive. It stops before the
wall.
"""

import time

import horus_trio as horus


class Sonar(horus.Node):
    """Measures the distance to the wall, which comes nearer as the rover drives."""

    rate = 5  # Hz

    def init(self) -> None:
        self.metres = 1.3  # a real sensor would be opened here

    def tick(self) -> None:
        time.sleep(0.02)  # and read here, which takes its time
        self.metres -= 0.2 * self.latest("speed", 0.0)
        self.send("distance", round(self.metres, 1))


class Drive(horus.AsyncNode):
    """Chooses a speed for each distance."""

    on = "distance"

    async def tick_async(self) -> None:
        metres = self.recv("distance")
        speed = 0.5 if metres > 1.0 else 0.0
        print(f"{metres} m ahead: {speed} m/s")
        self.send("speed", speed)
        if speed == 0.0:
            self.request_stop("the wall is near")


if __name__ == "__main__":
    print(horus.run(Sonar("sonar"), Drive("drive")))
