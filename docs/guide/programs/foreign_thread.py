"""A driver's own thread publishes; the engine's loop hears of it."""

import threading

import horus_trio as horus

scans: horus.Hub[int] = horus.Hub("scans", int)


def driver() -> None:
    for number in range(100):
        scans.send(number)  # any thread, never waits
    scans.close()


async def main() -> None:
    with_room = scans.subscribe(capacity=100)
    newest = scans.subscribe(overflow=horus.Overflow.LATEST)
    thread = threading.Thread(target=driver)
    thread.start()
    received = [number async for number in with_room]
    thread.join()
    print(len(received), "received,", newest.receive_nowait(), "is the newest")


if __name__ == "__main__":
    import trio

    trio.run(main)
