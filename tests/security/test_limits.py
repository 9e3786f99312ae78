"""What comes from outside takes no more memory than it was allowed to."""

from __future__ import annotations

import gzip
import ssl
import tracemalloc

import pytest
import trio
from drivers.mqtt_peers import make_client, scripted_broker

from horus_trio.drivers.http.body import Body
from horus_trio.drivers.http.network import Network
from horus_trio.drivers.http.trouble import BadAnswer

MIB = 2**20


async def test_a_message_as_large_as_allowed_comes() -> None:
    payload = b"x" * 15_000
    rest = b"\0\x01a\0" + payload
    async with (
        scripted_broker() as scripted,
        make_client(scripted.port, "a", max_message=15_000) as client,
    ):
        await scripted.write(bytes([0x30, len(rest) % 128 | 128, len(rest) // 128]) + rest)
        with trio.fail_after(10):
            assert (await client.receive()).payload == payload


def test_a_small_answer_that_unpacks_to_a_large_one_is_refused_in_time() -> None:
    bomb = gzip.compress(b"\0" * 16 * MIB)
    assert len(bomb) < MIB
    body = Body("gzip", MIB)
    tracemalloc.start()
    try:
        with pytest.raises(BadAnswer, match="more than max_bytes=1048576 bytes"):
            body.feed(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()


async def test_whom_is_trusted_by_default() -> None:
    """Certificates and names of hosts are checked, and no TLS older than 1.2 is spoken."""
    context = await Network(verify=True).trusting()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
