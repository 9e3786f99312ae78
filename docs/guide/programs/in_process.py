"""A planner that computes in a process of its own. It meets a problem that is too hard for it."""

import horus_trio as horus


class Planner(horus.Node):
    thread = "process"
    rate = 20
    subs = "goal"
    tick_timeout = 0.5
    failure_policy = horus.Ignore()
    pubs = "plan"

    def init(self) -> None:
        self.plans = 0

    def tick(self) -> None:
        goal = self.recv("goal")
        if goal is None:
            return
        cost = 0
        while cost < 100_000 or goal == "the moon":
            cost += 1
        self.plans += 1
        self.send("plan", f"plan {self.plans}: to {goal}")


class Pilot(horus.AsyncNode):
    rate = 100
    pubs = "goal"
    subs = "plan"

    def __init__(self) -> None:
        super().__init__("pilot")
        self.goals = ["the door", "the moon", "the dock"]

    async def tick_async(self) -> None:
        if self.goals:
            self.send("goal", self.goals.pop(0))
        plan = self.recv("plan")
        if plan is not None:
            print(plan)
            if plan.endswith("dock"):
                self.request_stop("there is a way home")


def say(result: horus.AsyncResult) -> None:
    if result.status is horus.TickStatus.TIMED_OUT:
        print(result.error)


if __name__ == "__main__":  # worker processes import this file
    scheduler = horus.Scheduler()
    scheduler.add(Planner("planner"))
    scheduler.add(Pilot())
    scheduler.on_result(say)
    scheduler.run(duration=10)
