"""`check_driver` with drivers that only receive, and with such that pass over old messages."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import pytest
import trio
from testing.wrong_drivers import Reference, SocketPeer, open_socket_peer

from horus_trio.drivers import DeviceGone, DriverStatistics
from horus_trio.errors import ConfigurationError
from horus_trio.testing import ContractBroken, check_driver
from horus_trio.testing.contracts import contract
from horus_trio.testing.contracts.driver_rules import DRIVER_RULES

SMALL: dict[str, Any] = {"stream_bytes": 100_000, "cycles": 100, "seed": 7}

OF_SENDING = {"cancelled send", "back-pressure", "half a message"}


class Listens(Reference):
    """Only receives."""

    sends: ClassVar[bool] = False

    async def _send(self, message: bytes) -> None:
        raise ConfigurationError("it takes no messages")


class Newest(Listens):
    """Gives out the newest of what has come."""

    lossless: ClassVar[bool] = False
    passed_over = 0

    async def _receive(self) -> bytes:
        message = await super()._receive()
        while self._frames:
            message = self._next(message)
        return message

    def _next(self, message: bytes) -> bytes:
        self.passed_over += 1
        return self._frames.popleft()

    def statistics(self) -> DriverStatistics:
        return dataclasses.replace(super().statistics(), lost=self.passed_over)


class OnlySpeaks:
    """A peer that has no `receive`."""

    def __init__(self, peer: SocketPeer) -> None:
        self.port = peer.port
        self.send, self.write, self.vanish = peer.send, peer.write, peer.vanish


@contextlib.asynccontextmanager
async def opened(kind: Callable[[SocketPeer], Any]) -> AsyncIterator[Any]:
    async with open_socket_peer() as peer:
        yield kind(peer)


@pytest.mark.parametrize("kind", [Listens, Newest])
async def test_it_is_tried_one_way(kind: type[Reference]) -> None:
    report = await check_driver(kind, open_socket_peer, **SMALL)
    assert {left.rule for left in report.not_tried} == OF_SENDING
    assert {left.reason for left in report.not_tried} == {"the driver takes no messages"}
    assert {tried.rule for tried in report.tried} == set(DRIVER_RULES) - OF_SENDING
    texts = {tried.rule: tried.text for tried in report.tried}
    assert texts["every order"] == "27 words of 3 calls, 81 of 4 in one walk"
    assert "before send, for the driver takes no messages" in texts["peer vanishes"]
    if kind is Newest:
        passed, _, rest = texts["numbered stream"].partition(" of them passed over and counted, ")
        assert int(passed.split()[-1]) > 0
        assert int(rest.split()[0]) >= 100
    else:
        assert "sha256" in texts["numbered stream"]


class CountsNothing(Newest):
    def statistics(self) -> DriverStatistics:
        return dataclasses.replace(super().statistics(), lost=0)


class KeepsTheOldest(Newest):
    def _next(self, message: bytes) -> bytes:
        super()._next(message)
        return message


class GoesBack(Newest):
    """Now and then an older one comes after a newer one."""

    late: bytes | None = None

    async def _receive(self) -> bytes:
        if self.late is not None:
            late, self.late = self.late, None
            return late
        return await super()._receive()

    def _next(self, message: bytes) -> bytes:
        self.late = message
        return super()._next(message)


class LosesTheOnlyOne(Newest):
    """What has come is lost if nobody takes it at once."""

    async def _receive(self) -> bytes:
        message = await super()._receive()
        if self.statistics().received == 1:
            message = await super()._receive()
        return message


class IsNeverGone(Newest):
    async def _receive(self) -> bytes:
        try:
            return await super()._receive()
        except DeviceGone:
            await trio.sleep_forever()


@pytest.mark.parametrize(
    ("kind", "rule", "part"),
    [
        (CountsNothing, "bursts", "statistics().lost to count the 2"),
        (KeepsTheOldest, "bursts", "message"),
        (GoesBack, "bursts", "message 2 of the row"),
        (LosesTheOnlyOne, "exchange", "still running"),
        (IsNeverGone, "peer vanishes", "it still waited after 0.5 s"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
async def test_a_wrong_one_breaks_its_rule(
    kind: type[Reference], rule: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "LIMIT", 1.0)
    with pytest.raises(ContractBroken, match=rule) as caught:
        await check_driver(kind, open_socket_peer, **SMALL)
    assert caught.value.rule == rule
    assert part in str(caught.value)


async def test_messages_that_cannot_be_told_apart_are_not_passed_over() -> None:
    class Numbers(Newest):
        async def _receive(self) -> Any:
            return int(await super()._receive())

    class Peer(OnlySpeaks):
        def __init__(self, peer: SocketPeer) -> None:
            super().__init__(peer)
            del self.write
            self.send = self.send_number  # type: ignore[assignment]
            self._send = peer.send

        async def send_number(self, message: int) -> None:
            await self._send(b"%d" % message)

    def open_peer() -> Any:
        return opened(Peer)

    report = await check_driver(Numbers, open_peer, messages=(1, 2, 3), **SMALL)
    assert {left.rule for left in report.not_tried} - OF_SENDING == {
        "bursts",
        "slow peer",
        "one byte at a time",
        "numbered stream",
    }
    assert "number=… is not given" in str(report)
    report = await check_driver(
        Numbers, open_peer, messages=(1, 2, 3), number=lambda number: number, **SMALL
    )
    assert {left.rule for left in report.not_tried} - OF_SENDING == {"one byte at a time"}
