"""WebSockets: wsproto knows the protocol and does no I/O, which is the driver's on a `Wire`.

`request`, `limits` and `messages` read what the program gives. `protocol` is one conversation as
bytes in and bytes out; `line` has that and TLS on a wire, and never waits. All that
waits is in `client`, the driver, and, while it connects, in `upgrade`.
"""

from .client import WebSocketClient
from .closing import WebSocketClosed

__all__ = ["WebSocketClient", "WebSocketClosed"]
