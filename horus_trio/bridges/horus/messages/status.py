"""Messages about time, health and safety of a robot."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Annotated

from .kinds import F32, F64, I64, U8, U32, U64, Flag, Kind, Text, u64
from .message import Message, copied, message

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "Clock",
    "DiagnosticStatus",
    "EmergencyStop",
    "Heartbeat",
    "ResourceUsage",
    "SafetyStatus",
    "TimeReference",
]

_TIME = "timestamp_ns={m.timestamp_ns}"

Stamp = Annotated[int, Kind(lambda value: u64(value) or time.time_ns())]
"""An instant (ns since 1970); 0: now."""


@message(
    "clock_ns={m.clock_ns}, speed={m.sim_speed:.1f}x, paused={m.paused}, source={m._source}, "
    f"{_TIME}",
    topic="clock",
)
class Clock(Message):
    """A robot's time (ns): the world's (source 0), a simulation's (1) or a replay's (2)."""

    clock_ns: U64 = 0
    realtime_ns: U64 = 0
    sim_speed: F64 = 1.0
    paused: Flag = False
    source: U8 = 0
    timestamp_ns: U64 = 0

    @classmethod
    def wall_clock(cls) -> Self:
        """The world's time."""
        now = time.time_ns()
        return cls(now, now, timestamp_ns=now)

    @classmethod
    def sim_time(cls, sim_ns: int, speed: float) -> Self:
        """A simulation's time."""
        now = time.time_ns()
        return cls(sim_ns, now, speed, source=1, timestamp_ns=now)

    @classmethod
    def replay_time(cls, replay_ns: int, speed: float) -> Self:
        """A replay's time."""
        now = time.time_ns()
        return cls(replay_ns, now, speed, source=2, timestamp_ns=now)

    @property
    def _source(self) -> str:
        return dict(enumerate(("wall", "sim", "replay"))).get(self.source, "unknown")

    def elapsed_since(self, earlier: Clock) -> int:
        """The time since `earlier` (ns), 0 if that is later."""
        return max(self.clock_ns - earlier.clock_ns, 0)

    def is_paused(self) -> bool:
        """Whether it stands."""
        return self.paused


@message(
    'time_ref_ns={m.time_ref_ns}, source="{m.source}", offset_ns={m.offset_ns}, ' + _TIME,
    topic="time_reference",
    same=("time_ref_ns", "source", "offset_ns"),
)
class TimeReference(Message):
    """How far the local time is ahead of another (ns)."""

    time_ref_ns: U64 = 0
    source: Text = ""
    offset_ns: I64 = 0
    timestamp_ns: U64 = 0

    def correct_timestamp(self, local_ns: int) -> int:
        """A local time in the other time, at the limits of 64 bits if it is beyond."""
        return min(max(u64(local_ns) - self.offset_ns, 0), 2**64 - 1)


@message(
    "node='{m.node_name}', id={m.node_id}, seq={m.sequence}, alive={m.alive}, "
    "uptime={m.uptime:.1f}s",
    topic="heartbeat",
    fixed=("node_name", "node_id", "sequence", "alive", "uptime"),
)
class Heartbeat(Message):
    """A node's sign of life."""

    node_name: Text = ""
    node_id: U32 = 0
    timestamp_ns: Stamp = 0
    sequence: U64 = dataclasses.field(default_factory=lambda: 0, init=False)
    alive: Flag = dataclasses.field(default_factory=lambda: True, init=False)
    uptime: F64 = dataclasses.field(default_factory=lambda: 0.0, init=False)

    def update(self, uptime: float) -> None:
        """One more, now, at that time since the start (s)."""
        self.__dict__["uptime"] = self._keep["uptime"](uptime)
        self.__dict__["sequence"] += 1
        self.timestamp_ns = time.time_ns()


_LEVELS = ("OK", "WARN", "ERROR", "FATAL")


@message(
    "level={m._level}, code={m.code}, msg='{m.message}', component='{m.component}'",
    topic="diagnostics",
    fixed=("message", "component"),
)
class DiagnosticStatus(Message):
    """How a part is: fine (0), a warning (1), an error (2), a fatal one (3)."""

    level: U8 = 0
    code: U32 = 0
    message: Text = ""
    component: Text = ""
    timestamp_ns: Stamp = 0

    @classmethod
    def ok(cls, message: str) -> Self:
        """All is fine, now."""
        return cls(0, 0, message)

    @classmethod
    def warn(cls, code: int, message: str) -> Self:
        """A warning, now."""
        return cls(1, code, message)

    @classmethod
    def error(cls, code: int, message: str) -> Self:
        """An error, now."""
        return cls(2, code, message)

    @classmethod
    def fatal(cls, code: int, message: str) -> Self:
        """An error nobody survives, now."""
        return cls(3, code, message)

    @property
    def _level(self) -> str:
        return _LEVELS[self.level] if self.level < len(_LEVELS) else "?"

    def with_component(self, component: str) -> Self:
        """The same, of that part."""
        other = copied(self)
        other.__dict__["component"] = self._keep["component"](component)
        return other

    def message_str(self) -> str:
        """The message."""
        return self.message

    def component_str(self) -> str:
        """The part."""
        return self.component


@message(
    f"engaged={{m.engaged}}, reason='{{m.reason}}', {_TIME}",
    topic="estop",
    fixed=("reason", "auto_reset"),
)
class EmergencyStop(Message):
    """To stop everything, or to go on."""

    engaged: Flag = True
    reason: Text = ""
    timestamp_ns: Stamp = 0
    auto_reset: Flag = dataclasses.field(default_factory=lambda: False, init=False)

    @classmethod
    def engage(cls, reason: str) -> Self:
        """Stop, now."""
        return cls(True, reason)

    @classmethod
    def release(cls) -> Self:
        """Go on, now."""
        return cls(False)

    def with_source(self, source: str) -> Self:
        """The same; who wants it cannot be read back, in HORUS either."""
        self._keep["reason"](source)
        return copied(self)

    def reason_str(self) -> str:
        """The reason."""
        return self.reason


@message(
    "cpu={m.cpu_percent:.1f}%, mem={m.memory_percent:.1f}%, threads={m.thread_count}, " + _TIME,
    topic="resources",
)
class ResourceUsage(Message):
    """What a computer is short of (percent, bytes, degrees Celsius)."""

    cpu_percent: F32 = 0.0
    memory_bytes: U64 = 0
    memory_percent: F32 = 0.0
    timestamp_ns: Stamp = 0
    temperature: F32 = dataclasses.field(default_factory=lambda: 0.0, init=False)
    disk_bytes: U64 = dataclasses.field(default_factory=lambda: 0, init=False)
    disk_percent: F32 = dataclasses.field(default_factory=lambda: 0.0, init=False)
    network_tx_bytes: U64 = dataclasses.field(default_factory=lambda: 0, init=False)
    network_rx_bytes: U64 = dataclasses.field(default_factory=lambda: 0, init=False)
    thread_count: U32 = dataclasses.field(default_factory=lambda: 0, init=False)

    def is_cpu_high(self, threshold: float) -> bool:
        """Whether the processor is busier than that (percent)."""
        return self.cpu_percent > threshold

    def is_memory_high(self, threshold: float) -> bool:
        """Whether more memory is used than that (percent)."""
        return self.memory_percent > threshold

    def is_temperature_high(self, threshold: float) -> bool:
        """Whether it is hotter than that (degrees Celsius)."""
        return self.temperature > threshold


@message("enabled={m.enabled}, estop={m.estop_engaged}, mode={m.mode}", topic="safety_status")
class SafetyStatus(Message):
    """Whether a robot may move."""

    enabled: Flag = dataclasses.field(default_factory=lambda: True, init=False)
    estop_engaged: Flag = dataclasses.field(default_factory=lambda: False, init=False)
    watchdog_ok: Flag = dataclasses.field(default_factory=lambda: True, init=False)
    limits_ok: Flag = dataclasses.field(default_factory=lambda: True, init=False)
    comms_ok: Flag = dataclasses.field(default_factory=lambda: True, init=False)
    mode: U8 = dataclasses.field(default_factory=lambda: 0, init=False)
    fault_code: U32 = dataclasses.field(default_factory=lambda: 0, init=False)
    timestamp_ns: Stamp = dataclasses.field(default_factory=lambda: 0, init=False)

    def is_safe(self) -> bool:
        """Whether it is on, nothing is wrong and nobody wants it to stop."""
        fine = self.watchdog_ok and self.limits_ok and self.comms_ok and self.fault_code == 0
        return self.enabled and not self.estop_engaged and fine

    def set_fault(self, code: int) -> None:
        """Something is wrong: mode 2."""
        self.fault_code = code
        self.mode = 2

    def clear_faults(self) -> None:
        """Nothing is wrong any more: mode 0."""
        self.fault_code = 0
        self.mode = 0
