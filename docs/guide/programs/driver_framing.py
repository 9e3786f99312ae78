"""A framing of one's own: the packets of a motor controller."""

from horus_trio.drivers import FrameError, Headed


class MotorPackets(Headed):
    """0x55, the number of data bytes, the data, and the sum of all that in a byte."""

    def __init__(self) -> None:
        super().__init__(b"\x55", max_frame=2 + 255 + 1)

    def _wrap(self, message: bytes) -> bytes:
        if len(message) > 255:
            raise FrameError(f"expected at most 255 bytes, got {len(message)}; send less at once")
        packet = bytes([0x55, len(message)]) + message
        return packet + bytes([sum(packet) % 256])

    def _read(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        if at + 2 > len(data):
            return at + 2, None  # these are needed to tell how long it is
        end = at + 2 + data[at + 1] + 1
        if end > len(data):
            return end, None
        packet = data[at : end - 1]
        return end, packet[2:] if sum(packet) % 256 == data[end - 1] else None


packets = MotorPackets()
stream = packets.encode(b"speed 7") + b"\x55\x03noise" + packets.encode(b"stop")
for number in range(0, len(stream), 5):
    print(packets.feed(stream[number : number + 5]))
print(packets.frames, "messages,", packets.rejected, "rejected,", packets.discarded, "discarded")
