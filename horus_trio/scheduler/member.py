"""A node of a scheduler, between and during runs."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import AlreadyRunning
from ..executor import NodeRunner
from ..health import Ledger, NodeState, NodeStatistics
from ..node import Hooks, Node, NodeOptions, find_hooks, gather_options
from .metronome import Beat

__all__ = ["Member"]


class Member:
    """One node with what the scheduler knows of it.

    Attributes:
        rate: In Hz, or None: it ticks on arrivals only. Live changes go here.
        ledger: Counters of the present or latest run.
        paused: Whether it takes no ticks.
        removing: Whether it leaves for good as soon as it has shut down.
        runner: Its task in the present or latest run.
        beat: Its releases in the present run.
    """

    __slots__ = (
        "beat",
        "factory",
        "ledger",
        "name",
        "node",
        "options",
        "paused",
        "rate",
        "removing",
        "runner",
    )

    def __init__(
        self,
        node: Node,
        name: str,
        options: NodeOptions,
        factory: Callable[[], Node] | None,
        rate: float | None,
    ) -> None:
        self.node: Node = node
        self.name: str = name
        self.options: NodeOptions = options
        self.factory: Callable[[], Node] | None = factory
        self.rate: float | None = rate
        self.ledger: Ledger = Ledger()
        self.paused: bool = False
        self.removing: bool = False
        self.runner: NodeRunner | None = None
        self.beat: Beat | None = None

    def snapshot(self) -> NodeStatistics:
        """Its counters now; any thread."""
        if self.runner is not None:
            return self.runner.statistics(self.rate)
        return self.ledger.snapshot(
            name=self.name,
            state=NodeState.PAUSED if self.paused else NodeState.NEW,
            rate=self.rate,
            critical=self.options.critical,
        )

    def rebuild(self) -> tuple[Node, Hooks]:
        """A fresh instance for a restart, or the same one if there is no factory."""
        if self.factory is not None:
            fresh = self.factory()
            gather_options(fresh, {})  # refuses what is no node
            if fresh._owner is not None and fresh is not self.node:
                raise AlreadyRunning(
                    f"the factory of node {self.name!r} gave {fresh!r}, which is in a scheduler "
                    "already; make a new one at each call"
                )
            owner, self.node._owner = self.node._owner, None
            fresh._owner = owner
            self.node = fresh
        return self.node, find_hooks(self.node)
