"""A bus behind a serial adapter that speaks slcan. Its descriptor is waited for.

The port is opened as every `SerialPort`. python-can's own slcan would block the loop: it waits
until all it writes is out, and sleeps when it opens; and it does not understand what adapters tell
of errors.

An adapter answers each command in order: with an end of line, or with a bell if it refuses. So the
answers to frames, which nobody waits for, are kept apart from those to the question for its status.
"""

from __future__ import annotations

import collections
import contextlib
import math
import time
from collections.abc import Callable

import trio

from ...errors import ConfigurationError
from ..errors import ConnectFailed, DeviceGone, SendFailed
from ..framing import Delimited
from ..serial import SerialPort
from ..wire import Wire
from .frame import CanFrame
from .inbox import Inbox
from .link import CanSettings, Link
from .slcan import BITRATES, DATA_BITRATES, Flags, Item, Reply, SlcanDecoder, encode, listed
from .slcan_options import SlcanOptions
from .state import CanBusState

__all__ = ["SlcanLink"]

CLOSE, OPEN, LISTEN, STATUS, VERSION = b"C", b"O", b"L", b"F", b"V"

SETTLE = 0.1
"""Seconds of silence after which no old answer is on its way."""

OWED = 4096
"""Answers that are kept account of."""

LOOK = 0.05
"""Seconds after which a sender that waits for room looks whether something has come."""


class Port(SerialPort):
    """The adapter's port, under the name of the driver."""

    def __init__(self, name: str, channel: str, options: SlcanOptions) -> None:
        super().__init__(
            channel,
            framing=Delimited(b"\r"),
            baudrate=options.tty_baudrate,
            flow="rtscts" if options.rtscts else "none",
            exclusive=options.exclusive,
        )
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def plug(self) -> Wire:
        """Open it. A checkpoint; cancelled or failed, it leaves nothing open."""
        return await self._open_wire()

    async def unplugged(self) -> None:
        """Wait until a port that had still bytes to send is closed. A checkpoint."""
        await self._wait_disconnected()


class SlcanLink(Link):
    """A bus behind a serial adapter.

    Raises:
        ConfigurationError: The settings make no sense for slcan.
    """

    mid_frame: bool
    failure: Exception | None

    def __init__(self, settings: CanSettings, inbox: Inbox) -> None:
        super().__init__(settings, inbox)
        channel = settings.channel
        if not isinstance(channel, str):
            raise ConfigurationError(
                f'CanBus({channel!r}, interface="slcan"): expected the path of a serial port, such '
                'as "/dev/ttyACM0"'
            )
        if settings.bitrate is not None and settings.bitrate not in BITRATES:
            raise ConfigurationError(
                f"CanBus(bitrate={settings.bitrate}): slcan has {listed(BITRATES)}; None leaves "
                "the adapter at its own"
            )
        if settings.receive_own:
            raise ConfigurationError(
                "CanBus(receive_own=True): slcan adapters do not give back what is sent"
            )
        given = settings.options
        self._options = given if isinstance(given, SlcanOptions) else SlcanOptions.of(given)
        self._port = Port(settings.name, channel, self._options)
        self._wire: Wire | None = None
        self._decoder = SlcanDecoder(channel)
        self._is_in_step = True
        self._tells_version = False
        self._begin()

    def _begin(self) -> None:
        self._decoder.reset()
        self._rest = b""  # of a question that is half out
        self._asked: collections.deque[bytes] = collections.deque(maxlen=OWED)
        self._is_sending = False
        self._has_status = False
        self._status_every = self._options.status_every
        self._looked = -math.inf
        self._unanswered: float | None = None
        self._heard = -math.inf
        self._refused = False
        self.mid_frame = False
        self.failure = None

    # Opening

    async def open(self) -> None:
        self._begin()
        wire = self._wire = await self._port.plug()
        if self._options.sleep_after_open:
            await trio.sleep(self._options.sleep_after_open)
        # Half a line that somebody has left is ended by the first of these.
        await self._write_all(wire, b"\r" + CLOSE + b"\r")
        if self._options.replies:
            await self._quieten(wire)
        settings = self.settings
        if settings.bitrate is not None:
            await self._require(BITRATES[settings.bitrate], f"a bit rate of {settings.bitrate}")
        if settings.fd:
            rate = self._options.data_bitrate
            await self._require(DATA_BITRATES[rate], f"a bit rate of {rate} for data")
        await self._require(LISTEN if self._options.listen_only else OPEN, "to go on the bus")
        self._looked = trio.current_time()
        self._is_in_step = True

    async def _quieten(self, wire: Wire) -> None:
        """Have it closed, and nothing on its way that belongs to the time before.

        Its version is asked for: no other answer looks like that, and all before it are old. If it
        does not tell, or an earlier question may be on its way, a silence shows that all have come.
        """
        is_in_step, self._is_in_step = self._is_in_step, False
        await self._write_all(wire, VERSION + b"\r")
        decoder = SlcanDecoder()
        has_answered = False
        end = time.perf_counter() + self._options.answer_within
        while (left := end - time.perf_counter()) > 0:
            settles = has_answered and not (is_in_step and self._tells_version)
            data = await self._read_within(wire, min(left, SETTLE) if settles else left)
            if not data and settles and left > SETTLE:
                return  # it has been still for so long
            replies = [item for item in decoder.feed(data, 0.0) if isinstance(item, Reply)]
            if Reply.VERSION in replies:
                self._tells_version = True
                if is_in_step:
                    return
            if replies and not has_answered:
                has_answered = True
                end = max(end, time.perf_counter() + 5 * SETTLE)
        if has_answered:
            raise ConnectFailed(
                f"{self.settings.name} cannot be opened: the adapter does not stop talking when it "
                "is closed; see what is at this port, and whether tty_baudrate is right"
            )
        raise self._silent(CLOSE)

    async def _require(self, command: bytes, what: str) -> None:
        """Have a command done. What comes after the answer is for the inbox."""
        wire = self._plugged()
        await self._write_all(wire, command + b"\r")
        if not self._options.replies:
            return
        end = time.perf_counter() + self._options.answer_within
        while (left := end - time.perf_counter()) > 0:
            data = await self._read_within(wire, left)
            items = self._decoder.feed(data, trio.current_time())
            for place, item in enumerate(items):
                if item is Reply.REFUSED:
                    raise ConnectFailed(
                        f"{self.settings.name} cannot be opened: the adapter refuses {what} "
                        f"({command.decode()}); see which it knows"
                    )
                if item is Reply.DONE:
                    self._sort(items[place + 1 :])
                    return
        raise self._silent(command)

    def _silent(self, command: bytes) -> ConnectFailed:
        return ConnectFailed(
            f"{self.settings.name} cannot be opened: nothing at this port answers "
            f"{command.decode()} within {self._options.answer_within:g} s, as an slcan adapter "
            "does: see whether it is one and whether tty_baudrate is right; for one that never "
            "answers commands, pass options={'replies': False}"
        )

    async def _read_within(self, wire: Wire, seconds: float) -> bytes:
        """What comes within so many seconds; empty if nothing does.

        They are real ones, since the adapter is: a clock that jumps does not make it quicker.
        """
        end = time.perf_counter() + seconds
        while True:
            with trio.move_on_after(max(0.0, end - time.perf_counter())):
                data = await wire.read()
                if not data:
                    raise ConnectFailed(
                        f"{self.settings.name} cannot be opened: the adapter has hung up"
                    )
                return data
            if time.perf_counter() >= end:
                return wire.read_nowait()  # this loop may have been held up

    async def _write_all(self, wire: Wire, data: bytes) -> None:
        rest = memoryview(data)
        end = time.perf_counter() + self._options.answer_within
        while rest := rest[wire.write_nowait(rest) :]:
            if time.perf_counter() > end:
                raise self._silent(data.strip())
            with trio.move_on_after(self._options.answer_within):
                await wire.wait_writable()

    # Receiving

    async def wait(self) -> None:
        wire = self._plugged()
        data: bytes | None = None
        if math.isinf(self._status_every):
            data = await wire.read()
        else:
            with trio.move_on_after(self._status_every):
                data = await wire.read()
        if data is None:
            self._look_after(trio.current_time())
        elif data:
            self._take(data)
        else:
            self.failure = DeviceGone(f"{self.settings.name} has hung up")

    def look(self) -> None:
        data = self._plugged().read_nowait()
        if data:
            self._take(data)
        else:
            self._look_after(trio.current_time())

    def _take(self, data: bytes) -> None:
        now = trio.current_time()
        self._heard = time.perf_counter()
        self.inbox.bytes_received += len(data)
        self._sort(self._decoder.feed(data, now))
        self.inbox.rejected = self._decoder.rejected
        self.inbox.discarded = self._decoder.discarded
        self._look_after(now)

    def _sort(self, items: list[Item]) -> None:
        put = self.inbox.put
        for item in items:
            if isinstance(item, CanFrame):
                put(item)
            elif isinstance(item, Reply):
                if item is not Reply.VERSION:
                    self._answered(item)
            elif isinstance(item, Flags):
                self._has_answered_status(item)
            else:
                self.inbox.tell(item)

    def _answered(self, reply: Reply) -> None:
        """It has answered the oldest command."""
        asked = self._asked
        if reply is Reply.DONE:
            while asked and asked.popleft() == STATUS:
                pass  # a question that it has passed over
        elif asked and asked[0] == STATUS:
            self._status_is_unknown()
        else:
            if asked:
                asked.popleft()
            self.inbox.refused += 1
            self._refused = True
            self._looked = -math.inf  # is it off the bus?

    def _status_is_unknown(self) -> None:
        """It does not know that question: ask no more."""
        self._asked = collections.deque((c for c in self._asked if c != STATUS), maxlen=OWED)
        self._status_every = math.inf
        self._unanswered = None

    def _has_answered_status(self, flags: Flags) -> None:
        while self._asked and self._asked.popleft() != STATUS:
            pass
        self._has_status = True
        self._status_every = self._options.status_every
        self._unanswered = None
        self.inbox.overruns += flags.overrun
        state = flags.state
        if self._refused and flags.bus_error:
            state = CanBusState.BUS_OFF
        self._refused = False
        self.inbox.tell(state)

    def _look_after(self, now: float) -> None:
        """Ask for the status if it is time for that; see whether it was answered the last time."""
        every = self._status_every
        if math.isinf(every) or now - self._looked < every:
            return
        real = time.perf_counter()  # the adapter's time
        if self._unanswered is not None:
            limit = self._options.answer_within
            if real - self._unanswered < limit:
                return
            if not self._has_status:
                self._status_is_unknown()
                return
            silence = real - max(self._unanswered, self._heard)
            if silence > 2 * every + limit:
                self.failure = DeviceGone(
                    f"{self.settings.name} is gone: the adapter has not answered for "
                    f"{silence:.1f} s"
                )
                return
        if self._is_sending or self._rest:
            return
        self._looked = now
        question = STATUS + b"\r"
        written = 0
        with contextlib.suppress(OSError):  # it is lost: the next read says so
            written = self._plugged().write_nowait(question)
        if written:
            self._rest = question[written:]
            self._asked.append(STATUS)
            if self._unanswered is None:
                self._unanswered = real

    # Sending

    async def send(self, frame: CanFrame, check_fence: Callable[[], None]) -> None:
        data = encode(frame)
        if self._options.listen_only:
            raise SendFailed(f"{self.settings.name} only listens: it was told to")
        await trio.lowlevel.checkpoint_if_cancelled()
        wire = self._plugged()
        self._is_sending = True
        try:
            while self._rest:
                self._rest = self._rest[self._write(wire, self._rest) :]
                if self._rest:
                    await self._wait_for_room(wire)
                    check_fence()
            rest = memoryview(data)
            while rest := rest[self._write(wire, rest) :]:
                self.mid_frame = len(rest) < len(data)
                await self._wait_for_room(wire)
                if not self.mid_frame:
                    check_fence()
            self.mid_frame = False
            self._asked.append(data[:1])
        finally:
            self._is_sending = False
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _write(self, wire: Wire, data: bytes | memoryview) -> int:
        written = wire.write_nowait(data)
        self.inbox.bytes_sent += written
        return written

    async def _wait_for_room(self, wire: Wire) -> None:
        """Return when there may be room. An adapter that is not read may take nothing, either."""
        if self.is_received:
            await wire.wait_writable()
            return
        with trio.move_on_after(LOOK):
            await wire.wait_writable()
        if not self.is_received:
            self.look()
            self.raise_if_lost()

    # Closing

    def close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is None:
            return
        # What is lost hears nothing, and a full line takes nothing.
        with contextlib.suppress(OSError):
            wire.write_nowait((b"\r" if self.mid_frame or self._rest else b"") + CLOSE + b"\r")
        wire.close()

    async def closed(self) -> None:
        await self._port.unplugged()

    def _plugged(self) -> Wire:
        if self._wire is None:
            raise trio.ClosedResourceError(f"{self.settings.name} is not connected")
        return self._wire
