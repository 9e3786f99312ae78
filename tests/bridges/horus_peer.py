"""A process of HORUS's own, which does what it is told.

``horus_peer.py`` reads commands from its standard input and answers each with one JSON line; a test
speaks to it through `HorusPeer`. What HORUS prints goes nowhere.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

__all__ = ["HorusPeer"]


class HorusPeer:
    """The test's end: starts the process, and ends it with the block."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def __getattr__(self, command: str) -> Any:
        def ask(*arguments: Any) -> Any:
            self.tell(command, *arguments)
            return self.answer()

        return ask

    def tell(self, command: str, *arguments: Any) -> None:
        """Give a command; its `answer` has to be read before the next one."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([command, arguments]) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """Wait for the answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the peer has died with {self.process.wait()}"
        said, error = json.loads(line)
        assert error is None, error
        return said

    def end(self) -> None:
        """It ends as HORUS's processes do, and gives its topics back."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def kill(self) -> None:
        """It is killed, and gives nothing back."""
        self.process.kill()
        self.end()


def main() -> None:
    """The process."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    import horus

    topics: dict[str, Any] = {}

    def fields(message: Any) -> Any:
        if type(message).__name__ not in dir(horus):
            return message
        names = [name for name in dir(message) if not name.startswith("_")]
        values = {name: getattr(message, name) for name in names}
        return {name: value for name, value in values.items() if not callable(value)}

    def open_topic(name: str, cls: str | None = None, capacity: int = 1024) -> None:
        if cls is None:
            topics[name] = horus.Topic(name, capacity)
        else:
            topics[name] = horus.Topic(getattr(horus, cls), capacity, name)

    def read(name: str) -> list[Any]:
        """Take what is waiting; the first call makes it a reader."""
        topic, taken = topics[name], []
        missed = topic.missed_count()
        while True:
            message = topic.recv()
            if message is not None:
                taken.append(fields(message))
            elif topic.missed_count() == missed:
                return taken
            missed = topic.missed_count()

    def send(name: str, *messages: Any) -> None:
        for message in messages:
            topics[name].send(message)

    def make_and_send(name: str, cls: str, values: dict[str, Any]) -> None:
        parameters = inspect.signature(getattr(horus, cls)).parameters
        given = {field: value for field, value in values.items() if field in parameters}
        message = getattr(horus, cls)(**given)
        for field in values.keys() - given.keys():
            setattr(message, field, values[field])
        topics[name].send(message)

    def count(name: str, start: int, stop: int) -> int:
        """Send numbers as fast as it can; how many HORUS dropped, since its ring was full."""
        before = topics[name].dropped_count()
        for number in range(start, stop):
            topics[name].send({"number": number})
        dropped: int = topics[name].dropped_count() - before
        return dropped

    def run_node(seconds: float, heard: str, said: str) -> list[Any]:
        """A node of HORUS's answers each message; what it has heard."""
        got: list[Any] = []

        def tick(node: Any) -> None:
            while (message := node.recv(heard)) is not None:
                got.append(message)
                node.send(said, {"answer to": message})

        horus.run(
            horus.Node("peer", tick=tick, rate=100, subs=[heard], pubs=[said]), duration=seconds
        )
        return got

    commands: dict[str, Any] = {
        "open": open_topic,
        "read": read,
        "send": send,
        "make_and_send": make_and_send,
        "count": count,
        "run_node": run_node,
        "missed": lambda name: topics[name].missed_count(),
    }
    for line in sys.stdin:
        command, arguments = json.loads(line)
        said, error = None, None
        try:
            said = commands[command](*arguments)
        except Exception as problem:  # noqa: BLE001 - it is the test's
            error = repr(problem)
        print(json.dumps([said, error]), file=answers, flush=True)


if __name__ == "__main__":
    main()
