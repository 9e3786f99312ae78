"""Tests of nodes and drivers: in milliseconds, on virtual time, with faults at every step.

Everything here is plain Trio and works under any test framework; `pytest_plugin` adds fixtures.
"""

from .blocking import blocking_delay
from .cancellation import CancellationBroken, Finding, Sweep, cancel_everywhere
from .clock import VirtualClock
from .contracts import (
    AblePeer,
    ContractBroken,
    DriverLike,
    DriverReport,
    PeerLike,
    RuleNotTried,
    RuleTried,
    SpeakingPeer,
    check_driver,
    check_node,
)
from .device import FakeDevice
from .fake_driver import FakeDriver
from .faults import Fault, FaultKind, Faults
from .harness import Harness
from .injection import faulty
from .opening import open_harness
from .openings import Openings
from .record import SentMessage, Trace, payload_hash
from .stage import HarnessError

__all__ = [
    "AblePeer",
    "CancellationBroken",
    "ContractBroken",
    "DriverLike",
    "DriverReport",
    "FakeDevice",
    "FakeDriver",
    "Fault",
    "FaultKind",
    "Faults",
    "Finding",
    "Harness",
    "HarnessError",
    "Openings",
    "PeerLike",
    "RuleNotTried",
    "RuleTried",
    "SentMessage",
    "SpeakingPeer",
    "Sweep",
    "Trace",
    "VirtualClock",
    "blocking_delay",
    "cancel_everywhere",
    "check_driver",
    "check_node",
    "faulty",
    "open_harness",
    "payload_hash",
]
