"""Framings work in the interpreter's own methods, and not byte by byte where they need not."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from horus_trio.drivers import (
    Checked,
    Cobs,
    Crc,
    Delimited,
    FixedLength,
    Framing,
    LengthPrefixed,
    Lines,
    Slip,
)

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("untraced")]

CHUNK = 65536
MESSAGE = b"123456789"


def seconds(once: Callable[[], object]) -> float:
    """How long it takes, undisturbed."""

    def lap() -> float:
        begin = time.perf_counter()
        once()
        return time.perf_counter() - begin

    return min(lap() for _ in range(20))


@pytest.mark.parametrize(
    ("framing", "times"),
    [
        (Delimited(b"\n"), 10),
        (Lines(), 20),
        (FixedLength(10), 20),
        (Cobs(), 30),
        (Slip(), 20),
        (LengthPrefixed(1), 100),
        (Checked(Cobs(), crc=Crc.CRC32), 200),
    ],
    ids=repr,
)
def test_a_chunk_of_short_messages_takes_so_many_times_a_split(
    framing: Framing, times: float
) -> None:
    """At most, and several times what it takes; a loop over bytes in Python takes 100 times."""
    lines = (MESSAGE + b"\n") * (CHUNK // 10)
    message = MESSAGE + b"0" if isinstance(framing, FixedLength) else MESSAGE
    stream = framing.encode(message) * (CHUNK // 10)
    assert seconds(lambda: framing.feed(stream)) < times * seconds(lambda: lines.split(b"\n"))
    assert framing.rejected == 0
    assert framing.pending == 0


@pytest.mark.parametrize("framing", [Delimited(b"\r\n"), LengthPrefixed(4, max_frame=1 << 20)])
def test_a_long_message_in_short_pieces_is_not_read_again_for_each(framing: Framing) -> None:
    def once(size: int) -> Callable[[], None]:
        stream = framing.encode(bytes(size))

        def feed() -> None:
            for at in range(0, len(stream), 16):
                framing.feed(stream[at : at + 16])

        return feed

    framing.max_frame = 1 << 20
    assert seconds(once(1 << 17)) < 24 * seconds(once(1 << 14))  # eight times the bytes
