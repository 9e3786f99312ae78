"""A robot that follows the log of its motor controller, and takes missions from a folder.

Run it with `python examples/log_watcher.py /var/log/motors.log /srv/missions`. Without arguments it
makes up both in a temporary folder: a controller that writes a log, and rotates it on the way; and
an operator who puts missions there, as files of JSON.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import trio

import horus_trio as horus
from horus_trio.drivers import DirectoryWatch, DriverNode, FileChange, FileEvent, FileTail


class Log(DriverNode):
    """Publishes the warnings of a log, whose lines are ``LEVEL text``."""

    lines = 0

    def decode(self, message: bytes) -> str | None:
        self.lines += 1
        level, _, text = message.decode().partition(" ")
        return text if level == "WARNING" else None


class Missions(DriverNode):
    """Publishes the path of each file that is complete."""

    def decode(self, message: FileEvent) -> Path:
        return message.path


class Planner(horus.Node):
    """Reads missions, in a thread since that may block, and puts them aside."""

    on = "mission"

    def __init__(self) -> None:
        super().__init__("planner")
        self.planned: list[str] = []

    def tick(self) -> None:
        for path in self.recv_all("mission"):
            try:
                mission = json.loads(path.read_text())
                print(f"mission {path.stem}: {' -> '.join(mission['goals'])}")
                self.planned.append(path.stem)
            except (ValueError, LookupError) as error:
                print(f"mission {path.stem} is refused: {type(error).__name__}")
            path.rename(path.with_suffix(".done"))


class Supervisor(horus.AsyncNode):
    """Tells what the controller warns of."""

    on = "warning"

    def __init__(self) -> None:
        super().__init__("supervisor")
        self.warnings: list[str] = []

    async def tick_async(self) -> None:
        for text in self.recv_all("warning"):
            print(f"the motor controller warns: {text}")
            self.warnings.append(text)


async def main(*real: Path) -> tuple[Supervisor, Planner]:
    """Watch a log and a folder until Ctrl-C; without them, simulated ones for two seconds."""
    async with contextlib.AsyncExitStack() as stack:
        log, missions = real or await stack.enter_async_context(simulated_world())
        tail = FileTail(log)
        # Those that were put there before count, too.
        folder = DirectoryWatch(
            missions, events=[FileChange.WRITTEN], patterns="*.json", existing=True
        )
        reader, supervisor, planner = Log("log", tail, publish="warning"), Supervisor(), Planner()
        scheduler = horus.Scheduler(name="log watcher")
        scheduler.add(reader)
        scheduler.add(Missions("missions", folder, publish="mission"))
        scheduler.add(supervisor)
        scheduler.add(planner)
        print(await scheduler.run(None if real else 2))
        print(f"{reader.lines} lines of {tail.rotations + 1} files; go on at {tail.position}")
    return supervisor, planner


# A controller and an operator, simulated


@contextlib.asynccontextmanager
async def simulated_world() -> AsyncIterator[tuple[Path, Path]]:
    """The path of the log, and the folder of the missions."""
    with tempfile.TemporaryDirectory() as place:
        log, missions = Path(place) / "motors.log", Path(place) / "missions"
        missions.mkdir()
        (missions / "charge.json").write_text('{"goals": ["dock"]}')
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_log, log)
            nursery.start_soon(put_missions, missions)
            yield log, missions
            nursery.cancel_scope.cancel()


async def write_log(path: Path) -> None:
    """Twenty lines a second, in two pieces each; the log is rotated after every eight."""
    for number in range(1000):
        if number and number % 8 == 0:
            rotate(path)
        level = "WARNING" if number % 6 == 5 else "INFO"
        with path.open("a") as file:
            file.write(f"{level} motor {number % 4}")
            file.flush()
            await trio.sleep(0.05)
            file.write(f" draws {10 + number} A\n")


def rotate(path: Path) -> None:
    """Call it otherwise; who writes next makes a new one."""
    path.rename(f"{path}.1")


async def put_missions(folder: Path) -> None:
    """One that is written here, one that is moved here when it is complete, one that is no JSON."""
    await trio.sleep(0.3)
    (folder / "patrol.json").write_text('{"goals": ["gate", "hall", "gate"]}')
    await trio.sleep(0.3)
    (folder / "fetch.tmp").write_text('{"goals": ["kitchen", "desk"]}')
    (folder / "fetch.tmp").rename(folder / "fetch.json")
    await trio.sleep(0.3)
    (folder / "typo.json").write_text('{"goals": [')


if __name__ == "__main__":
    trio.run(main, *map(Path, sys.argv[1:]))
