"""A critical node that fails for good ends the run, and `run` raises."""

import horus_trio as horus


class Lidar(horus.Node):
    rate = 50
    critical = True
    failure_policy = horus.Restart(max_restarts=2, within=10, backoff=0.01)

    def tick(self) -> None:
        raise ConnectionError("no lidar on port 7")

    def enter_safe_state(self) -> None:
        print("brakes on")


if __name__ == "__main__":
    try:
        print(horus.run(Lidar("lidar"), horus.Node("lamp", tick=lambda node: None)))
    except horus.RunFailed as failed:
        for error in failed.exceptions:
            print(repr(error), *error.__notes__, sep="\n")
        print("ended:", failed.report.reason)
