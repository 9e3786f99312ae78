"""The spellings of `run`."""

import trio

import horus_trio as horus


def robot() -> horus.Scheduler:
    return horus.Scheduler(tick_rate=50).add(horus.Node("lamp", tick=lambda node: None))


async def in_a_nursery() -> None:
    scheduler = robot()
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)  # returns when every node is initialised
        print("initialised:", scheduler.statistics().running)
        scheduler.stop("seen enough")


async def awaited() -> None:
    report = await robot().run(duration=0.1)
    print(report.reason)


if __name__ == "__main__":
    print(robot().run(0.1).reason)  # blocks
    trio.run(awaited)
    trio.run(in_a_nursery)
    print(trio.run(robot().run, 0.1).reason)
    print(horus.run(horus.Node("lamp", tick=lambda node: None), duration=0.1).reason)
