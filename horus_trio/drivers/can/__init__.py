"""CAN: frames to and from a bus, over serial adapters, SocketCAN, and what else python-can knows.

`CanBus` is the driver; it has a link, by interface: to an slcan adapter (`slcan_link`, with the
text of it in `slcan`), to a socket (`socket_link`) or to a thread (`thread_link`). What comes goes
into its inbox, which filters and counts.
"""

from .bus import CanBus
from .frame import CanFilter, CanFrame
from .slcan_options import SlcanOptions
from .state import CanBusState, CanStatistics

__all__ = ["CanBus", "CanBusState", "CanFilter", "CanFrame", "CanStatistics", "SlcanOptions"]
