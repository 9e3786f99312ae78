"""WebSocket servers: their answers to the upgrade, their frames, and what is neither."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import pytest
import trio
from drivers.websocket_peers import HandMade, frame, open_by_hand
from fuzzing import CUTS, counted, cut, fuzzed, peak, streams
from hypothesis import example
from hypothesis import strategies as st

from horus_trio.drivers import (
    ConnectFailed,
    DeviceGone,
    ReceiveFailed,
    WebSocketClient,
    WebSocketClosed,
)
from horus_trio.drivers.websocket.happenings import Closed, Oversized, Ping, Refused, Skipped
from horus_trio.drivers.websocket.protocol import Conversation
from horus_trio.drivers.websocket.request import request_of

LONGEST = 200
REQUEST = request_of("WebSocketClient", "ws://robot/feed", None, ())
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accepted(request: bytes) -> bytes:
    """The answer of a good server."""
    found = re.search(rb"Sec-WebSocket-Key: (\S+)\r\n", request, re.IGNORECASE)
    assert found is not None
    key = base64.b64encode(hashlib.sha1(found[1] + GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + key + b"\r\n\r\n"
    )


def opened() -> Conversation:
    talk = Conversation(REQUEST, LONGEST)
    talk.feed(accepted(talk.request()))
    assert talk.has_answered()
    return talk


# The upgrade

ANSWER = st.builds(
    lambda status, headers, body: (
        b"HTTP/1.1 "
        + status
        + b"\r\n"
        + b"".join(b"%b: %b\r\n" % pair for pair in headers)
        + b"\r\n"
        + body
    ),
    st.sampled_from(
        (
            b"101 Switching Protocols",
            b"100 Continue",
            b"200 OK",
            b"301 x",
            b"404",
            b"999 \xff",
            b"1",
        )
    ),
    st.lists(
        st.tuples(
            st.sampled_from(
                (
                    b"Upgrade",
                    b"Connection",
                    b"Sec-WebSocket-Accept",
                    b"Sec-WebSocket-Protocol",
                    b"Sec-WebSocket-Extensions",
                    b"Content-Length",
                    b"Transfer-Encoding",
                    b"Location",
                    b"X",
                )
            ),
            st.sampled_from(
                (
                    b"websocket",
                    b"Upgrade",
                    b"x",
                    b"permessage-deflate",
                    b"5",
                    b"-1",
                    b"chunked",
                    b"\xe9",
                )
            ),
        ),
        max_size=5,
    ),
    st.binary(max_size=50) | st.just(b"5\r\nhello\r\n0\r\n\r\n"),
)


@fuzzed(60, answer=streams(ANSWER, b"HTTP/1.1 ", b"\r\n", b"\n\n", b": ", most=3), cuts=CUTS)
def test_an_answer_is_an_agreement_or_a_refusal(answer: bytes, cuts: list[int]) -> None:
    talk = Conversation(REQUEST, LONGEST)
    talk.request()
    try:
        for piece in cut(answer, cuts):
            talk.feed(piece)
            if talk.has_answered():
                break
    except Refused as error:
        assert "no WebSocket server" in str(error)
        return
    refusal = talk.refusal()
    assert refusal is None or refusal.startswith("the server answers")
    assert len(talk._words) <= len(answer)


@pytest.mark.parametrize("token", [b"X: y\r\n", b"x"], ids=["headers", "a header"])
def test_an_answer_without_an_end_is_refused(token: bytes) -> None:
    talk = Conversation(REQUEST, LONGEST)
    talk.request()
    talk.feed(b"HTTP/1.1 101 x\r\n")

    def flood() -> None:
        with pytest.raises(Refused):
            while True:
                talk.feed(token * 40)
                assert not talk.has_answered()

    assert peak(flood) < 1_000_000


# Frames

FRAMES = st.builds(
    lambda payload, opcode, last: frame(payload, opcode, last=last),
    st.binary(max_size=250) | st.sampled_from((b"\x03\xe8", b"\x03\xed", b"\x00", b"\x03\xe8\xff")),
    st.sampled_from((0, 1, 2, 1, 2, 3, 8, 9, 10, 15)),
    st.booleans(),
)
TOKENS = (
    b"\x81\x7f" + b"\xff" * 8,
    b"\x82\x7f\x7f" + b"\xff" * 7,
    b"\x81\x7e\x00\x01x",
    b"\x89\x7e\x00\x80",
    b"\xc1\x00",
    b"\x81\x80abcd",
    b"\x81\x02\xc3\x28",
    b"\x01\x01\xc3\x80\x01\xa9",
    b"\x88\x00",
    b"\x88\x02\x03\xe8",
    b"\x88\x01\x03",
)


def happenings(talk: Conversation, pieces: list[bytes]) -> tuple[list[Any], bool]:
    """What came of the bytes, as the driver asks for it; and whether that was the end."""
    found: list[Any] = []
    for piece in pieces:
        talk.feed(piece)
        while (happening := talk.next()) is not None:
            found.append(happening)
            if isinstance(happening, Ping):
                talk.pong(happening.payload)
            if isinstance(happening, Closed):
                talk.close(happening.code)
                return found, True
    return found, False


@fuzzed(60, stream=streams(FRAMES, *TOKENS), cuts=CUTS)
def test_frames_are_messages_or_counted_or_the_end(stream: bytes, cuts: list[int]) -> None:
    found, has_ended = happenings(opened(), cut(stream, cuts))
    expected, ends = happenings(opened(), [stream])

    def messages(happened: list[Any]) -> list[str | bytes]:
        return [one for one in happened if isinstance(one, (str, bytes))]

    assert messages(found) == messages(expected)
    assert has_ended is ends
    for message in messages(found):
        assert len(message.encode() if isinstance(message, str) else message) <= LONGEST
    passed_over = sum(one.size for one in found if isinstance(one, (Oversized, Skipped)))
    assert passed_over <= len(stream)


@fuzzed(40, message=st.text(max_size=60) | st.binary(max_size=60), sizes=CUTS, cuts=CUTS)
def test_a_message_in_any_frames_comes_whole(
    message: str | bytes, sizes: list[int], cuts: list[int]
) -> None:
    data = message.encode() if isinstance(message, str) else message
    opcode = 1 if isinstance(message, str) else 2
    parts = cut(data, sizes) or [b""]
    stream = b"".join(
        frame(part, 0 if number else opcode, last=number == len(parts) - 1)
        + frame(b"?", 9)  # which may stand between them
        for number, part in enumerate(parts)
    )
    talk = opened()
    too_long = frame(bytes(LONGEST + 1), 2)
    found, _ = happenings(talk, cut(too_long + stream, cuts))
    assert [one for one in found if isinstance(one, (str, bytes))] == [message]
    assert sum(isinstance(one, Oversized) for one in found) == 1


@pytest.mark.parametrize(
    "token",
    [
        frame(b"", 0, last=False),
        frame(b"x", 0, last=False),
        frame(b"x", 9),
        frame(b"\xc3\xa9" * 50, 1),
    ],
    ids=["nothing", "a byte", "a ping", "text"],
)
def test_work_and_memory_are_bounded(token: bytes) -> None:
    costs = []
    for count in (200, 800):
        talk = opened()
        happenings(talk, [frame(b"", 2, last=False)] if token[0] < 16 else [])
        with counted() as work:
            happenings(talk, [token] * count)
        costs.append(work.calls)
    assert costs[1] <= 5 * costs[0] + 500
    talk = opened()
    happenings(talk, [frame(b"", 2, last=False)] if token[0] < 16 else [])

    def flood() -> None:
        for _ in range(40):
            talk.feed(token * 50)
            while (happening := talk.next()) is not None:
                assert not isinstance(happening, Closed)

    assert peak(flood) < 300_000


def test_a_huge_frame_is_passed_over_while_it_comes() -> None:
    talk = opened()
    talk.feed(b"\x82\x7f" + (2**40).to_bytes(8, "big"))
    sizes = []

    def flood() -> None:
        for _ in range(100):
            talk.feed(bytes(10_000))
            while (happening := talk.next()) is not None:
                assert isinstance(happening, (Oversized, Skipped)), happening
                sizes.append(happening.size)

    assert peak(flood) < 300_000
    assert sum(sizes) == 1_000_000


# The whole driver


@example(stream=b"\x89\x00\x00\x00", agrees=True)  # a ping, and then no frame at all
@fuzzed(25, stream=streams(FRAMES, *TOKENS), agrees=st.sampled_from((True, True, True, False)))
async def test_a_client_of_a_server_that_lies(stream: bytes, agrees: bool) -> None:
    async def serve(server: HandMade) -> None:
        if agrees:
            await server.agree(stream)
        else:
            await server.read_request()
            await server.stream.send_all(b"HTTP/1.1 101 x\r\n" + stream)
        await server.stream.send_eof()

    with trio.fail_after(20):
        async with open_by_hand(serve) as url:
            client = WebSocketClient(url, max_message=LONGEST, connect_within=5)
            received = failed = 0
            try:
                async with client:
                    while True:
                        try:
                            message = await client.receive()
                        except ReceiveFailed:
                            failed += 1
                        else:
                            received += 1
                            assert len(message) <= LONGEST
            except (ConnectFailed, DeviceGone, WebSocketClosed):
                pass
            counted = client.statistics()
            assert (counted.received, counted.rejected) == (received, failed)
            assert counted.discarded <= len(stream)
