"""A bumper is hit: the motor is made safe beside the rest of the robot, and drives on later."""

import time

import horus_trio as horus


class Motor(horus.Node):
    rate = 50
    critical = True

    def tick(self) -> None:
        pass  # a speed to the driver

    def enter_safe_state(self) -> None:
        print("motor: brake")


class Bumper(horus.AsyncNode):
    rate = 50

    async def tick_async(self) -> None:
        if self.current_tick is not None and self.current_tick.seq == 10:
            self.emergency_stop("the bumper was hit")


if __name__ == "__main__":
    with horus.background([Motor("motor"), Bumper("bumper")]) as scheduler:
        while scheduler.emergency is None or scheduler.emergency.pending:
            time.sleep(0.01)
        print("reached:", scheduler.emergency.reached)
        print("motor is in its", scheduler.statistics().nodes["motor"].state.value)
        scheduler.reset_emergency()
        print("motor is", scheduler.statistics().nodes["motor"].state.value)
