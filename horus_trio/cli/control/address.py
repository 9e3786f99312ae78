"""Where robots' sockets are: ``$XDG_RUNTIME_DIR/horus-trio/NAME-PID.sock``.

Without that variable (a service has none) the folder is ``/tmp/horus-trio-UID``; clients look into
both. ``HORUS_TRIO_RUNTIME_DIR`` names another folder instead. The folder has to be the user's own
and nobody else's: in ``/tmp`` anybody could have made it before.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import trio

from .errors import ControlError

__all__ = ["bound_socket", "folders", "owner_of", "peer_uid", "sockets"]

BACKLOG = 16
"""Connections that may wait to be accepted."""

LONGEST_NAME = 32
"""Characters of a robot's name in its socket's: a path to a socket may have about 100 in all."""


def folders() -> list[Path]:
    """The folders in which sockets may be, the preferred one first."""
    if chosen := os.environ.get("HORUS_TRIO_RUNTIME_DIR"):
        return [Path(chosen)]
    found = [Path(f"/tmp/horus-trio-{os.getuid()}")]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        found.insert(0, Path(runtime) / "horus-trio")
    return found


@contextlib.contextmanager
def bound_socket(robot: str) -> Iterator[tuple[socket.socket, Path]]:
    """A listening socket of a robot, and its path, while inside.

    Raises:
        ControlError: It cannot be made.
    """
    folder = _claimed_folder()
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", robot)[:LONGEST_NAME]
    # Made under a name that no client takes for a robot, and moved when it is complete.
    nascent = folder / f".{os.getpid()}-{secrets.token_hex(4)}"
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        try:
            with contextlib.suppress(OSError):  # elsewhere than on Linux: the folder guards it
                os.fchmod(listener.fileno(), 0o600)  # what `bind` makes gets this mode
            listener.bind(str(nascent))
            stack.callback(nascent.unlink, missing_ok=True)
            nascent.chmod(0o600)
            listener.listen(BACKLOG)
            path = _free(folder, name)
            nascent.rename(path)
        except OSError as error:
            raise ControlError(
                f"no socket can be made in {folder}: {error.strerror or error}; set "
                "HORUS_TRIO_RUNTIME_DIR to another folder, with a shorter path if it is long"
            ) from None
        try:
            yield listener, path
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def sockets() -> list[Path]:
    """The sockets in the user's folders, those of dead processes too.

    Raises:
        ControlError: A folder is not the user's alone.
    """
    found: list[Path] = []
    for folder in folders():
        if folder.is_dir():
            _check(folder)
            found += sorted(folder.glob("[!.]*-*.sock"))
    return found


def owner_of(path: Path) -> int:
    """The process a socket is named for; 0 if it has no such name."""
    match = re.search(r"-(\d{1,9})(?:\.\d+)?\.sock$", path.name)
    return int(match[1]) if match else 0


def _claimed_folder() -> Path:
    """The first folder that can be used, made if need be."""
    problems: list[str] = []
    for folder in folders():
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            _check(folder)
        except OSError as error:
            problems.append(f"{folder}: {error.strerror}")
        except ControlError as error:
            problems.append(str(error))
        else:
            return folder
    raise ControlError(
        f"there is no folder for the robot's socket ({'; '.join(problems)}); set "
        "HORUS_TRIO_RUNTIME_DIR to a folder of mode 0700"
    )


def _check(folder: Path) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ControlError(f"{folder} is not a folder of this user; remove it")
    if status.st_mode & 0o077:
        raise ControlError(
            f"{folder} is open to other users (mode {stat.S_IMODE(status.st_mode):04o}); "
            f"run `chmod 700 {folder}`"
        )


def _free(folder: Path, name: str) -> Path:
    """A path that no living robot has: this process may run several of one name."""
    number = 1
    while True:
        again = "" if number == 1 else f".{number}"
        path = folder / f"{name}-{os.getpid()}{again}.sock"
        if not path.exists() or not _is_alive(path):
            return path
        number += 1


def _is_alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True  # its backlog is full
        except OSError:
            return False
    return True


def peer_uid(connection: socket.socket | trio.socket.SocketType) -> int | None:
    """The user at the other end; None where the system does not say."""
    if sys.platform != "linux":
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)  # pid, uid, gid
    return int.from_bytes(credentials[4:8], sys.byteorder)
