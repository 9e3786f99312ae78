"""The contract of drivers, over HTTP: a server that has messages, each of which is to arrive."""

from __future__ import annotations

from typing import Any

import pytest
from drivers.http_peers import MessagePeer, begins_with, open_message_peer

from horus_trio.drivers import HttpPoller, HttpReading, JsonSensor
from horus_trio.testing import check_driver

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("untraced")]

OF_SENDING = {"cancelled send", "back-pressure", "half a message"}


class Bodies(HttpPoller):
    """Readings that are equal if their bodies are: no two have the same times."""

    def _parse(self, reading: HttpReading) -> Any:
        return reading.body


async def test_a_poller_keeps_the_contract() -> None:
    def make(peer: MessagePeer) -> HttpPoller:
        return begins_with(Bodies(peer.url, every=0), peer)

    report = await check_driver(
        make,
        lambda: open_message_peer(ClosingPeer),
        stream_bytes=200_000,
        cycles=200,
        progress=print,
    )
    assert {left.rule for left in report.not_tried} >= OF_SENDING
    assert len(report.tried) >= 18


class ClosingPeer(MessagePeer):
    """Keeps no connection.

    A cancelled `receive` costs its connection, and the sweeps take the next one for a leftover if
    the connection would have been kept without the cancellation.
    """

    connection = "close"


class Weather(ClosingPeer):
    """Puts values where a sensor looks for them."""

    async def send(self, message: Any, /) -> None:
        await super().send({"sensors": [{"n": message["n"]}, None]})


async def test_a_json_sensor_keeps_the_contract() -> None:
    def make(peer: MessagePeer) -> JsonSensor[dict[str, Any]]:
        return begins_with(JsonSensor(peer.url, every=0, fields={"n": "sensors.0.n"}), peer)

    report = await check_driver(
        make,
        lambda: open_message_peer(Weather),
        messages=[{"n": 1}, {"n": 2}, {"n": 3}],
        number=lambda n: {"n": n},
        stream_bytes=100_000,
        cycles=100,
        progress=print,
    )
    assert {left.rule for left in report.not_tried} >= OF_SENDING
    assert len(report.tried) >= 18
