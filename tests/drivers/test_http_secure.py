"""`HttpPoller` over TLS, and where answers lead elsewhere."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from drivers.http_peers import Question, Stream, answer, in_turn, open_web_server
from drivers.peers import descriptors
from drivers.steps import raises_soon

from horus_trio.drivers import ConnectFailed, HttpOptions, HttpPoller, ReceiveFailed


@pytest.fixture
def certificate(tmp_path: Path, require: Callable[[str, bool, str], None]) -> Path:
    """A file with the certificate of a device called localhost; its key is beside it."""
    openssl = shutil.which("openssl")
    require("openssl", openssl is not None, "apt install openssl")
    path, key = tmp_path / "device.pem", tmp_path / "device.key"
    subprocess.run(
        f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
        f"-keyout {key} -out {path} -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost".split(),
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture
def context(certificate: Path) -> ssl.SSLContext:
    """What a server of that certificate speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


async def test_a_certificate_that_is_trusted(certificate: Path, context: ssl.SSLContext) -> None:
    numbers = [b"%d" % number for number in range(6)]
    trusting = ssl.create_default_context(cafile=certificate)
    for verify in (certificate, str(certificate), trusting, False):
        answers = in_turn(answer(200, number) for number in numbers)
        async with open_web_server(answers, context=context) as server:
            options = HttpOptions(verify=verify)
            async with HttpPoller(server.url, every=0, options=options) as poller:
                assert [(await poller.receive()).body for _ in numbers] == numbers
            assert server.connections == 1
            assert server.url.startswith("https://localhost:")


async def test_a_certificate_that_is_not_trusted(
    certificate: Path, context: ssl.SSLContext
) -> None:
    async with open_web_server(in_turn([answer(200)]), context=context) as server:
        before = descriptors()
        error = await raises_soon(ConnectFailed, HttpPoller(server.url).open)
        assert "cannot be trusted: " in str(error)
        assert "HttpOptions(verify=…) the path of the certificate" in str(error)
        assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
        other = server.url.replace("localhost", "127.0.0.1")
        options = HttpOptions(verify=certificate)
        error = await raises_soon(ConnectFailed, HttpPoller(other, options=options).open)
        assert "127.0.0.1" in str(error)
        assert "ask it by the name that is in it" in str(error)
        assert server.questions == []
        await trio.sleep(0.02)
        assert descriptors() <= before


async def test_tls_where_there_is_none_and_the_other_way_round(context: ssl.SSLContext) -> None:
    async with open_web_server(in_turn([])) as server:
        where = server.url.replace("http://", "https://")
        error = await raises_soon(ConnectFailed, HttpPoller(where, answer_within=0.3).open)
    assert "check that it is https: at this port" in str(error) or "not answered" in str(error)
    async with open_web_server(in_turn([]), context=context) as server:
        where = server.url.replace("https://", "http://")
        error = await raises_soon(ConnectFailed, HttpPoller(where, answer_within=0.3).open)
    assert "cannot be opened: it " in str(error)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS as it should"),
        (b"", "has broken the connection off while it was being encrypted"),
    ],
)
async def test_a_handshake_that_is_refused(said: bytes, told: str) -> None:
    async def refuse(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        if said:
            await stream.send_all(said)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, refuse, [listener])
        url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}/"
        error = await raises_soon(ConnectFailed, HttpPoller(url).open)
        assert told in str(error)
        assert "check that it is https: at this port" in str(error)
        nursery.cancel_scope.cancel()


async def test_what_is_to_be_trusted_cannot_be_read(
    tmp_path: Path, context: ssl.SSLContext
) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    async with open_web_server(in_turn([]), context=context) as server:
        for name in ("empty.pem", "none.pem"):
            options = HttpOptions(verify=tmp_path / name)
            error = await raises_soon(ConnectFailed, HttpPoller(server.url, options=options).open)
            assert f"{name}' has no certificates that can be read" in str(error)


async def test_a_handshake_that_is_cancelled_leaves_nothing() -> None:
    """A server that accepts and never shakes hands."""
    async with open_tcp_that_waits() as port:
        before = descriptors()
        options = HttpOptions(verify=False)
        poller = HttpPoller(f"https://127.0.0.1:{port}/", answer_within=0.5, options=options)
        error = await raises_soon(ConnectFailed, poller.open)
        assert "has accepted the connection, and has not answered within 0.5 s" in str(error)
        for _ in range(3):
            with trio.move_on_after(0.05):
                await poller.open()
        assert descriptors() - before <= 4  # the ends of the server


async def test_a_receive_that_is_cancelled_in_a_handshake_leaves_no_socket(
    certificate: Path, context: ssl.SSLContext
) -> None:
    connections: list[trio.SocketStream] = []

    async def shake_hands_once(stream: trio.SocketStream) -> None:
        connections.append(stream)
        if len(connections) == 1:
            secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            await secure.receive_some()
            await secure.send_all(answer(200, b"once", connection="close"))
            await secure.aclose()
        else:
            with contextlib.suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, shake_hands_once, [listener])
        url = f"https://localhost:{listener.socket.getsockname()[1]}/"
        options = HttpOptions(verify=certificate)
        async with HttpPoller(url, every=0, options=options) as poller:
            assert (await poller.receive()).body == b"once"
            await trio.sleep(0.02)
            before = descriptors()
            for _ in range(5):
                known = len(connections)
                async with trio.open_nursery() as cancelled:
                    cancelled.start_soon(poller.receive)
                    while len(connections) == known:
                        await trio.testing.wait_all_tasks_blocked(0.005)
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    cancelled.cancel_scope.cancel()
            await trio.sleep(0.02)
            assert descriptors() <= before
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def open_tcp_that_waits() -> AsyncIterator[int]:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def wait(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, wait, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


# Redirects


async def test_it_goes_where_the_same_server_leads() -> None:
    async def lead(question: Question, stream: Stream) -> bytes | None:
        match question.target:
            case "/value":
                return answer(302, Location="/second?x=1")
            case "/second?x=1":
                return answer(308, Location=f"http://127.0.0.1:{server.port}/third")
            case _:
                return answer(200, b"here", ETag='"1"')

    options = HttpOptions(auth=("me", "secret"))
    async with (
        open_web_server(lead) as server,
        HttpPoller(server.url, every=0, options=options) as poller,
    ):
        assert (await poller.receive()).body == b"here"
        await poller.receive()
        assert poller.counts.questions == 6
    assert [question.target for question in server.questions[3:]] == [
        "/value",
        "/second?x=1",
        "/third",
    ]
    assert {question.headers["authorization"] for question in server.questions} == {
        "Basic bWU6c2VjcmV0"
    }
    assert server.questions[-1].headers["if-none-match"] == '"1"'
    assert server.connections == 1


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("http://127.0.0.2/x?token=SECRET", "leads to another server, http://127.0.0.2/x: "),
        ("//localhost/x%0ay", "leads to another server, http://localhost/x%0ay"),
        ("//localhost/x", "leads to another server, http://localhost/x"),
        ("http://127.0.0.1:1/", "leads to another server, http://127.0.0.1:1/"),
        ("ftp://127.0.0.1/", "leads to another server, ftp://127.0.0.1/"),
        ("http://host:x/", "leads to what is no URL"),
        ("/value", "leads in a circle, or further than 5 times"),
    ],
)
async def test_it_goes_nowhere_else(where: str, said: str) -> None:
    async def lead(question: Question, stream: Stream) -> bytes | None:
        return answer(301, Location=where)

    async with open_web_server(lead) as server:
        error = await raises_soon(ConnectFailed, HttpPoller(server.url).open)
        assert said in str(error)
        assert "SECRET" not in str(error)
        assert len(server.questions) == (6 if where == "/value" else 1)

    async with (
        open_web_server(in_turn([answer(200)])) as server,
        HttpPoller(server.url, every=0) as poller,
    ):
        await poller.receive()
        server.handler = lead
        assert said in str(await raises_soon(ReceiveFailed, poller.receive))


async def test_it_goes_from_http_to_https(certificate: Path, context: ssl.SSLContext) -> None:
    async with open_web_server(in_turn([answer(200, b"safe")] * 2), context=context) as safe:
        answers = in_turn([answer(301, Location=safe.url)] * 2)
        async with open_web_server(answers) as server:
            where = server.url.replace("127.0.0.1", "localhost")
            options = HttpOptions(verify=certificate, headers={"X-Key": "k"})
            async with HttpPoller(where, every=0, options=options) as poller:
                for _ in range(2):
                    assert (await poller.receive()).body == b"safe"
        assert safe.questions[0].headers["x-key"] == "k"
        assert safe.questions[0].headers["host"] == f"localhost:{safe.port}"
    down = in_turn([answer(301, Location="http://localhost:1/")])
    async with open_web_server(down, context=context) as server:
        options = HttpOptions(verify=certificate)
        error = await raises_soon(ConnectFailed, HttpPoller(server.url, options=options).open)
        assert "leads to another server, http://localhost:1/" in str(error)
