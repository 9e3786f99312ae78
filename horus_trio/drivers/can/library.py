"""python-can: its buses and its messages. Called in threads, except where that is said."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from ..errors import ConnectFailed, FrameError
from ..extra import Extra
from .frame import CanFrame
from .link import CanSettings

__all__ = ["PYSERIAL", "PYTHON_CAN", "LibraryBus", "open_bus", "to_frame", "to_message"]

PYTHON_CAN = Extra(name="can", package="python-can", module="can")
PYSERIAL = Extra(name="can", package="pyserial", module="serial")

NETWORK = Path("/sys/class/net")
"""Where the kernel describes its interfaces."""

OF_CAN = "280"
"""The type of those that are CAN."""

IS_UP = 1
"""In their flags."""


class LibraryBus(Protocol):
    """What is called of python-can's buses."""

    @property
    def state(self) -> Any: ...

    def fileno(self) -> int: ...

    def recv(self, timeout: float | None = None) -> Any: ...

    def send(self, msg: Any, timeout: float | None = None) -> None: ...

    def shutdown(self) -> None: ...


def open_bus(settings: CanSettings) -> tuple[ModuleType, LibraryBus]:
    """python-can, and its bus.

    Raises:
        MissingExtra: It is not installed.
        ConnectFailed: The bus cannot be had.
    """
    can = PYTHON_CAN.load("CanBus")
    cannot = f"{settings.name} cannot be opened: "
    known = sorted(can.VALID_INTERFACES)
    if settings.interface not in known:
        nearest = difflib.get_close_matches(settings.interface, known, 1)
        raise ConnectFailed(
            f"{cannot}python-can has no interface {settings.interface!r}"
            + (f"; {nearest[0]!r} is the nearest" if nearest else "")
            + f"; it has {', '.join(known)}"
        )
    if settings.interface == "socketcan":
        refusal = _refusal(str(settings.channel), settings.bitrate)
        if refusal:
            raise ConnectFailed(cannot + refusal)
    try:
        return can, can.Bus(
            channel=settings.channel,
            interface=settings.interface,
            ignore_config=True,
            **_keywords(settings),
        )
    except Exception as error:  # the makers' libraries raise what they like
        what = f"{type(error).__name__}: {error}"
        code = error.errno if isinstance(error, OSError) else None
        if code == errno.EAFNOSUPPORT:
            what = "this kernel has no CAN: sudo modprobe can_raw, or use a kernel that has it"
        raise ConnectFailed(cannot + what) from error


def _keywords(settings: CanSettings) -> dict[str, Any]:
    """What python-can's class is called with."""
    keywords: dict[str, Any] = {}
    if settings.bitrate is not None and settings.interface != "socketcan":
        keywords["bitrate"] = settings.bitrate
    if settings.filters:
        keywords["can_filters"] = [
            {"can_id": wanted.id, "can_mask": wanted.mask}
            | ({} if wanted.extended is None else {"extended": wanted.extended})
            for wanted in settings.filters
        ]
    if settings.receive_own:
        keywords["receive_own_messages"] = True
    if settings.fd:
        keywords["fd"] = True
    if isinstance(settings.options, Mapping):
        keywords |= settings.options
    return keywords


def _refusal(channel: str, bitrate: int | None) -> str:
    """Why the kernel has no such bus, and what to do; empty if it has, or cannot say."""
    if not NETWORK.is_dir() or not channel:
        return ""
    there = sorted(
        interface.name for interface in NETWORK.iterdir() if _read(interface / "type") == OF_CAN
    )
    up = f"sudo ip link set {channel} up type can bitrate {bitrate or 500_000}"
    if not (NETWORK / channel).exists():
        known = f"there are {', '.join(there)}" if there else "there is none at all"
        return f"there is no such CAN interface: plug the adapter in, or name another one; {known}"
    if channel not in there:
        known = f"those that are: {', '.join(there)}" if there else "there is none that is"
        return f"{channel} is a network interface, and not one of CAN; {known}"
    if not int(_read(NETWORK / channel / "flags") or "0x1", 16) & IS_UP:
        return f"the interface is down: {up}"
    return ""


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:  # it has just been unplugged
        return ""


# Messages, on the loop and in threads


def to_message(can: ModuleType, frame: CanFrame) -> Any:
    """A frame as python-can has it.

    Raises:
        FrameError: It tells of an error.
    """
    if frame.is_error:
        raise FrameError(f"{frame!r} cannot be sent: error frames only come")
    return can.Message(
        arbitration_id=frame.id,
        data=frame.data,
        dlc=frame.remote_length if frame.is_remote else None,
        is_extended_id=frame.is_extended,
        is_remote_frame=frame.is_remote,
        is_fd=frame.is_fd,
        bitrate_switch=frame.bitrate_switch,
    )


def to_frame(message: Any, timestamp: float, channel: str) -> CanFrame:
    """python-can's message as a frame.

    Raises:
        FrameError: It is none that a bus could carry.
    """
    is_remote = bool(message.is_remote_frame)
    return CanFrame(
        id=message.arbitration_id,
        data=bytes(message.data),
        is_extended=bool(message.is_extended_id),
        is_remote=is_remote,
        remote_length=message.dlc if is_remote else 0,
        is_error=bool(message.is_error_frame),
        is_fd=bool(message.is_fd),
        bitrate_switch=bool(message.bitrate_switch),
        timestamp=timestamp,
        channel=str(message.channel or channel),
    )
