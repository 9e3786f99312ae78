"""Looking into a robot that runs, over a local unix socket.

A robot listens while it is inside `listening(scheduler)`; ``horus-trio run`` does that by itself. A
client (`client`) finds it by its socket (`address`), sends a request a line and reads an answer a
line (`protocol`). What a request does is in `requests`, and what `echo` shows of messages in
`rendering`. The socket is of mode 0600 in a folder of mode 0700: it is its user's alone.
"""

from .errors import ControlError
from .server import listening

__all__ = ["ControlError", "listening"]
