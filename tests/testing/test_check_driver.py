"""`check_driver`: the rules for drivers over a real line; each wrong driver breaks its rule, alone.

The rules that need no more of a peer than `receive` and `send` are in `test_contracts`, too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio
import trio.testing
from testing.wrong_drivers import HOARD, WRONG, Reference, SocketPeer, open_socket_peer

import horus_trio as horus
from horus_trio.drivers import Lines
from horus_trio.testing import ContractBroken, FakeDriver, check_driver
from horus_trio.testing.contracts import contract, driver, driver_pressure, driver_walk
from horus_trio.testing.contracts.driver_rules import DRIVER_RULES, OF_CHANCE, PATIENCE
from horus_trio.testing.contracts.driver_walk import _every_word

SMALL: dict[str, Any] = {"stream_bytes": 100_000, "cycles": 100, "seed": 7}


@pytest.fixture(autouse=True)
def empty_hoard() -> Iterator[None]:
    yield
    while HOARD:
        os.close(HOARD.pop())


@pytest.mark.slow
async def test_the_reference_passes_all_rules() -> None:
    lines: list[str] = []
    report = await check_driver(Reference, open_socket_peer, progress=lines.append, **SMALL)
    assert [tried.rule for tried in report.tried] == list(DRIVER_RULES)
    assert report.not_tried == ()
    assert len(lines) == len(DRIVER_RULES)
    assert str(report).splitlines()[1:] == [f"  {line}" for line in lines]
    assert str(report).startswith("Reference: 22 rules; ")
    assert report.seed == 7
    texts = {tried.rule: tried.text for tried in report.tried}
    assert "256 of 4 in one walk" in texts["every order"]
    assert int(texts["numbered stream"].split(" cancellations")[0].split()[-1]) >= 100
    assert texts["many openings"] == "100 times"
    assert "in send" in texts["peer vanishes"]
    assert "is broken" in texts["half a message"]


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
async def test_the_reference_passes_in_full() -> None:
    report = await check_driver(Reference, open_socket_peer)
    print(report)
    [stream] = [tried for tried in report.tried if tried.rule == "numbered stream"]
    assert stream.text.startswith("10,00")
    assert int(stream.text.split(" cancellations")[0].split()[-1]) >= 5000
    [cycles] = [tried for tried in report.tried if tried.rule == "many openings"]
    assert cycles.text == "10,000 times"


@pytest.mark.parametrize(
    "others", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["alone", "and no other"]
)
@pytest.mark.parametrize("kind", WRONG, ids=lambda kind: kind.__name__)
async def test_a_wrong_driver_breaks_its_rule(
    kind: type[Reference], others: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "LIMIT", 1.0)
    monkeypatch.setattr(contract, "GRACE", 0.05)
    monkeypatch.setattr(driver_pressure, "MOST", 4_000_000)
    monkeypatch.setattr(driver_pressure, "ROUNDS", 4)
    monkeypatch.setattr(driver_walk, "AGAIN", 2)
    rule, parts = WRONG[kind]
    if not others:
        monkeypatch.setattr(driver, "DRIVER_RULES", {rule: DRIVER_RULES[rule]})
    with pytest.raises(ContractBroken) as caught:
        await check_driver(kind, open_socket_peer, **SMALL)
    assert caught.value.rule == rule, caught.value
    for part in parts:
        assert part in str(caught.value)
    assert ("seed=7" in str(caught.value)) == (rule in OF_CHANCE)


def test_each_rule_has_a_wrong_driver_or_is_one_of_the_simple_ones() -> None:
    rules = list(DRIVER_RULES)
    simple = rules[: rules.index("every order")]
    assert {rule for rule, _ in WRONG.values()} | set(simple) == set(rules)
    assert set(PATIENCE) <= set(rules)
    assert set(rules) >= OF_CHANCE


class PlainPeer:
    """No more than `receive` and `send`."""

    def __init__(self, peer: SocketPeer) -> None:
        self.port = peer.port
        self.receive = peer.receive
        self.send = peer.send


@contextlib.asynccontextmanager
async def open_plain_peer() -> AsyncIterator[PlainPeer]:
    async with open_socket_peer() as peer:
        yield PlainPeer(peer)


async def test_what_a_peer_cannot_do_is_reported() -> None:
    def make(peer: PlainPeer) -> Reference:
        return Reference(peer)

    report = await check_driver(make, open_plain_peer, **SMALL)
    assert {left.rule: left.reason for left in report.not_tried} == {
        "one byte at a time": "the peer has no write()",
        "back-pressure": "the peer has no pause_reading()",
        "half a message": "the peer has no pause_reading()",
        "peer vanishes": "the peer has no vanish()",
    }
    assert "18 rules, 4 not tried" in str(report)
    assert "not tried: the peer has no vanish()" in str(report)


# A fake driver, which passes, too


class FakePeer:
    driver: FakeDriver[Any]

    async def receive(self) -> Any:
        return await self.driver.take()

    async def send(self, data: Any) -> None:
        self.driver.feed(data)
        await trio.lowlevel.checkpoint()

    def vanish(self) -> None:
        self.driver.hang_up()

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@contextlib.asynccontextmanager
async def open_fake_peer() -> AsyncIterator[FakePeer]:
    yield FakePeer()


@pytest.mark.slow
@pytest.mark.parametrize("messages", [(b"one", b"two"), (1, None, "three")])
async def test_a_fake_driver_passes(messages: tuple[Any, ...]) -> None:
    def make(peer: FakePeer) -> FakeDriver[Any]:
        peer.driver = FakeDriver(capacity=10)
        return peer.driver

    report = await check_driver(make, open_fake_peer, messages=messages, **SMALL)
    assert [left.rule for left in report.not_tried] == ["one byte at a time"]


@pytest.mark.slow
async def test_a_fake_driver_passes_on_virtual_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def make(peer: FakePeer) -> FakeDriver[Any]:
        peer.driver = FakeDriver(capacity=1, latency=0.01)
        return peer.driver

    await check_driver(make, open_fake_peer, stream_bytes=10_000, cycles=20, seed=7)


# Arguments


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"stream_bytes": 0}, "stream_bytes=0"),
        ({"cycles": 2.5}, "cycles=2.5"),
        ({"number": 7}, "number=7"),
        ({"progress": 7}, "progress=7"),
        ({"encode": b"\n"}, "a framing, or a function"),
    ],
)
async def test_arguments(options: Any, text: str) -> None:
    with pytest.raises(horus.ConfigurationError) as caught:
        await check_driver(Reference, open_socket_peer, **options)
    assert text in str(caught.value)


async def test_messages_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = ("bursts", "one byte at a time", "numbered stream")
    monkeypatch.setattr(driver, "DRIVER_RULES", {name: DRIVER_RULES[name] for name in rules})
    asked: list[int] = []

    def number(n: int) -> bytes:
        asked.append(n)
        return b"%08d" % n

    for encode in (Lines(), lambda message: message + b"\n"):
        report = await check_driver(
            Reference, open_socket_peer, number=number, encode=encode, stream_bytes=10_000, cycles=5
        )
        assert len(report.tried) == 3
    assert max(asked) == 255  # of the burst: 100 are enough for 10 kB


def test_every_word_is_in_the_row() -> None:
    row = "".join(_every_word(("a", "b", "c"), 3))
    assert len({row[i : i + 3] for i in range(len(row) - 2)}) == 27
    assert len(row) == 29
