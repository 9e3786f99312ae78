"""The program one writes first: all nodes called one after the other, in one loop.

It runs in a thread of its own for a bounded time. Where a device hangs for good, so does the loop;
shutting that device down from outside frees it, so no thread is left behind.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import horus_trio as horus

from .world import WorldError

__all__ = ["NaiveLoop", "NaiveOutcome"]

STUCK_AFTER = 1.2
"""Seconds in one call after which it counts as hung: longer than any device here that answers."""

FREED_WITHIN = 2.0
"""Seconds a hung call may take to return once its node was shut down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NaiveOutcome:
    """How the loop fared.

    Attributes:
        seconds: How long it ran until its end, or until it hung.
        rounds: How often it called all nodes, so the ticks of each of them.
        failures: Calls that raised; the loop caught that and went on.
        stuck_in: The call that never came back, such as ``Sonar.tick``, or None.
    """

    seconds: float
    rounds: int
    failures: int
    stuck_in: str | None

    @property
    def rate(self) -> float:
        """Rounds a second while it ran, in Hz."""
        return self.rounds / self.seconds if self.seconds > 0 else 0.0


class NaiveLoop:
    """Calls ``init``, then ``tick`` again and again, then ``shutdown`` of all nodes in turn.

    Arguments:
        nodes: Nodes that are in no run; they can be added to a scheduler afterwards.
    """

    def __init__(self, nodes: Sequence[horus.Node]) -> None:
        self._nodes = nodes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="naive loop", daemon=True)
        self._rounds = 0
        self._failures = 0
        self._call: tuple[horus.Node, str, float] | None = None
        self._freed: horus.Node | None = None

    def run(self, seconds: float) -> NaiveOutcome:
        """Run the loop for a time.

        Raises:
            WorldError: It hung, and nothing freed it, or what was to do so failed.
        """
        topics = horus.Topics()
        for node in self._nodes:
            node.connect(topics)
        start = time.monotonic()
        self._thread.start()
        try:
            self._thread.join(seconds)
        finally:
            self._over.set()
            stuck = self._wait_for_end()
            elapsed = (time.monotonic() if stuck is None else stuck[2]) - start
            outcome = NaiveOutcome(
                seconds=elapsed,
                rounds=self._rounds,
                failures=self._failures,
                stuck_in=None if stuck is None else f"{type(stuck[0]).__name__}.{stuck[1]}",
            )
            if stuck is not None:
                self._free(stuck[0])
            for node in self._nodes:
                node.disconnect()
        return outcome

    def _wait_for_end(self) -> tuple[horus.Node, str, float] | None:
        """Wait until the loop has ended or hangs; returns the call it hangs in."""
        while self._thread.is_alive():
            call = self._call
            if call is not None and time.monotonic() - call[2] > STUCK_AFTER:
                return call
            self._thread.join(0.02)
        return None

    def _free(self, node: horus.Node) -> None:
        self._freed = node
        try:
            node.shutdown()
        except Exception as error:  # a device may be shut down by its own thread alone
            raise WorldError(
                f"the naive loop hangs in {type(node).__name__}, whose shutdown raised {error!r}; "
                "is the machine very busy? Then try again later"
            ) from error
        self._thread.join(FREED_WITHIN)
        if self._thread.is_alive():
            raise WorldError(f"the naive loop still hangs in {type(node).__name__}")

    def _run(self) -> None:
        ready = [node for node in self._nodes if self._survives(node, "init")]
        while not self._over.is_set():
            for node in ready:
                self._survives(node, "tick")
                if self._over.is_set():
                    break
            else:
                self._rounds += 1
        for node in reversed(ready):
            if node is not self._freed:
                self._survives(node, "shutdown")
        self._call = None

    def _survives(self, node: horus.Node, hook: str) -> bool:
        """Call a hook as careful programs do, catching what it raises."""
        self._call = (node, hook, time.monotonic())
        try:
            getattr(node, hook)()
        except Exception:  # noqa: BLE001 - whatever a node may raise
            self._failures += 1
            return False
        return True
