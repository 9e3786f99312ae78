"""Step 3 of the tutorial: one part fails and is repaired, another is made safe.

Run it with `python examples/tutorial/step3_failures.py`. The sonar's cable is
loose, so it is opened again. The motors must not run half-broken: when their
controller does not answer, they are brought into their safe state, and the rover
stops.
"""

import logging

import horus_trio as horus


class Sonar(horus.AsyncNode):
    """When it has failed it is shut down, and initialised again after 0.2 s."""

    rate = 10
    failure_policy = horus.Restart(backoff=0.2)
    readings = 0

    def init(self) -> None:
        print("sonar: open")

    async def tick_async(self) -> None:
        self.readings += 1
        if self.readings == 4:
            raise OSError("the cable is loose")
        self.send("distance", 2.0)

    def on_error(self, error: BaseException) -> None:
        print("sonar:", error)

    def shutdown(self) -> None:
        print("sonar: close")


class Motors(horus.AsyncNode):
    """They are critical, and their first failure is the end of the run."""

    rate = 20
    critical = True
    failure_policy = horus.Fatal()
    commands = 0

    async def tick_async(self) -> None:
        self.commands += 1
        if self.commands == 25:
            raise ConnectionError("the motor controller does not answer")

    def enter_safe_state(self) -> None:
        print("motors: brake")


if __name__ == "__main__":
    logging.disable()  # the log would tell of both failures, too
    try:
        horus.run(Sonar("sonar"), Motors("motors"))
    except horus.RunFailed as failed:
        print("ended:", failed.report.reason)
        for error in failed.exceptions:
            print(repr(error), *error.__notes__)
