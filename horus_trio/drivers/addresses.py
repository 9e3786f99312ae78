"""Hosts and ports: what they may be, what they are called, and what to do if they cannot be had."""

from __future__ import annotations

import errno
import socket
from typing import TypeAlias

import trio

from ..arguments import is_whole
from ..errors import ConfigurationError
from .errors import ConnectFailed

__all__ = ["Address", "address_of", "checked", "connect_failed", "host_and_port", "resolve"]

Address: TypeAlias = tuple[str, int]
"""A host, by name or number, and a port."""

HIGHEST_PORT = 65535


def checked(what: str, host: object, port: object, *, lowest_port: int = 1) -> Address:
    """Host and port, if they are such.

    Raises:
        ConfigurationError: They are not.
    """
    if not isinstance(host, str) or not host:
        raise ConfigurationError(
            f'{what}: host={host!r}, expected a name or an address, such as "192.168.0.7"; all '
            'addresses of this machine are "0.0.0.0" or "::"'
        )
    if not is_whole(port, lowest_port, HIGHEST_PORT):
        free = "; 0 takes one that is free" if lowest_port == 0 else ""
        raise ConfigurationError(
            f"{what}: port={port!r}, expected a whole number from {lowest_port} to "
            f"{HIGHEST_PORT}{free}"
        )
    return host, port


def host_and_port(address: Address) -> str:
    """As it is written, such as ``192.168.0.7:5025`` or ``[::1]:5025``."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_of(name: tuple[object, ...]) -> Address:
    """The address in what the operating system calls a socket's name."""
    return str(name[0]), int(str(name[1]))


async def resolve(
    host: str, port: int, kind: socket.SocketKind, *, family: int = socket.AF_UNSPEC
) -> tuple[int, tuple[object, ...]]:
    """Family and address of a host, the first; IPv4 if it has both. A checkpoint.

    Raises:
        OSError: It has none.
    """
    found = await trio.socket.getaddrinfo(host, port, family=family, type=kind)
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    return found[0][0], found[0][4]


def connect_failed(name: str, where: str, error: OSError) -> ConnectFailed:
    """The error to raise `from` that one, with what to do."""
    cause = _innermost(error)
    remedy = _REMEDIES.get(cause.errno or 0)
    if isinstance(cause, socket.gaierror):
        text = f"{where} cannot be resolved"
        remedy = "check the name and the network, or give the address in numbers"
    elif isinstance(cause, TimeoutError):
        text = "it has not answered"
        remedy = "see whether it is switched on, in this network, and behind no firewall"
    else:
        text = ""
    said = cause.strerror or str(cause)
    text = f"{text} ({said})" if text and said else text or said
    return ConnectFailed(f"{name} cannot be opened: {text}{f'; {remedy}' if remedy else ''}")


_REMEDIES = {
    errno.ECONNREFUSED: "nothing listens there: start what should, or check the port",
    errno.EADDRINUSE: "another program has this port (`ss -anp` says which): end it, or take "
    "another port",
    errno.EADDRNOTAVAIL: "this machine has no such address (`ip addr` lists those it has)",
    errno.EACCES: "this user may not use that address: ports below 1024 are for root",
    errno.ENETUNREACH: "no route leads there: check the network, and the address",
    errno.EHOSTUNREACH: "no route leads there: check the network, and the address",
}


def _innermost(error: OSError) -> OSError:
    """What the operating system said, out of what Trio makes of several attempts."""
    cause = error.__cause__
    if isinstance(cause, ExceptionGroup):
        for inner in cause.exceptions:
            if isinstance(inner, OSError):
                return inner
    return error
