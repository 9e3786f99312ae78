"""Every hook of a node, in the order in which it is called."""

import horus_trio as horus


class Gripper(horus.Node):
    rate = 20
    failure_policy = horus.Restart(backoff=0.05)

    def __init__(self) -> None:
        super().__init__("gripper")
        self.lives = 0

    def init(self) -> None:
        self.lives += 1
        self.ticks = 0
        print("init: open the device")

    def tick(self) -> int:
        self.ticks += 1
        print("tick", self.ticks)
        if self.lives == 2:
            self.request_stop("that was all")
        elif self.ticks == 2:
            raise OSError("the gripper does not answer")
        return self.ticks  # goes into AsyncResult.value

    def on_error(self, error: BaseException) -> None:
        print("on_error:", error)

    def shutdown(self) -> None:
        print("shutdown: close the device")


if __name__ == "__main__":
    report = horus.run(Gripper())
    print("restarts:", report.statistics.nodes["gripper"].restarts)
