"""A fast sender that waits for a slow reader, so that nothing is lost."""

import trio

import horus_trio as horus


class Writer(horus.AsyncNode):
    rate = 20
    subs = horus.Sub("lines", capacity=2, overflow=horus.Overflow.BLOCK)

    async def tick_async(self) -> None:
        await self.recv_async("lines")
        await trio.sleep(0.02)  # a slow disk


class Source(horus.AsyncNode):
    rate = 200

    async def tick_async(self) -> None:
        await self.send_async("lines", "a line")  # waits while two lines are waiting


if __name__ == "__main__":
    report = horus.run(Source("source"), Writer("writer"), duration=0.5)
    lines = report.statistics.topics["lines"]
    source = report.statistics.nodes["source"]
    print("dropped:", lines.dropped)
    print("the source was held up:", source.missed > source.ok)
