"""A robot that takes missions from a folder: whatever is put there is read when it is complete.

Run it with `python examples/mission_planner.py /srv/missions`. Without a folder it makes up
one, and an operator who puts missions there, as files of JSON.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import trio

import horus_trio as horus
from horus_trio.drivers import DirectoryWatch, DriverNode, FileChange, FileEvent
from simulated.mission_folder import mission_folder


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


async def main(path: str = "") -> Planner:
    """Take missions until Ctrl-C, or for two seconds those that are made up."""
    async with contextlib.nullcontext(Path(path)) if path else mission_folder() as folder:
        # Those that were put there before count, too.
        watch = DirectoryWatch(
            folder, events=[FileChange.WRITTEN], patterns="*.json", existing=True
        )
        planner = Planner()
        scheduler = horus.Scheduler(name="mission planner")
        scheduler.add(Missions("missions", watch, publish="mission")).add(planner)
        print(await scheduler.run(None if path else 2))
    print(f"{len(planner.planned)} missions were planned")
    return planner


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if sys.argv[1:] else "")
