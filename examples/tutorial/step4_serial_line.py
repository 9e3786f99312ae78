"""Step 4 of the tutorial: a device on a serial line, which is unplugged on the way.

Run it with `python examples/tutorial/step4_serial_line.py`, or with the port of your
sensor behind that. Without one it makes up a sensor on a pseudo-terminal.
"""

import contextlib
import logging
import os
import pty
import sys
import tempfile
import tty
from collections.abc import Iterator
from pathlib import Path

import trio

import horus_trio as horus
from horus_trio.drivers import DriverNode, Lines, SerialPort


class Sonar(DriverNode):
    """Publishes what comes as lines such as `1.25 m`, and reconnects."""

    def decode(self, message: bytes) -> float:
        return float(message.removesuffix(b" m"))

    def on_stale(self, silence: float) -> None:
        print("the sonar is away")


def show(node: horus.Node) -> None:
    for metres in node.recv_all("distance"):
        print(metres, "m ahead")


async def main(given: Path | None) -> None:
    port = given or Path(tempfile.gettempdir()) / f"sonar-{os.getpid()}"
    driver = SerialPort(port, framing=Lines(), baudrate=9600)
    sonar = Sonar("sonar", driver, publish="distance")
    scheduler = horus.Scheduler(name="rover")
    scheduler.add(sonar)
    scheduler.add(horus.Node("drive", tick=show, on="distance"))
    async with trio.open_nursery() as nursery:
        if given is None:
            nursery.start_soon(sensor, port)
        await scheduler.run(4)
        nursery.cancel_scope.cancel()
    print(f"{driver.statistics().connects} connections, {sonar.rejected} damaged line")


async def sensor(port: Path) -> None:
    """Boots for a second, and sends its lines; is unplugged, and does so again."""
    for lines in ("1.4 m", "1.3 m", "1.# m", "1.1 m"), ("0.9 m", "0.8 m"):
        with plugged_in(port) as device:
            await trio.sleep(1)
            for text in lines:
                os.write(device, f"{text}\n".encode())
                await trio.sleep(0.2)
        await trio.sleep(0.5)


@contextlib.contextmanager
def plugged_in(port: Path) -> Iterator[int]:
    """The sensor's end of a line, whose other end is at that port meanwhile."""
    device, line = pty.openpty()
    tty.setraw(line)
    port.symlink_to(os.ttyname(line))
    try:
        yield device
    finally:
        port.unlink()
        os.close(device)
        os.close(line)


if __name__ == "__main__":
    logging.disable()  # the log would tell what is lost, and why
    trio.run(main, Path(sys.argv[1]) if sys.argv[1:] else None)
