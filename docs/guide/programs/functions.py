"""Nodes made of functions, and a node that is made afresh for each restart."""

import horus_trio as horus


def measure(node: horus.Node) -> None:
    node.send("voltage", 11.9)


async def watch(node: horus.Node) -> None:
    voltage = await node.recv_async("voltage")
    if voltage < 12:
        node.request_stop(f"the battery is at {voltage} V")


class Logger(horus.Node):
    on = "voltage"

    def tick(self) -> None:
        self.recv("voltage")


if __name__ == "__main__":
    scheduler = horus.Scheduler(name="rover")
    scheduler.add(horus.Node("battery", tick=measure, rate=50))
    scheduler.add(horus.Node("watch", tick=watch, on="voltage"))
    scheduler.add(Logger, name="logger")  # the class: a restart makes a new instance
    print(scheduler.run().reason)
