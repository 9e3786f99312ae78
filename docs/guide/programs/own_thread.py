"""An SQLite connection belongs to the thread that opened it, and so does this node."""

import sqlite3

import horus_trio as horus


class BlackBox(horus.Node):
    rate = 20
    thread = "own"
    subs = horus.Sub("pose", capacity=1000)

    def init(self) -> None:
        self.rows = 0
        self.database = sqlite3.connect(":memory:")
        self.database.execute("CREATE TABLE pose (x REAL)")

    def tick(self) -> None:
        poses = [(x,) for x in self.recv_all("pose")]
        with self.database:  # one transaction for all that has come
            self.database.executemany("INSERT INTO pose VALUES (?)", poses)
        self.rows += len(poses)

    def shutdown(self) -> None:
        self.tick()
        self.database.close()


class Odometry(horus.AsyncNode):
    rate = 100

    async def tick_async(self) -> None:
        await self.send_async("pose", 0.5)


if __name__ == "__main__":
    black_box = BlackBox("black box", order=-1)  # initialised first, shut down last
    report = horus.run(black_box, Odometry(), duration=0.5)
    print(black_box.rows == report.statistics.topics["pose"].sent)
