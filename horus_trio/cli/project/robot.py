"""A robot of two nodes: a sonar that blocks, and a loop that drives by what it says.

Run it with `horus-trio run`, and look into it from another terminal, with
`horus-trio top`.
"""

import time

import horus_trio as horus


class Sonar(horus.Node):
    """Measures how far it is to the wall, in metres.

    It is made up: read your device here. A `def` tick runs in a thread and may block.
    One that hangs is left behind.
    """

    name = "sonar"
    rate = 10
    tick_timeout: float = 0.5
    distance: float = 3.0

    def tick(self) -> None:
        time.sleep(0.01)
        self.distance = max(0.0, self.distance - 0.1)
        self.send("distance", self.distance)


class Drive(horus.AsyncNode):
    """Says how fast to drive, in metres a second; it stops before the wall.

    An `async` tick runs on the loop and must not block. What the sonar has said is good
    for half a second; after that it drives as if the wall were here.
    """

    name = "drive"
    rate = 50
    speed: float = 0.0

    async def tick_async(self) -> None:
        distance = self.latest("distance", default=0.0, max_age=0.5)
        speed = 1.0 if distance > 1.0 else 0.0
        if speed != self.speed:
            self.log.info("%.1f m/s, %.1f m from the wall", speed, distance)
        self.speed = speed
        self.send("speed", speed)
