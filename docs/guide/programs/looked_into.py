"""A program of one's own that `horus-trio top` and its like can look into."""

import horus_trio as horus
from horus_trio.cli.control import listening


class Sonar(horus.AsyncNode):
    rate = 20

    async def tick_async(self) -> None:
        self.send("sonar", {"metres": 1.2})


scheduler = horus.Scheduler(name="rover").add(Sonar())
with listening(scheduler):
    report = scheduler.run(duration=0.2)
print(report.reason)
