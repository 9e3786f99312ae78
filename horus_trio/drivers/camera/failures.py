"""Why a source cannot be opened. OpenCV only says that it cannot, so it is looked up afterwards."""

from __future__ import annotations

import base64
import contextlib
import errno
import glob
import grp
import os
import re
import socket
import ssl
import stat
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .source import Source

__all__ = ["unreachable", "why_not"]

PATIENCE = 2.0
"""Seconds that a question to a server may take."""

PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935}

WITHOUT_CONNECTION = frozenset({"udp", "rtp", "srt"})

MOST_BYTES = 16 * 1024
"""Of the beginning of an answer."""

USUAL = "expected a stream that FFmpeg knows, such as MJPEG or H.264"


def why_not(source: Source) -> str:
    """The reason, and what to do. It blocks, for some seconds if it asks a server."""
    if source.kind == "address":
        return _of_address(source)
    return _of_device(source.path) if source.kind == "device" else _of_file(source)


def _of_device(path: str) -> str:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    except FileNotFoundError:
        there = sorted(glob.glob("/dev/video*"))  # noqa: PTH207 - as text
        known = f"there are {', '.join(there[:8])}" if there else "there is no camera at all"
        return f"there is no {path}: plug the camera in, or name another one; {known}"
    except PermissionError:
        group = _group_of(path)
        return (
            f"this user may not use {path}: join the group {group!r}, which owns it "
            f"(sudo usermod -aG {group} $USER), and log in again"
        )
    except OSError as error:
        if error.errno != errno.EBUSY:
            return f"there is no camera behind {path} ({error.strerror})"
    else:
        if not stat.S_ISCHR(Path(path).stat().st_mode):
            return f"{path} is not a device"
    return (
        f"{path} is there and gives no video: another program has the camera (fuser -v {path} "
        "says which), or this is not its video but its second device (v4l2-ctl --list-devices "
        "shows them)"
    )


def _of_file(source: Source) -> str:
    try:
        file = os.open(source.path, os.O_RDONLY | os.O_NONBLOCK)  # it may be a pipe
        try:
            found = os.fstat(file)
        finally:
            os.close(file)
    except FileNotFoundError:
        hint = f"; for a camera by its number, give {source.text} as a number" * (
            source.text.isdecimal()
        )
        return f"there is no such file{hint}: check its path"
    except PermissionError:
        return f"this user may not read it: see `ls -l {source.text}`"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if stat.S_ISDIR(found.st_mode):
        return "it is a folder: expected a video file"
    if stat.S_ISREG(found.st_mode) and not found.st_size:
        return "the file is empty"
    return "it is not a video that OpenCV can read, or it is damaged: see what `ffprobe` says of it"


def unreachable(source: Source, seconds: float) -> str:
    """Why nothing can be had from an address; empty: it can, or that is only known by trying.

    Arguments:
        source: Of any kind.
        seconds: How long it may take. It blocks.
    """
    where = _where(source)
    if where is None:
        return ""
    try:
        socket.create_connection(where, seconds).close()
    except OSError as error:
        return _said(error, *where)
    return ""


def _where(source: Source) -> tuple[str, int] | None:
    """Host and port that a connection leads to; None: there is none, or no connection."""
    if source.kind != "address":
        return None
    parts = urlsplit(str(source.given))
    scheme = parts.scheme.lower()
    port = parts.port or PORTS.get(scheme)
    if parts.hostname is None or port is None or scheme in WITHOUT_CONNECTION:
        return None
    return parts.hostname, port


def _of_address(source: Source) -> str:
    where = _where(source)
    if where is None:
        return f"nothing came that is a video: {USUAL}"
    address = str(source.given)
    scheme = urlsplit(address).scheme.lower()
    try:
        connection = socket.create_connection(where, PATIENCE)
        with _encrypted(connection) if scheme in ("https", "rtsps") else connection as line:
            return _of_server(line, scheme, where[0], address)
    except OSError as error:
        return _said(error, *where)


def _said(error: OSError, host: str, port: int) -> str:
    if isinstance(error, socket.gaierror):
        return (
            f"{host!r} cannot be resolved ({error.strerror}); check the name and the network, or "
            "give the address in numbers"
        )
    if isinstance(error, ConnectionRefusedError):
        return (
            f"nothing listens at port {port} there (Connection refused): start what should, or "
            "check the port"
        )
    if isinstance(error, TimeoutError):
        return (
            "it has not answered; see whether it is switched on, in this network, and behind no "
            "firewall"
        )
    return f"it cannot be reached ({error.strerror or error}): check the network"


def _of_server(connection: socket.socket, scheme: str, host: str, address: str) -> str:
    """What one says that listens."""
    login, _, where = address.partition("://")[2].rpartition("@")
    may_be_told = login and scheme in ("http", "rtsp")
    head = f"Authorization: Basic {_basic(login)}\r\n" if may_be_told else ""
    if scheme in ("http", "https"):
        path = where[where.find("/") :] if "/" in where else "/"
        question = f"GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: */*\r\n{head}\r\n"
    elif scheme in ("rtsp", "rtsps"):
        question = f"DESCRIBE {scheme}://{where} RTSP/1.0\r\nCSeq: 1\r\n{head}\r\n"
    else:
        return f"it answers, and sends no video: {USUAL}"
    try:
        connection.sendall(question.encode("utf-8", "replace"))
        first, *others = _head(connection).decode("latin-1").split("\n")
    except TimeoutError:
        return "it accepts the connection and says nothing: see whether it works, and start it anew"
    status = first.split(None, 2)
    fields = dict(map(_field, reversed(others)))  # the first of a name counts
    kind = fields.get("content-type", "")
    code = status[1] if len(status) > 1 and re.fullmatch(r"\d{3}", status[1]) else ""
    if code == "401":
        tried = "; those in the address may be wrong" if login else ""
        return f"it wants a name and a password: give {scheme}://NAME:PASSWORD@…{tried}"
    if code and not code.startswith("2"):
        return f"it refuses: {' '.join(status[1:]).strip()[:80]}; check the path in the address"
    if not code:
        return f"it does not speak {scheme.upper()}: check the port"
    said = f", but {kind[:80]}" if kind else ""
    return f"it sends no video{said}: check the path in the address; {USUAL}"


def _head(connection: socket.socket) -> bytes:
    """What an answer says before its body, as far as it comes in time.

    Raises:
        TimeoutError: Nothing has come.
    """
    end = time.monotonic() + PATIENCE
    head = b""
    while len(head) < MOST_BYTES and not re.search(rb"\n\r?\n", head):
        left = end - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            data = connection.recv(1024)
        except TimeoutError:
            if not head:
                raise
            break
        if not data:
            break
        head += data
    return re.split(rb"\n\r?\n", head, maxsplit=1)[0]


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()


def _basic(login: str) -> str:
    return base64.b64encode(unquote(login).encode()).decode()


def _encrypted(connection: socket.socket) -> ssl.SSLSocket:
    """As FFmpeg does it, which takes every certificate. Nothing secret is sent."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        return context.wrap_socket(connection)
    except BaseException:
        connection.close()
        raise


def _group_of(path: str) -> str:
    with contextlib.suppress(OSError, KeyError):
        return grp.getgrgid(Path(path).stat().st_gid).gr_name
    return "video"
