"""`NodeInfo`: what HORUS tells a node about itself, ``node.info`` in its callbacks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ...logs import OffLoopLogger
from .enums import NodeState
from .tally import Tally

__all__ = ["NodeInfo"]


class NodeInfo:
    """A node's name, state, counters and log.

    Arguments:
        name: The node's name.
    """

    __slots__ = ("_custom", "_logger", "_name", "_request_stop", "_since", "_state", "_tally")

    def __init__(self, name: str) -> None:
        self._name = name
        self._tally = Tally()
        self._request_stop: Callable[[], None] | None = None
        self._state = NodeState.UNINITIALIZED
        self._since = time.perf_counter()
        self._custom: dict[str, str] = {}
        self._logger: logging.Logger = OffLoopLogger(logging.getLogger(f"horus_trio.node.{name}"))

    def __repr__(self) -> str:
        return (
            f"NodeInfo(name={self._name!r}, state={self._state.value.capitalize()!r}, "
            f"ticks={self.tick_count()}, errors={self.error_count()})"
        )

    @property
    def name(self) -> str:
        """The node's name."""
        return self._name

    @property
    def state(self) -> NodeState:
        """Where the node is in its life."""
        return self._state

    # Log

    def log_info(self, message: str) -> None:
        """Log for the user's information."""
        self._logger.info("%s", message)

    def log_warning(self, message: str) -> None:
        """Log a warning."""
        self._logger.warning("%s", message)

    def log_error(self, message: str) -> None:
        """Log an error; it counts as one."""
        self._tally.logged_errors += 1
        self._logger.error("%s", message)

    def log_debug(self, message: str) -> None:
        """Log for whoever looks for a mistake."""
        self._logger.debug("%s", message)

    def log_pub(self, topic: str, data_repr: str, ipc_ns: int) -> None:
        """Log that a message was sent."""
        self._logger.debug("sent to %s: %s (%d ns)", topic, data_repr, ipc_ns)

    def log_sub(self, topic: str, data_repr: str, ipc_ns: int) -> None:
        """Log that a message was received."""
        self._logger.debug("received from %s: %s (%d ns)", topic, data_repr, ipc_ns)

    # Counters

    def tick_count(self) -> int:
        """Ticks that have ended."""
        return self._tally.total

    def error_count(self) -> int:
        """Ticks that failed, and errors the node has logged."""
        return self._tally.failed + self._tally.logged_errors

    def successful_ticks(self) -> int:
        """Ticks that raised nothing."""
        return self._tally.succeeded

    def failed_ticks(self) -> int:
        """Ticks that raised."""
        return self._tally.failed

    def avg_tick_duration_ms(self) -> float:
        """How long ticks take on average, in milliseconds."""
        return self._tally.in_milliseconds()["avg_tick_duration_ms"]

    def get_uptime(self) -> float:
        """Seconds since the node was initialised."""
        return time.perf_counter() - self._since

    def get_metrics(self) -> dict[str, float]:
        """All counters by HORUS's names."""
        return {
            "total_ticks": float(self.tick_count()),
            "successful_ticks": float(self.successful_ticks()),
            "failed_ticks": float(self.failed_ticks()),
            "errors_count": float(self.error_count()),
            **self._tally.in_milliseconds(),
        }

    # Custom data

    def set_custom_data(self, key: str, value: str) -> None:
        """Keep a text under a key."""
        self._custom[key] = value

    def get_custom_data(self, key: str) -> str | None:
        """What is kept under a key, or None."""
        return self._custom.get(key)

    def remove_custom_data(self, key: str) -> str | None:
        """Forget what is kept under a key, and return it."""
        return self._custom.pop(key, None)

    def custom_data_keys(self) -> list[str]:
        """The keys under which something is kept."""
        return list(self._custom)

    # Control

    def transition_to_error(self, error_msg: str) -> None:
        """Say that the node is in error, and log why."""
        self._state = NodeState.ERROR
        self.log_error(error_msg)

    def request_stop(self) -> None:
        """Stop the scheduler."""
        if self._request_stop is not None:
            self._request_stop()

    # For the scheduler

    def _attach(self, tally: Tally, request_stop: Callable[[], None]) -> None:
        self._tally = tally
        self._request_stop = request_stop

    def _enter(self, state: NodeState) -> None:
        """The node is now in this state; its uptime begins when it is initialised."""
        self._state = state
        if state is NodeState.INITIALIZING:
            self._since = time.perf_counter()
