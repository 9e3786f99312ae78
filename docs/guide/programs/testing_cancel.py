"""A reader that loses a message when it is cancelled, and one that does not."""

import collections

import trio

from horus_trio.testing import CancellationBroken, cancel_everywhere


class Inbox:
    def __init__(self) -> None:
        self.items = collections.deque(["first", "second"])

    async def take_and_wait(self) -> str:
        item = self.items.popleft()
        await trio.lowlevel.checkpoint()  # cancelled here, the item is gone
        return item

    async def wait_and_take(self) -> str:
        await trio.lowlevel.checkpoint()
        return self.items.popleft()


async def main() -> None:
    sweep = await cancel_everywhere(Inbox, Inbox.wait_and_take)
    print(f"wait_and_take: {sweep.checkpoints} checkpoint, {sweep.attempts} attempts, all well")
    try:
        await cancel_everywhere(Inbox, Inbox.take_and_wait)
    except CancellationBroken as broken:
        finding = broken.findings[0]
        print(f"{finding.problem}, at checkpoint {finding.checkpoint}, {finding.moment}")
        print(f"in line {finding.line} of {finding.function}")


trio.run(main)
