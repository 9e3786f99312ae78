"""HTTP servers: answers, their bodies and headers, and the JSON that is in them."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import encodings
import functools
import gzip
import json
import math
from typing import Any

import pytest
import trio
from fuzzing import cut, damaged, fuzzed, noise, peak, streams
from hypothesis import example
from hypothesis import strategies as st

from horus_trio.drivers import (
    ConnectFailed,
    DeviceGone,
    HttpOptions,
    HttpPoller,
    JsonField,
    JsonSensor,
    ReceiveFailed,
)
from horus_trio.drivers.http.body import Body
from horus_trio.drivers.http.grid import retry_after
from horus_trio.drivers.http.picking import NotThere
from horus_trio.drivers.http.reading import HttpReading
from horus_trio.drivers.http.trouble import BadAnswer

MOST = 1_000

CHARSETS = st.sampled_from(
    [
        "utf-8",
        "latin-1",
        "utf-16",
        "utf-7",
        "idna",
        "punycode",
        "zip",
        "base64",
        "rot13",
        "hex",
        "undefined",
        "unicode_escape",
        "raw_unicode_escape",
        "mbcs",
        "a\x00b",
        "x" * 300,
        '"',
        "cp037",
    ]
) | st.text(max_size=10)


def reading(body: bytes, content_type: str = "") -> HttpReading:
    return HttpReading(
        status=200, body=body, headers={"content-type": content_type}, at=0.0, elapsed=0.0
    )


# Bodies


@fuzzed(
    50,
    data=st.binary(max_size=600).map(gzip.compress)
    | damaged(st.binary(max_size=600).map(gzip.compress))
    | noise(b"\x1f\x8b\x08"),
    encoding=st.sampled_from(["", "gzip", "x-gzip", "identity", "br", "gzip, gzip", "\xe9"]),
    cuts=st.lists(st.integers(0, 1000), max_size=5),
)
def test_a_body_is_whole_or_refused(data: bytes, encoding: str, cuts: list[int]) -> None:
    try:
        body = Body(encoding, MOST)
        for piece in cut(data, cuts):
            body.feed(piece)
            assert len(body._data) <= MOST
        whole = body.whole()
    except BadAnswer:
        return
    assert body.came == len(data)
    assert len(whole) <= MOST


@pytest.mark.parametrize("archives", [1, 500])
def test_a_bomb_is_not_unpacked(archives: int) -> None:
    bomb = gzip.compress(bytes(20_000_000 // archives), mtime=0) * archives

    def unpack() -> None:
        body = Body("gzip", 100_000)
        with pytest.raises(BadAnswer, match="more than max_bytes"):
            body.feed(bomb)

    assert peak(unpack) < 1_000_000


# What it says


@fuzzed(50, body=st.binary(max_size=60), charset=CHARSETS, quoted=st.booleans())
def test_text_is_text_in_any_charset(body: bytes, charset: str, quoted: bool) -> None:
    said = f'"{charset}"' if quoted else charset
    assert isinstance(reading(body, f"text/plain; charset={said}").text, str)


@pytest.mark.parametrize("charset", ["punycode", "idna", "undefined", "unicode_escape", "zip", "x"])
def test_what_is_no_charset_is_not_looked_for(charset: str) -> None:
    """To decode Punycode takes the square of the length; and Python keeps all names."""
    known = len(encodings._cache)
    body = b'{"a": 1}' + b" " * 1_000_000
    said = reading(body, f"application/json; charset={charset}")
    assert said.text == body.decode()
    assert SENSORS[0]._give(said) == {"a": 1}
    assert len(encodings._cache) == known


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("ISO-8859-1", "é"),
        ("windows-1252", "€"),
        ("UTF-16", "é"),
        ("shift_jis", "か"),
        ("koi8-r", "ж"),
    ],
)
def test_what_is_a_charset_is_decoded(charset: str, text: str) -> None:
    assert reading(text.encode(charset), f"text/plain; charset={charset}").text == text


DATES = st.sampled_from(
    [
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 01 Jan 2024 00:00:00 -0000",
        "Mon, 01 Jan 2024 00:00:00 +9999",
        "Mon, 32 Jan 2024 25:61:61 GMT",
        "Mon, 01 Jan 99999999999 00:00:00 GMT",
        "1 Jan 24",
        "9" * 400,
        "\u0662",
        "-1",
        "1e9",
        "nan",
        "",
    ]
)


@fuzzed(60, value=DATES | st.text(max_size=30), date=st.none() | DATES | st.text(max_size=30))
@example(value="Mon, 01 Jan 0001 00:00:00 +2359", date="Fri, 31 Dec 9999 23:59:59 -2359")
def test_any_time_to_wait_is_a_number(value: str, date: str | None) -> None:
    now = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    seconds = retry_after(value, date, now)
    assert seconds >= 0.0


# JSON

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "0", "", "\ud800", "a.b"]), inner, max_size=3)
    ),
    max_leaves=8,
)
BODIES = (
    DOCUMENTS.map(lambda value: json.dumps(value).encode())
    | damaged(DOCUMENTS.map(lambda value: json.dumps(value).encode()))
    | noise(b"{", b"}", b"[", b'"', b"\\u", b"1e999", b"NaN", b":", b",")
    | st.sampled_from(
        [
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b'{"a": ' + b"9" * 5_000 + b"}",
            b'{"a": 1e400}',
            b'{"a": -Infinity}',
            b"\xef\xbb\xbf{}",
            b"\xff\xfe{\0}\0",
            b'{"a": "\\ud800"}',
        ]
    )
)


@dataclasses.dataclass
class Weather:
    a: float
    b: int | None = None

    def __post_init__(self) -> None:
        if self.a < 0:
            raise ValueError("negative")


def sensors() -> list[JsonSensor[Any]]:
    kinds = (float, int, str, bool, list, dict, object)
    return [
        JsonSensor("http://127.0.0.1/"),
        JsonSensor("http://127.0.0.1/", into=Weather),
        *(JsonSensor("http://127.0.0.1/", fields={"x": JsonField("a", kind)}) for kind in kinds),
        JsonSensor("http://127.0.0.1/", fields={"x": JsonField("a.0.b", default=None)}),
        JsonSensor("http://127.0.0.1/", fields={"x": JsonField("a", float, low=0, high=10)}),
        JsonSensor("http://127.0.0.1/", fields={"x": JsonField("a", unit="C", unit_path="b")}),
    ]


SENSORS = sensors()


@fuzzed(80, body=BODIES, charset=st.just("utf-8") | CHARSETS)
def test_values_are_given_or_refused(body: bytes, charset: str) -> None:
    for sensor in SENSORS:
        try:
            sensor._give(reading(body, f"application/json; charset={charset}"))
        except ReceiveFailed as error:
            assert len(str(error)) < 1000


@fuzzed(50, document=DOCUMENTS, low=st.floats(allow_nan=False), allow=st.booleans())
def test_a_number_is_what_was_asked_for(document: Any, low: float, allow: bool) -> None:
    field = JsonField("a", float, low=low, allow_nan=allow)
    try:
        value = field.of({"a": document})
    except NotThere:
        return
    assert isinstance(value, float)
    assert value >= low or (allow and math.isnan(value))


# Whole answers

HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"Content-Length",
                b"Transfer-Encoding",
                b"Content-Encoding",
                b"Content-Type",
                b"Location",
                b"Retry-After",
                b"ETag",
                b"WWW-Authenticate",
                b"Connection",
            ]
        ),
        st.sampled_from(
            [
                b"5",
                b"-5",
                b"99999999999999999999999",
                b"9" * 5000,
                b"chunked",
                b"gzip",
                b"close",
                b"/",
                b"//[",
                b"http://\xff/",
                b"http://[::1",
                b"http://127.0.0.1:99999/",
                b"javascript:x",
                b"text/html; charset=\xe9",
                b'Digest realm="x", nonce="y", qop="auth"',
                b"Digest",
                b"\xe9",
                b"",
            ]
        ),
    ),
    max_size=4,
)
ANSWERS = st.builds(
    lambda status, headers, body: (
        b"HTTP/1.1 %b x\r\n%b\r\n%b"
        % (status, b"".join(b"%b: %b\r\n" % pair for pair in headers), body)
    ),
    st.sampled_from(
        [b"200", b"204", b"206", b"301", b"304", b"401", b"404", b"503", b"999", b"1xx"]
    ),
    HEADERS,
    st.binary(max_size=40) | st.just(b"5\r\nhello\r\n0\r\n\r\n") | st.just(b"ffffffffff\r\nx"),
)


@fuzzed(
    30,
    answers=st.lists(streams(ANSWERS, b"HTTP/1.1 ", b"\r\n", most=2), min_size=1, max_size=3),
    auth=st.booleans(),
)
async def test_a_poll_of_a_server_that_lies(answers: list[bytes], auth: bool) -> None:
    left = list(answers)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.receive_some(4096)
                if left:
                    await stream.send_all(left.pop(0))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(
                functools.partial(trio.serve_tcp, serve, 0, host="127.0.0.1")
            )
            port = listener.socket.getsockname()[1]
            options = HttpOptions(auth=("u", "p")) if auth else None
            poller = HttpPoller(
                f"http://127.0.0.1:{port}/", every=0, max_bytes=MOST, options=options, gone_after=2
            )
            received = failed = 0
            try:
                async with poller:
                    while left:
                        try:
                            await poller.receive()
                        except ReceiveFailed:
                            failed += 1
                        else:
                            received += 1
            except (ConnectFailed, DeviceGone):
                pass
            counted = poller.statistics()
            assert counted.received == received
            assert counted.rejected <= failed
            nursery.cancel_scope.cancel()
