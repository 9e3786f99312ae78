"""The operations of an `AsyncHelper` by their ids: those that are pending, and results that wait.

Each operation is in here from when it is taken until its result is collected or discarded, and its
id is its own for as long.
"""

from __future__ import annotations

import collections
import threading

from ..errors import ConfigurationError, HorusError, nearest
from .operation import Operation, OperationResult

__all__ = ["Register", "UnknownOperation"]


class UnknownOperation(HorusError, LookupError):
    """No operation of that id is pending, and no result of it waits."""


class Register:
    """Serves one life of one helper; the lock is held, but where a method says otherwise.

    Arguments:
        owner: For messages.
        lock: The helper's.
        bound: How many results may wait; beyond it, the oldest is discarded.

    Attributes:
        pending: Operations that have not ended, by id.
        collected: Results that were handed out.
        discarded: Results that were thrown away.
    """

    def __init__(self, owner: str, lock: threading.Lock, bound: int) -> None:
        self._owner = owner
        self._lock = lock
        self._bound = bound
        self.pending: dict[str, Operation] = {}
        self.collected: int = 0
        self.discarded: int = 0
        self._done: collections.OrderedDict[str, Operation] = collections.OrderedDict()
        self._reserved: set[str] = set()
        self._unwanted: set[Operation] = set()
        self._number = 0

    @property
    def uncollected(self) -> int:
        """How many results wait; any thread, no lock."""
        return len(self._done)

    def name(self, operation: Operation) -> None:
        """See to its having an id that is its own.

        Raises:
            ConfigurationError: The id it has is in use.
        """
        if not operation.id:
            while True:
                self._number += 1
                operation.id = f"#{self._number}"
                if not self._is_taken(operation.id):
                    return
        if self._is_taken(operation.id):
            state = "has a result to be collected" if operation.id in self._done else "is pending"
            raise ConfigurationError(
                f"{self._owner}: operation_id={operation.id!r} {state}; expected an id that is not "
                "in use, or none: then one is made"
            )

    def reserve(self, operation: Operation) -> None:
        """`name` it, and keep the id for it until `release`."""
        self.name(operation)
        self._reserved.add(operation.id)

    def release(self, operation: Operation) -> None:
        """Keep its id no longer than others'; no lock."""
        self._reserved.discard(operation.id)

    def _is_taken(self, operation_id: str) -> bool:
        return (
            operation_id in self.pending
            or operation_id in self._done
            or operation_id in self._reserved
        )

    def enter(self, operation: Operation) -> None:
        """It is pending from now on."""
        self.pending[operation.id] = operation

    def ended(self, operation: Operation) -> None:
        """Keep its result."""
        if operation in self._unwanted:
            self._unwanted.discard(operation)
            self.discarded += 1
        else:
            self._done[operation.id] = operation
            if len(self._done) > self._bound:
                self._done.popitem(last=False)
                self.discarded += 1
        del self.pending[operation.id]  # last: `find` looks here first, and takes no lock

    def disown(self, operation: Operation) -> None:
        """Nobody is to collect its result, now or when it has ended."""
        if operation.status is None:
            self._unwanted.add(operation)
        elif self._done.get(operation.id) is operation:
            del self._done[operation.id]
            self.discarded += 1

    def find(self, operation_id: str) -> Operation:
        """The operation of that id; the lock is not held.

        Raises:
            UnknownOperation: There is none.
        """
        operation = self.pending.get(operation_id) or self._done.get(operation_id)
        if operation is None:
            with self._lock:
                known = (*self.pending, *self._done)[:100]
            raise UnknownOperation(
                f"{self._owner} has no operation {operation_id!r} and no result of it: it was "
                "never submitted, or its result was collected or discarded"
                f"{nearest(operation_id, known)}"
            )
        return operation

    def collect(self, operation: Operation) -> OperationResult:
        """Its result; it is forgotten, unless somebody has seen to that. The lock is not held."""
        with self._lock:
            if self._done.get(operation.id) is operation:
                del self._done[operation.id]
                self.collected += 1
        return operation.result()

    def collect_all(self) -> list[OperationResult]:
        """All results, in the order in which they came; the lock is not held."""
        if not self._done:
            return []
        with self._lock:
            done = list(self._done.values())
            self._done.clear()
            self.collected += len(done)
        return [operation.result() for operation in done]
