"""Nodes for `test_process.py`, in a module of their own, since worker processes import them."""

from __future__ import annotations

import ctypes
import multiprocessing.util
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import horus_trio as horus


class Worker(horus.Node):
    """Does in its tick what its `task` says, a function of this module that takes the node."""

    thread = "process"

    def __init__(self, task: Callable[[Any], Any], name: str | None = None, **options: Any) -> None:
        super().__init__(name, **options)
        self.task = task
        self.calls: list[tuple[str, int]] = []
        """Which hooks were called, and in which process."""
        self.count = 0
        self.kept: Any = None

    def init(self) -> None:
        self.calls = [*self.calls, ("init", os.getpid())]

    def tick(self) -> Any:
        self.count += 1
        return self.task(self)

    def on_error(self, error: BaseException) -> None:
        self.calls = [*self.calls, ("on_error", os.getpid())]

    def shutdown(self) -> None:
        self.calls = [*self.calls, ("shutdown", os.getpid())]


def pid(node: Any) -> int:
    return os.getpid()


def look_around(node: Any) -> dict[str, Any]:
    return {
        "name": node.name,
        "seq": node.current_tick.seq,
        "dt": node.dt,
        "now": node.now,
        "has": node.has_msg("in"),
        "latest": node.latest("in", "none"),
        "young": node.latest("in", "none", max_age=0.0),
        "age": node.age("in"),
        "received": node.recv("in", "none"),
        "all": node.recv_all("in"),
        "then": node.recv("in", "none"),
    }


def change_attributes(node: Any) -> None:
    node.calls.append(("changed in place", 0))
    node.fresh = {"made in": "tick"}
    node.twin = node.fresh
    if hasattr(node, "doomed"):
        del node.doomed


def send_and_log(node: Any) -> str:
    node.log.info("before %s", "one")
    node.send("out", 1)
    node.log.info("between", extra={"field": threading.Lock()})
    node.send("out", [2])
    return "done"


def echo(node: Any) -> Any:
    """Take one message of two."""
    message = node.recv("in")
    node.send("out", message)
    return message


def echo_some(node: Any) -> None:
    for _ in range(3):
        if node.has_msg("in"):
            node.send("out", node.recv("in"))


def take_one_and_hang(node: Any) -> None:
    node.send("out", node.recv("in"))
    spin(node)


def spin(node: Any) -> None:
    """What no thread could be stopped in."""
    if isinstance(node.kept, str):
        with open(node.kept, "a") as file:  # noqa: PTH123 - one line a tick
            file.write(f"{os.getpid()}\n")
    while True:
        pass


def bid_farewell_at_exit(node: Any) -> None:
    """If this process ends by itself, it says so in a file."""
    multiprocessing.util.Finalize(None, node.kept.touch, exitpriority=1)


def exit_hard(node: Any) -> None:
    node.send("out", "too late")
    os._exit(3)


def kill_itself(node: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash(node: Any) -> None:
    ctypes.string_at(0)


def ignore_sigterm(node: Any) -> int:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)
    return os.getpid()


class Picky(Exception):
    """Can be pickled, and not be rebuilt."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("as picky as it gets")


def raise_value_error(node: Any) -> None:
    node.send("out", "sent before")
    node.kept = "changed before"
    raise ValueError("no solution")


def raise_picky(node: Any) -> None:
    raise Picky(1, 2)


def leave(node: Any) -> None:
    raise SystemExit(7)


def keep_a_lock(node: Any) -> None:
    node.send("out", "was sent")
    node.kept = {"deep": [threading.Lock()]}


def return_a_lock(node: Any) -> Any:
    return threading.Lock()


def send_a_lock(node: Any) -> None:
    node.send("out", {"lock": threading.Lock()})


def read_what_is_not_declared(node: Any) -> None:
    node.recv("elsewhere")


def latest_of_what_is_not_declared(node: Any) -> None:
    node.latest("elsewhere")


def start_a_task(node: Any) -> None:
    node.start_soon(look_around)


def await_something(node: Any) -> None:
    node.recv_async("in")


def send_the_wrong_type(node: Any) -> None:
    node.send("typed", 1)
    node.send("typed", "one")
    node.send("typed", 3)


def stop_the_run(node: Any) -> None:
    node.request_stop("enough")


def call_an_emergency(node: Any) -> None:
    node.send("out", "too dangerous")
    node.emergency_stop("too close")


def hold_the_interpreter(node: Any) -> tuple[float, float]:
    """What C code may do: nobody else runs in this interpreter. From when to when."""
    libc = ctypes.PyDLL(None)
    began = time.perf_counter()
    libc.usleep(500_000)
    return began, time.perf_counter()


def burn(node: Any) -> float:
    """Some pure Python."""
    total = 0.0
    for number in range(2_500_000):
        total += number * 0.5
    return total


class Cyclic(horus.Node):
    """Refers to itself in several ways."""

    thread = "process"

    def __init__(self) -> None:
        super().__init__("cyclic")
        self.me = self
        self.steps = {"first": self.step}
        self.count = 0

    def step(self) -> None:
        self.count += 1

    def tick(self) -> int:
        self.steps["first"]()
        self.me.step()
        return self.count


class Slotted(horus.Node):
    """Has a state of its own making."""

    __slots__ = ("slot",)
    thread = "process"

    def __init__(self) -> None:
        super().__init__("slotted")
        self.slot = 1
        self.lock = threading.Lock()
        self.restored = False

    def __getstate__(self) -> object:
        return {"slot": self.slot, "restored": self.restored}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.slot = state["slot"]
        self.restored = True
        self.lock = threading.Lock()

    def tick(self) -> int:
        with self.lock:
            self.slot += 1
        return self.slot


class SlowToPack(horus.Node):
    """Hangs while it is pickled, when it is told to."""

    thread = "process"

    def __init__(self, gate: threading.Event) -> None:
        super().__init__("slow")
        self.gate = gate
        self.hangs = False

    def __getstate__(self) -> object:
        if self.hangs:
            self.gate.wait(20)
        return {"hangs": False}

    def tick(self) -> None:
        pass


class SlowToRebuild(horus.Node):
    """Takes for ever to arrive."""

    thread = "process"

    def __setstate__(self, state: object) -> None:
        time.sleep(60)

    def tick(self) -> None:
        pass


class Mine(Exception):
    """Comes back as something else."""

    def __reduce__(self) -> Any:
        return str, ("no error",)


def raise_mine(node: Any) -> None:
    raise Mine("so it is")


def drain_all(node: Any) -> list[Any]:
    messages: list[Any] = node.recv_all("in")
    return messages


class Unusual(horus.Node):
    """Has a state that is no dict."""

    thread = "process"

    def __getstate__(self) -> object:
        return [1, 2]

    def tick(self) -> None:
        pass


class Twice:
    """A message that a worker process cannot rebuild."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise LookupError("not here")
