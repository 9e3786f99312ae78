"""A long `def tick` that asks whether its time is over."""

import time

import horus_trio as horus


class Scan(horus.Node):
    rate = 1
    tick_timeout = 0.2

    def tick(self) -> None:
        for _line in range(1000):
            time.sleep(0.01)
            self.check_cancelled()  # raises when the tick was abandoned or the node must stop


def say(result: horus.AsyncResult) -> None:
    print(f"{result.node}: {result.status.value}: {result.error}")


if __name__ == "__main__":
    scheduler = horus.Scheduler()
    scheduler.add(Scan("scan"), failure_policy=horus.Ignore())
    scheduler.on_result(say)
    report = scheduler.run(duration=0.5)
    print("left behind:", len(report.stragglers))
