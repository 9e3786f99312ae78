"""A thermometer that sends lines of text, over a network."""

import functools

import trio

from horus_trio.drivers import DeviceGone, Lines, TcpClient


async def thermometer(stream: trio.SocketStream) -> None:
    """The device, simulated: three readings, and then it hangs up."""
    for degrees in (20.5, 20.6, 20.6):
        await stream.send_all(b"%.1f C\r\n" % degrees)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        serve = functools.partial(trio.serve_tcp, thermometer, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        port: int = listener.socket.getsockname()[1]

        async with TcpClient("127.0.0.1", port, framing=Lines()) as device:
            try:
                while True:
                    print(await device.receive())
            except DeviceGone as gone:
                print(gone)
            print(device.statistics().received, "readings;", device)

        nursery.cancel_scope.cancel()


trio.run(main)
