"""Nothing listens to anybody but this machine, unless the user names another address."""

from __future__ import annotations

import ast
import inspect
import ipaddress
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from security.test_no_code_from_data import PACKAGE, PROGRAMS, named, tree_of

import horus_trio as horus
from horus_trio.drivers import Lines, TcpServer, Udp

LISTENS = (
    "trio.serve_tcp",
    "trio.open_tcp_listeners",
    "trio.serve_ssl_over_tcp",
    "trio.open_ssl_over_tcp_listeners",
    "asyncio.start_server",
    "socket.create_server",
)
"""Functions that listen at every address if they are not told a host."""

ASYNCIOS = ("asyncio.start_server",)

SERVERS = (
    "http.server.HTTPServer",
    "http.server.ThreadingHTTPServer",
    "socketserver.TCPServer",
    "socketserver.ThreadingTCPServer",
    "socketserver.UDPServer",
)

BINDS = {
    "cli/control/address.py": "a path",
    "drivers/tcp.py": "what the user has named, 127.0.0.1 if nothing",
    "drivers/udp.py": "what the user has named",
    "drivers/can/bus.py": "a bus",
    "drivers/can/socket_link.py": "a bus",
}
"""Where the package itself calls `bind`, and to what."""


def constants(tree: ast.Module) -> dict[str, str]:
    """The texts that a module gives names to."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def is_loopback(host: str) -> bool:
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def listening_calls(path: Path) -> Iterator[tuple[int, str | None]]:
    """The line and the host of each call that listens; None: no host that can be told."""
    if not re.search(r"serve_|listeners|_server|Server|\.bind", path.read_text(encoding="utf-8")):
        return
    tree = tree_of(path)
    texts = constants(tree)
    names = {id(node): name for node, name in named(tree)}

    def text_of(node: ast.expr | None) -> str | None:
        if isinstance(node, ast.Name):
            return texts.get(node.id)
        return str(node.value) if isinstance(node, ast.Constant) and node.value else None

    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = names.get(id(node.func), "")
        parts = node.args
        if (called == "functools.partial" and parts) or (called.endswith(".start") and parts):
            called, parts = names.get(id(parts[0]), ""), parts[1:]
        if called in LISTENS:
            given = [k.value for k in node.keywords if k.arg == "host"]
            if called in ASYNCIOS:  # asyncio's take it by its place, too
                given += parts[1:2]
            yield node.lineno, text_of(given[0] if given else None)
        elif called in SERVERS or (called.endswith(".bind") and parts):
            address = parts[0] if parts else None
            if isinstance(address, ast.Tuple):
                yield node.lineno, text_of(address.elts[0])
            elif called in SERVERS:
                yield node.lineno, None


def test_every_program_listens_to_this_machine_alone() -> None:
    found = {path: list(listening_calls(path)) for path in PROGRAMS}
    for path, calls in found.items():
        for line, host in calls:
            assert host is not None, f"{path}:{line} names no host"
            assert is_loopback(host), f"{path}:{line} listens at {host}"
    some = {path.name for path, calls in found.items() if calls}
    assert {"weather_station.py", "dashboard.py", "supply.py"} <= some


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("import trio\ntrio.serve_tcp(f, 0)", None),
        ("import trio\ntrio.serve_tcp(f, 0, host=None)", None),
        ("import trio\ntrio.serve_tcp(f, 0, host='0.0.0.0')", "0.0.0.0"),
        ("import trio\nHOST = '::1'\nn.start(trio.serve_tcp, f, 0)\n", None),
        ("import trio, functools\nfunctools.partial(trio.serve_tcp, f, 0, host='::')", "::"),
        ("from http.server import HTTPServer\nHTTPServer(('10.0.0.1', 0), H)", "10.0.0.1"),
        ("s.bind(('192.168.0.1', 0))", "192.168.0.1"),
        ("HOST = '127.0.0.1'\ns.bind((HOST, 0))", "127.0.0.1"),
    ],
)
def test_they_would_be_found(text: str, host: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(text)
    assert [found for _, found in listening_calls(path)] == [host]


def test_the_package_binds_where_it_is_known() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if ".bind" not in path.read_text(encoding="utf-8"):
            continue
        for node in ast.walk(tree_of(path)):
            is_bind = isinstance(node, ast.Attribute) and node.attr == "bind"
            if is_bind and "signature" not in ast.unparse(node):
                found.add(path.relative_to(PACKAGE).as_posix())
    assert found <= set(BINDS)


def test_no_argument_is_every_address_by_default() -> None:
    for path in PACKAGE.rglob("*.py"):
        if not re.search(r"""= ["'](0\.0\.0\.0|::|\*)["']""", path.read_text(encoding="utf-8")):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.arguments):
                for default in (*node.defaults, *node.kw_defaults):
                    if isinstance(default, ast.Constant):
                        assert default.value not in ("0.0.0.0", "::", "*"), path


async def test_a_server_without_a_host_is_on_the_loopback() -> None:
    async with TcpServer(framing=Lines()) as server:
        assert is_loopback(server.address[0])
        assert server.address[0] == inspect.signature(TcpServer).parameters["host"].default


@pytest.mark.parametrize("host", ["", None, 0])
def test_no_host_is_not_every_host(host: object) -> None:
    """For the operating system an empty one would be."""
    with pytest.raises(horus.ConfigurationError, match=r'all addresses of this machine are "0\.0'):
        TcpServer(host, 0, framing=Lines())  # type: ignore[arg-type]
    with pytest.raises(horus.ConfigurationError, match=r'all addresses of this machine are "0\.0'):
        Udp(local=(host, 0))  # type: ignore[arg-type]


async def test_who_only_sends_takes_datagrams_from_there_alone() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        for one in (peer, stranger):
            one.bind(("127.0.0.1", 0))
        async with Udp(remote=peer.getsockname()) as udp:
            await udp.send(b"hello")
            _, there = peer.recvfrom(100)
            stranger.sendto(b"forged", there)
            peer.sendto(b"good", there)
            assert await udp.receive() == b"good"
