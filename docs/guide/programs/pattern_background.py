"""A slow sensor is read in the background; a fast loop uses its newest reading."""

from __future__ import annotations

import threading
import time

import horus_trio as horus


def read_sonar() -> float:
    """Metres; takes 50 ms."""
    time.sleep(0.05)
    return 1.25


class ByHand(horus.AsyncNode):
    """A thread, a lock, a flag, and an error in the thread that nobody hears of."""

    rate = 100

    async def init(self) -> None:
        self.reading: float | None = None
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.read_on)
        self.thread.start()

    def read_on(self) -> None:
        while not self.stopped.is_set():
            reading = read_sonar()
            with self.lock:
                self.reading = reading

    async def tick_async(self) -> None:
        with self.lock:
            self.used = self.reading

    async def shutdown(self) -> None:
        self.stopped.set()
        self.thread.join()


class Here(horus.AsyncNode):
    """The reading is another node's."""

    rate = 100

    async def tick_async(self) -> None:
        self.used = self.latest("range", max_age=0.5)


def sonar(node: horus.Node) -> None:
    node.send("range", read_sonar())  # all there is to it


if __name__ == "__main__":
    by_hand, here = ByHand("by hand"), Here("here")
    horus.run(by_hand, here, horus.Node("sonar", tick=sonar, rate=20), duration=1)
    print("by hand:", by_hand.used, "m")
    print("here:", here.used, "m")
