"""Five range sensors, of which one is slow, one fails and one hangs: three of them are enough.

Run it with `python examples/sensor_fusion.py`. Ten times a second, all sensors are asked how far
the wall is. As soon as three have answered, their readings are fused, and the others are not waited
for; if three do not come within 40 ms, the robot brakes and says what it has.
"""

from __future__ import annotations

import trio

import horus_trio as horus
from horus_trio.helpers import AsyncAggregator, Gathered, QuorumFailed
from simulated.range_sensors import World

QUORUM, WITHIN = 3, 0.04


class Fusion(horus.AsyncNode):
    """Fuses what comes first. The best readings count the most."""

    rate = 10

    def __init__(self, world: World) -> None:
        self.sensors = AsyncAggregator(name="sensors")
        for sensor in (world.lidar, world.infrared, world.sonar, world.radar, world.camera):
            self.sensors.add(sensor.__name__, sensor)
        self.world = world
        self.fused: list[tuple[float, Gathered]] = []
        self.brakes = 0
        super().__init__("fusion", helpers=[self.sensors])

    async def tick_async(self) -> None:
        try:
            gathered = await self.sensors.wait_first(QUORUM, within=WITHIN)
        except QuorumFailed as error:
            self.brakes += 1
            self.send("brake", True)
            self.tell("brakes  ", error.gathered)
        else:
            distance = fuse(list(gathered.values.values()))
            self.fused.append((distance - self.world.distance, gathered))
            self.send("distance", distance)
            self.tell(f"{distance:5.2f} m ", gathered)

    def tell(self, what: str, gathered: Gathered) -> None:
        parts = {
            "have answered": gathered.values,
            "failed": gathered.errors,
            "missing": gathered.missing,
        }
        said = "; ".join(f"{part}: {', '.join(names)}" for part, names in parts.items() if names)
        print(f"{self.world.age:5.2f} s  {what} {said}")


def fuse(readings: list[tuple[float, float]]) -> float:
    """The mean, weighted with the inverse of the variances."""
    weights = [1 / sigma**2 for _, sigma in readings]
    total = sum(weight * value for weight, (value, _) in zip(weights, readings, strict=True))
    return total / sum(weights)


async def main() -> Fusion:
    """Drive for a second and a half."""
    fusion = Fusion(World())
    print(await horus.Scheduler(name="sensor fusion").add(fusion).run(1.5))
    print(f"fused {len(fusion.fused)} times, braked {fusion.brakes} times")
    return fusion


if __name__ == "__main__":
    trio.run(main)
