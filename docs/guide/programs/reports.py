"""What a run tells: results while it runs, counters at any time, a report at the end."""

import horus_trio as horus


class Sensor(horus.Node):
    rate = 20
    failure_policy = horus.Ignore()

    def init(self) -> None:
        self.values = [11.9, 12.0]

    def tick(self) -> float:
        if not self.values:
            self.request_stop("no more values")
            raise ValueError("checksum")
        return self.values.pop()


def say(result: horus.AsyncResult) -> None:
    if result.success:
        print(result.node, "returned", result.value)
    else:
        print(result.node, "failed:", repr(result.error))


if __name__ == "__main__":
    scheduler = horus.Scheduler()
    scheduler.add(Sensor("sensor"))
    scheduler.on_result(say)
    report = scheduler.run()
    sensor = report.statistics.nodes["sensor"]
    print(sensor.ok, "ok,", sensor.errors, "failed;", report.reason)
