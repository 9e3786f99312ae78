"""Modbus RTU: binary questions, and replies with a checksum, of a device on a serial bus."""

import functools
import logging
import struct

import trio

from horus_trio.drivers import Crc, Driver, Headed, QueryDriver, TcpClient, WrongReply

logging.disable(logging.CRITICAL)

READ_REGISTERS, WRITE_REGISTER = 3, 6
EXCEPTIONS = {1: "illegal function", 2: "illegal address", 3: "illegal value", 4: "device failure"}


def with_checksum(message: bytes) -> bytes:
    return message + Crc.CRC16_MODBUS(message).to_bytes(2, "little")


class ModbusReplies(Headed):
    """Unit, function, data, checksum.

    On the wire a silence ends a message, but no operating system hands silences on. How long a
    reply is follows from its function.
    """

    def __init__(self) -> None:
        super().__init__(max_frame=256)

    def _wrap(self, message: bytes) -> bytes:
        return with_checksum(message)

    def _read(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        if at + 3 > len(data):
            return at + 3, None
        function = data[at + 1]
        if function & 0x80:  # an exception, and its code
            end = at + 5
        elif function in (1, 2, 3, 4):  # a count, and so many bytes
            end = at + 5 + data[at + 2]
        elif function in (5, 6, 15, 16):  # an address and a value or a count
            end = at + 8
        else:
            return at + 1, None
        if end > len(data):
            return end, None
        message = data[at : end - 2]
        return end, message if with_checksum(message) == data[at:end] else None


def is_reply(request: bytes, reply: bytes) -> bool:
    """Whether it comes from the unit that was asked, and belongs to the function."""
    return reply[0] == request[0] and reply[1] & 0x7F == request[1]


class ModbusUnit:
    """One device on the bus."""

    def __init__(self, bus: QueryDriver[bytes], unit: int) -> None:
        self.bus = bus
        self.unit = unit

    async def read(self, first: int, count: int = 1) -> list[int]:
        """Registers from `first` on."""
        reply = await self._ask(READ_REGISTERS, first, count)
        if len(reply) != 1 + 2 * count:
            raise WrongReply(f"asked unit {self.unit} for {count} registers, got {reply!r}")
        return list(struct.unpack(f">{count}H", reply[1:]))

    async def write(self, register: int, value: int) -> None:
        """Set a register."""
        await self._ask(WRITE_REGISTER, register, value)

    async def _ask(self, function: int, first: int, second: int) -> bytes:
        request = struct.pack(">BBHH", self.unit, function, first, second)
        reply = await self.bus.query(request)
        if reply[1] & 0x80:
            what = EXCEPTIONS.get(reply[2], f"exception {reply[2]}")
            raise WrongReply(f"unit {self.unit}, function {function}, register {first}: {what}")
        return reply[2:]


def open_bus(driver: Driver[bytes]) -> QueryDriver[bytes]:
    """One question at a time, 4 ms of silence between, and again when a reply was damaged."""
    return QueryDriver(driver, reply_within=0.2, retries=2, turnaround=0.004, matches=is_reply)


async def pump(stream: trio.SocketStream) -> None:
    """A device, simulated behind a gateway; its first reply is damaged on the way."""
    registers = {100: 1450, 101: 20}
    damaged = True
    async for data in stream:
        unit, function, first, second = struct.unpack(">BBHH", data[:6])
        reply = bytes([unit, function | 0x80, 2])
        if function == READ_REGISTERS and first in registers:
            values = [registers.get(first + n, 0) for n in range(second)]
            reply = struct.pack(f">BBB{second}H", unit, function, 2 * second, *values)
        elif function == WRITE_REGISTER and first in registers:
            registers[first] = second
            reply = bytes(data[:6])
        reply = with_checksum(reply)
        if damaged:
            reply, damaged = b"\xff" + reply[1:], False
        await stream.send_all(reply)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        serve = functools.partial(trio.serve_tcp, pump, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        port: int = listener.socket.getsockname()[1]

        client = TcpClient("127.0.0.1", port, framing=ModbusReplies())
        async with open_bus(client) as bus:
            device = ModbusUnit(bus, 17)
            print("speed and load:", await device.read(100, 2))
            await device.write(100, 1500)
            print("speed:", await device.read(100))
            try:
                await device.write(999, 1)
            except WrongReply as error:
                print(error)
            print("damaged:", bus.statistics().rejected)

        nursery.cancel_scope.cancel()


trio.run(main)
