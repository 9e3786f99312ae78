"""Serial ports: pyserial opens and sets them up, and their descriptor is waited for."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import grp
import os
import re
import stat
import struct
import termios
from types import ModuleType

import trio

from ..arguments import is_whole
from ..errors import ConfigurationError
from .errand import Errand
from .errors import ConnectFailed, MissingExtra
from .framing import Framing
from .stream import StreamDriver
from .wire import Wire

__all__ = ["SerialPort"]

FLOWS = ("none", "rtscts", "xonxoff")

IN_USE = frozenset({errno.EAGAIN, errno.EBUSY, errno.EWOULDBLOCK})


class SerialPort(StreamDriver):
    """A device at a serial port, such as ``/dev/ttyUSB0``. Needs the extra ``serial``.

    ::

        async with SerialPort("/dev/ttyUSB0", framing=Lines(), baudrate=9600) as gps:
            print(await gps.receive())

    The port is opened in a thread, since that may take its time, and what had come before is
    thrown away. Most boards with a USB port begin anew when theirs is opened. ``/dev/serial/by-id``
    has names that stay the same however devices are plugged in.

    When it is unplugged, or the other end of a pty is closed, `receive` and `send` raise
    `DeviceGone`. A port that has still bytes to send is closed in a thread: `aclose` waits until
    they are out, and if it is cancelled they go out all the same.

    Arguments:
        port: Path of the port.
        framing: How messages lie in the stream.
        baudrate: Bits a second.
        bits: Data bits, parity and stop bits of a character: ``"8N1"``, ``"7E1"``, ``"8N2"``;
            parities are N, E, O, M and S.
        flow: What tells the sender to wait: ``"none"``, ``"rtscts"`` or ``"xonxoff"``.
        exclusive: Whether to refuse a port that another program has opened like this, and to keep
            such programs out. Programs that do not ask are not kept out.
    """

    def __init__(
        self,
        port: str | os.PathLike[str],
        *,
        framing: Framing,
        baudrate: int = 115200,
        bits: str = "8N1",
        flow: str = "none",
        exclusive: bool = True,
    ) -> None:
        super().__init__(framing)
        if not isinstance(port, (str, os.PathLike)) or not os.fspath(port):
            raise ConfigurationError(
                f'SerialPort(port={port!r}): expected a path, such as "/dev/ttyUSB0"'
            )
        if not is_whole(baudrate, 1):
            raise ConfigurationError(
                f"SerialPort(baudrate={baudrate!r}): expected bits a second, a whole number such "
                "as 115200"
            )
        form = re.fullmatch(r"([5-8])([NEOMS])(1|1\.5|2)", bits) if isinstance(bits, str) else None
        if form is None:
            raise ConfigurationError(
                f"SerialPort(bits={bits!r}): expected data bits (5 to 8), parity (N, E, O, M, S) "
                'and stop bits (1, 1.5, 2), such as "8N1"'
            )
        if flow not in FLOWS:
            raise ConfigurationError(
                f"SerialPort(flow={flow!r}): expected one of {', '.join(map(repr, FLOWS))}"
            )
        self._pyserial = _import_pyserial()
        self._port = os.fsdecode(port)
        self._baudrate = baudrate
        self._character = int(form[1]), form[2], float(form[3])
        self._flow = flow
        self._exclusive = bool(exclusive)
        self._opens: Errand[int] | None = None
        self._closes: Errand[None] | None = None

    @property
    def name(self) -> str:
        return f"{type(self).__qualname__} {self._port}"

    async def _open_wire(self) -> Wire:
        # One that was cancelled may still have it, or be about to get it.
        await self._wait_disconnected()
        if self._opens is not None:
            await self._opens.ended()
        self._opens = Errand(self._open_port, put_away=os.close, name=f"opens {self._port}")
        try:
            port = await self._opens.result()
        finally:
            if self._opens.is_over:
                self._opens = None
        return Wire(port, shut=self._shut)

    async def _wait_disconnected(self) -> None:
        if self._closes is not None:
            await self._closes.ended()
        else:
            await trio.lowlevel.checkpoint()

    def _shut(self, port: int) -> None:
        self._closes = None
        if _unsent(port):
            # The kernel sends them before it closes the port, for up to 30 s.
            try:
                self._closes = Errand(
                    functools.partial(os.close, port), name=f"closes {self._port}"
                )
            except RuntimeError:  # there are no more threads
                os.close(port)
        else:
            os.close(port)

    # In a thread

    def _open_port(self) -> int:
        """Open it and set it up; its descriptor."""
        data_bits, parity, stop_bits = self._character
        try:
            with self._pyserial.Serial(
                self._port,
                self._baudrate,
                bytesize=data_bits,
                parity=parity,
                stopbits=stop_bits,
                xonxoff=self._flow == "xonxoff",
                rtscts=self._flow == "rtscts",
                exclusive=self._exclusive or None,
            ) as port:
                _wait_for_bytes(port.fileno())
                self._check_baudrate(port.fileno())
                # It takes the lock along, which is not given up before this one is closed, too.
                return os.dup(port.fileno())
        except (OSError, ValueError, OverflowError, termios.error) as error:
            raise self._failure(error) from error

    def _check_baudrate(self, port: int) -> None:
        """Raise if the port runs at another rate, which is how drivers refuse one."""
        wanted = getattr(termios, f"B{self._baudrate}", None)
        if wanted is not None and termios.tcgetattr(port)[5] != wanted:
            raise ValueError("the device runs at another rate")

    def _failure(self, error: Exception) -> ConnectFailed:
        """What to raise for what pyserial has raised."""
        if isinstance(error, ConnectFailed):
            return error
        if isinstance(error, (ValueError, OverflowError)):
            what = f"it refuses {self._baudrate} baud ({error}); see which rates the device knows"
        else:
            code = _code_of(error)
            what = _reason(self._port, code) or (os.strerror(code) if code else str(error))
        return ConnectFailed(f"{self.name} cannot be opened: {what}")


def _import_pyserial() -> ModuleType:
    try:
        import serial
    except ImportError as error:
        raise MissingExtra(
            "SerialPort needs pyserial, which is not installed: pip install 'horus-trio[serial]'"
        ) from error
    if not hasattr(serial, "Serial"):
        raise MissingExtra(
            "SerialPort needs pyserial, and the module 'serial' that is installed is another one: "
            "pip uninstall serial, then pip install 'horus-trio[serial]'"
        )
    return serial


def _wait_for_bytes(port: int) -> None:
    """Have a read with nothing there say so, and be empty only after a hang-up."""
    settings = termios.tcgetattr(port)
    characters = settings[6]
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    termios.tcsetattr(port, termios.TCSANOW, settings)


def _unsent(port: int) -> int:
    """Bytes that were written to it and are not out yet."""
    with contextlib.suppress(OSError):  # it has hung up
        (count,) = struct.unpack("i", fcntl.ioctl(port, termios.TIOCOUTQ, bytes(4)))
        return int(count)
    return 0


def _code_of(error: BaseException) -> int:
    """The operating system's code for an error; pyserial keeps some to itself."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if isinstance(error, termios.error) and error.args and isinstance(error.args[0], int):
        return error.args[0]
    return _code_of(error.__context__) if error.__context__ is not None else 0


def _reason(port: str, code: int) -> str:
    """What it means, and what to do; empty if that is not known."""
    if code == errno.ENOENT:
        there = _ports()
        known = f"there are {', '.join(there)}" if there else "there is no other one, either"
        return f"there is no such port: plug the device in, or name another one; {known}"
    if code in (errno.EACCES, errno.EPERM):
        return (
            f"this user may not: join the group {_group_of(port)!r}, which owns it "
            f"(sudo usermod -aG {_group_of(port)} $USER), and log in again"
        )
    if code in IN_USE:
        return (
            "it is in use: another program, or another driver of this one, has opened it "
            f"exclusively (fuser -v {port} says which); end that, or pass exclusive=False to both"
        )
    if code in (errno.ENOTTY, errno.EISDIR, errno.ENODEV, errno.ENXIO, errno.EIO, errno.EINVAL):
        if code in (errno.ENOTTY, errno.EISDIR) or not _is_character_device(port):
            return 'it is not a serial port: expected a terminal device, such as "/dev/ttyUSB0"'
        return f"there is no device behind it ({os.strerror(code)}): see whether it is plugged in"
    return ""


def _ports() -> list[str]:
    from serial.tools import list_ports

    return sorted(port.device for port in list_ports.comports())[:8]


def _group_of(port: str) -> str:
    try:
        return grp.getgrgid(os.stat(port).st_gid).gr_name  # noqa: PTH116
    except (OSError, KeyError):
        return "dialout"


def _is_character_device(port: str) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISCHR(os.stat(port).st_mode)  # noqa: PTH116
    return False
