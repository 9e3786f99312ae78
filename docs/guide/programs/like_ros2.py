"""The same sonar, and the same node that drives."""

import horus_trio as horus


class Sonar(horus.Node):
    rate = 10

    def __init__(self, start: float = 1.3) -> None:
        super().__init__("sonar", pubs=[horus.Pub("distance", type=float)])
        self.metres = start

    def tick(self) -> None:
        self.send("distance", round(self.metres, 1))
        self.metres -= 0.1


class Drive(horus.AsyncNode):
    on = "distance"
    subs = horus.Sub("distance", capacity=10)

    async def tick_async(self) -> None:
        for metres in self.recv_all("distance"):
            print(f"{metres} m ahead")
            if metres <= 1.0:
                self.request_stop("the wall is near")


if __name__ == "__main__":
    report = horus.run(Sonar(), Drive("drive"))
    print(report.reason)
