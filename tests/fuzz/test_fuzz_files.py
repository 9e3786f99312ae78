"""Files and inputs: bytes that somebody appends, and levels that somebody writes."""

from __future__ import annotations

import os

import pytest
import trio
from fuzzing import CUTS, cut, damaged, fuzzed, noise, streams
from hypothesis import strategies as st

from horus_trio.drivers import FileTail, Lines, Nmea
from horus_trio.drivers.camera.failures import _of_server
from horus_trio.drivers.files.edges import Levels

SENTENCE = (
    st.text("GPLA01,.", min_size=1, max_size=20)
    .map(str.encode)
    .map(lambda fields: Nmea().encode(fields))
)


@fuzzed(
    25, stream=streams(SENTENCE, b"$", b"*00\r\n", b"\n", b"\0"), cuts=CUTS, lines=st.booleans()
)
async def test_what_is_appended_is_received_or_counted(
    tmp_path_factory: pytest.TempPathFactory, stream: bytes, cuts: list[int], lines: bool
) -> None:
    path = tmp_path_factory.mktemp("tail") / "log"
    path.touch()
    framing = Lines() if lines else Nmea()
    last = framing.encode(b"the last")
    expected = framing.feed(stream + b"\n" + last)
    tail = FileTail(path, framing=Lines() if lines else Nmea(), from_start=True)
    with trio.fail_after(20):
        async with tail:
            found: list[bytes] = []
            with path.open("ab", buffering=0) as file:
                for piece in (*cut(stream, cuts), b"\n", last):
                    file.write(piece)
                    with trio.move_on_after(0):
                        found.append(await tail.receive())
            while len(found) < len(expected):
                found.append(await tail.receive())
            counted = tail.statistics()
    assert found == expected
    assert (counted.rejected, counted.discarded) == (framing.rejected, framing.discarded)
    assert counted.bytes_received == path.stat().st_size


@fuzzed(40, stream=noise(b"0", b"1", b"\n", b" "), cuts=CUTS)
async def test_levels_are_edges_or_counted(stream: bytes, cuts: list[int]) -> None:
    near, far = os.pipe()
    os.set_blocking(near, False)
    source = Levels(near)
    try:
        seen = []
        for piece in cut(stream, cuts):
            os.write(far, piece)
            seen += [one.level for one in source.read_nowait()]
    finally:
        os.close(far)
        source.close()
    assert seen == [byte == ord("1") for byte in stream if byte in b"01"]
    assert source.bytes == len(stream)
    blank = sum(stream.count(byte) for byte in (b" ", b"\t", b"\r", b"\n", b"\0"))
    assert len(seen) + source.discarded + blank == len(stream)


ANSWER = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n",
        b"HTTP/1.1 401 No\r\n\r\n",
        b"RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n",
    ]
)


class Spoken:
    """A connection over which this comes, in pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def sendall(self, data: bytes) -> None:
        """It is heard."""

    def settimeout(self, seconds: float) -> None:
        """It says all it has to say at once."""
        assert seconds > 0

    def recv(self, most: int) -> bytes:
        """The next."""
        return self.pieces.pop(0) if self.pieces else b""


@fuzzed(40, answer=ANSWER | damaged(ANSWER) | noise(b"\r\n", b": ", b"HTTP/1.1 "), cuts=CUTS)
def test_a_camera_server_that_lies_is_described_in_a_line(answer: bytes, cuts: list[int]) -> None:
    for scheme in ("http", "rtsp"):
        spoken = Spoken(cut(answer, cuts))
        said = _of_server(spoken, scheme, "host", f"{scheme}://host/x")  # type: ignore[arg-type]
        assert 0 < len(said) < 500


def test_a_camera_server_that_never_ends_is_not_heard_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece comes in time, and all of them never."""
    now = 0.0

    class Slow(Spoken):
        def recv(self, most: int) -> bytes:
            nonlocal now
            now += 0.5
            return b"x"

    monkeypatch.setattr("time.monotonic", lambda: now)
    assert "does not speak HTTP" in _of_server(Slow([]), "http", "host", "http://host/")  # type: ignore[arg-type]
    assert now <= 3.0
