"""A receive and a send that are cancelled, anywhere."""

import functools

import trio

from horus_trio.drivers import DeviceGone, Lines, TcpClient


async def device(stream: trio.SocketStream) -> None:
    """Sends a hundred numbers in pieces, and never reads."""
    for number in range(100):
        line = b"number %d\n" % number
        await stream.send_all(line[:4])
        await trio.sleep(0.002)
        await stream.send_all(line[4:])
    await trio.sleep_forever()


async def main() -> None:
    async with trio.open_nursery() as nursery:
        serve = functools.partial(trio.serve_tcp, device, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        port: int = listener.socket.getsockname()[1]

        async with TcpClient("127.0.0.1", port, framing=Lines(max_frame=10**8)) as client:
            received: list[bytes] = []
            while len(received) < 100:
                with trio.move_on_after(0.001):  # far too short
                    received.append(await client.receive())
            print("all there, in order:", received == [b"number %d" % n for n in range(100)])

            with trio.move_on_after(0.1):
                await client.send(bytes(5 * 10**7))  # more than anybody takes
            try:
                await client.send(b"next")
            except DeviceGone as gone:
                print(type(gone).__name__)
            await client.aclose()
            await client.open()
            print("open again:", await client.receive())

        nursery.cancel_scope.cancel()


trio.run(main)
