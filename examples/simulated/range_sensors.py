"""A robot that drives towards a wall, and its five range sensors; all of it made up."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

import trio


@dataclass
class World:
    """Each sensor is a method that tells the metres to the wall, and how wrong that may be."""

    began: float = field(default_factory=time.monotonic)
    dice: random.Random = field(default_factory=lambda: random.Random(1))

    @property
    def age(self) -> float:
        """Seconds."""
        return time.monotonic() - self.began

    @property
    def distance(self) -> float:
        """Metres to the wall, as only the world knows them."""
        return 5.0 - 0.5 * self.age

    def measured(self, sigma: float) -> tuple[float, float]:
        return self.distance + self.dice.gauss(0.0, sigma), sigma

    async def lidar(self) -> tuple[float, float]:
        await trio.sleep(0.005)
        return self.measured(0.01)

    async def infrared(self) -> tuple[float, float]:
        await trio.sleep(0.01)
        return self.measured(0.1)

    async def sonar(self) -> tuple[float, float]:
        """It is slow."""
        await trio.sleep(0.2)
        return self.measured(0.05)

    def radar(self) -> tuple[float, float]:
        """Its library blocks; and after a second, it blocks for long."""
        time.sleep(0.008 if self.age < 1.05 else 0.3)
        return self.measured(0.03)

    def camera(self) -> tuple[float, float]:
        raise OSError("the lens is dirty")
