"""Libraries of asyncio's in an `AsyncioNode`, in real time against real servers."""

from __future__ import annotations

import asyncio
import asyncio.subprocess
import concurrent.futures
import importlib.util
import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from helpers.postgres_server import PostgresServer, binaries, running_server

import horus_trio as horus
from horus_trio import TickStatus
from horus_trio.bridges import AsyncioNode


async def results_of(node: AsyncioNode, count: int = 1, **options: Any) -> list[horus.AsyncResult]:
    """The first results of a node that runs on its own."""
    options.setdefault("failure_policy", horus.Ignore())
    options.setdefault("tick_timeout", 10.0)
    async with horus.open_executor() as executor:
        await executor.spawn_node(node, **options)
        found: list[horus.AsyncResult] = []
        with trio.fail_after(20):
            for _ in range(count):
                executor.tick(node)
                found.append(await executor.results.receive())
    return found


async def value_of(node: AsyncioNode, **options: Any) -> Any:
    [result] = await results_of(node, **options)
    return result.outcome.unwrap()


# aiohttp


async def test_aiohttp_serves_and_asks() -> None:
    aiohttp = pytest.importorskip("aiohttp")
    from aiohttp import web

    class Server(AsyncioNode):
        async def answer(self, request: Any) -> Any:
            return web.json_response({"path": request.path, "pose": self.latest("pose")})

        async def chat(self, request: Any) -> Any:
            chat = web.WebSocketResponse()
            await chat.prepare(request)
            async for message in chat:
                await chat.send_str(message.data.upper())
            return chat

        async def init(self) -> None:
            app = web.Application()
            app.router.add_get("/pose", self.answer)
            app.router.add_get("/chat", self.chat)
            self.runner = web.AppRunner(app)
            await self.runner.setup()
            site = web.TCPSite(self.runner, "127.0.0.1", 0)
            await site.start()
            self.port = self.runner.addresses[0][1]

        async def tick(self) -> None:
            self.send("pose", [1, 2, 3])

        async def shutdown(self) -> None:
            await self.runner.cleanup()

    class Client(AsyncioNode):
        async def init(self) -> None:
            self.session = aiohttp.ClientSession()

        async def tick(self) -> Any:
            base = f"http://127.0.0.1:{web_server.port}"
            async with self.session.get(f"{base}/pose") as response:
                body = await response.json()
            async with self.session.ws_connect(f"{base}/chat") as chat:
                await chat.send_str("hello")
                answer = await chat.receive_str()
            return body, answer

        async def shutdown(self) -> None:
            await self.session.close()

    web_server, client = Server("server"), Client("client")
    async with horus.open_executor() as executor:
        await executor.spawn_node(web_server)
        await executor.spawn_node(client, tick_timeout=10.0)
        executor.tick(web_server)
        with trio.fail_after(20):
            await executor.results.receive()
            for _ in range(3):
                executor.tick(client)
                result = await executor.results.receive()
                body, answer = result.outcome.unwrap()
                assert body == {"path": "/pose", "pose": [1, 2, 3]}
                assert answer == "HELLO"


async def test_a_request_that_hangs_is_cancelled_by_the_time_limit() -> None:
    aiohttp = pytest.importorskip("aiohttp")
    silent = socket.create_server(("127.0.0.1", 0))  # takes connections and says nothing

    class Client(AsyncioNode):
        async def init(self) -> None:
            self.session = aiohttp.ClientSession()

        async def tick(self) -> None:
            async with self.session.get(f"http://127.0.0.1:{silent.getsockname()[1]}/"):
                pass

        async def shutdown(self) -> None:
            await self.session.close()

    with silent:
        results = await results_of(Client("client"), 2, tick_timeout=0.2)
    assert [result.status for result in results] == [TickStatus.TIMED_OUT] * 2
    assert all(result.duration < 2 for result in results)


# asyncpg


@pytest.fixture(scope="module")
def server(require: Callable[[str, bool, str], None]) -> Iterator[PostgresServer]:
    """One that runs through all the tests."""
    require("asyncpg", importlib.util.find_spec("asyncpg") is not None, "pip install asyncpg")
    require("PostgreSQL", binaries() is not None, "apt install postgresql")
    with running_server() as server:
        yield server


@pytest.mark.slow
async def test_asyncpg_queries_and_is_cancelled(server: PostgresServer) -> None:
    import asyncpg  # type: ignore[import-untyped]

    class Database(AsyncioNode):
        async def init(self) -> None:
            for _ in range(200):
                try:
                    self.pool = await asyncpg.create_pool(
                        host=str(server.folder),
                        user="robot",
                        database="postgres",
                        min_size=1,
                        max_size=2,
                    )
                except (OSError, asyncpg.CannotConnectNowError):
                    await asyncio.sleep(0.05)
                else:
                    break

        async def tick(self) -> Any:
            async with self.pool.acquire() as connection, connection.transaction():
                await connection.execute("CREATE TEMP TABLE t(n int) ON COMMIT DROP")
                await connection.executemany("INSERT INTO t VALUES ($1)", [(n,) for n in range(5)])
                rows = await connection.fetch("SELECT n FROM t ORDER BY n")
            try:
                async with asyncio.timeout(0.1):
                    await self.pool.execute("SELECT pg_sleep(100)")
            except TimeoutError:
                return [row["n"] for row in rows], await self.pool.fetchval("SELECT 1 + 1")

        async def shutdown(self) -> None:
            await self.pool.close()

    assert await value_of(Database("database"), init_timeout=20.0) == ([0, 1, 2, 3, 4], 2)


# asyncio itself


async def test_streams_and_datagrams() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(100_000))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    class Datagrams(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.received: asyncio.Queue[bytes] = asyncio.Queue()

        def datagram_received(self, data: bytes, address: Any) -> None:
            self.received.put_nowait(data)

    class Streams(AsyncioNode):
        async def tick(self) -> Any:
            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            async with server:
                port = server.sockets[0].getsockname()[1]
                reader, writer = await asyncio.open_connection("localhost", port)  # by getaddrinfo
                writer.write(bytes(100_000))
                answer = await reader.read(-1)
                writer.close()
                await writer.wait_closed()
            loop = asyncio.get_running_loop()
            receiver, protocol = await loop.create_datagram_endpoint(
                Datagrams, local_addr=("127.0.0.1", 0)
            )
            sender, _ = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=receiver.get_extra_info("sockname")
            )
            sender.sendto(b"ping")
            datagram = await protocol.received.get()
            sender.close()
            receiver.close()
            return len(answer), datagram

    assert await value_of(Streams("streams")) == (100_000, b"ping")


async def test_subprocesses() -> None:
    class Children(AsyncioNode):
        async def tick(self) -> Any:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                "print(input()[::-1])",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await child.communicate(b"abc\n")
            sleeper = await asyncio.create_subprocess_exec("sleep", "1000")
            sleeper.kill()
            return output, child.returncode, await sleeper.wait()

    assert await value_of(Children("children")) == (b"cba\n", 0, -9)


async def test_threads_run_functions_and_a_time_limit_leaves_them_behind() -> None:
    release = threading.Event()

    class Threads(AsyncioNode):
        async def tick(self) -> Any:
            assert self.current_tick is not None
            if self.current_tick.seq > 1:
                await asyncio.to_thread(release.wait, 20)
            loop = asyncio.get_running_loop()
            with concurrent.futures.ThreadPoolExecutor(1, "of my own") as pool:
                mine = await loop.run_in_executor(pool, threading.current_thread)
            theirs = await loop.run_in_executor(None, threading.get_ident)
            return mine.name, theirs == threading.get_ident()

    node = Threads("threads", rate=100, tick_timeout=0.5, failure_policy=horus.Ignore())
    scheduler = horus.Scheduler().add(node)
    results: list[horus.AsyncResult] = []

    def on_result(result: horus.AsyncResult) -> None:
        results.append(result)
        if len(results) == 2:
            scheduler.stop("seen")

    scheduler.on_result(on_result)
    try:
        report = await scheduler.run(20)
    finally:
        release.set()
    assert results[0].value == ("of my own_0", False)
    assert results[1].status is TickStatus.TIMED_OUT
    assert results[1].duration < 5
    said = "\n".join(report.hook_errors)
    assert re.search(r"[12] thread\(s\) of node 'threads' were left behind", said)


async def test_a_file_is_watched(tmp_path: Path) -> None:
    class Pipe(AsyncioNode):
        async def tick(self) -> Any:
            loop = asyncio.get_running_loop()
            source, sink = os.pipe()
            future = loop.create_future()
            loop.add_reader(source, lambda: future.set_result(os.read(source, 10)))
            os.write(sink, b"data")
            try:
                return await future
            finally:
                loop.remove_reader(source)
                os.close(source)
                os.close(sink)

    assert await value_of(Pipe("pipe")) == b"data"
