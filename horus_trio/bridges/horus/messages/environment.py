"""Messages from sensors of the surroundings and of the robot's own state."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING

from .kinds import F32, F64, U8, U16, U64, f32
from .message import Message, expect, message

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "BatteryState",
    "FluidPressure",
    "Illuminance",
    "MagneticField",
    "NavSatFix",
    "RangeSensor",
    "Temperature",
]

_TIME = "timestamp_ns={m.timestamp_ns}"


@message(f"range={{m.range:.3f}}, type={{m.sensor_type}}, {_TIME}", topic="range")
class RangeSensor(Message):
    """One distance (m), from ultrasound (0) or infrared (1)."""

    range: F32 = 0.0
    sensor_type: U8 = 0
    field_of_view: F32 = 0.1
    min_range: F32 = 0.02
    max_range: F32 = 4.0
    timestamp_ns: U64 = 0

    def is_valid(self) -> bool:
        """Whether the distance is within the limits."""
        return self.min_range <= self.range <= self.max_range


@message(
    f"voltage={{m.voltage:.2f}}V, {{m.percentage:.1f}}%, status={{m.power_supply_status}}, {_TIME}",
    topic="battery",
)
class BatteryState(Message):
    """A battery: volts, percent, amperes and degrees Celsius."""

    voltage: F32 = 0.0
    percentage: F32 = 0.0
    current: F32 = 0.0
    temperature: F32 = 25.0
    power_supply_status: U8 = 0
    timestamp_ns: U64 = 0

    def is_low(self, threshold: float) -> bool:
        """Whether less than `threshold` percent are left."""
        return self.percentage < threshold

    def is_critical(self) -> bool:
        """Whether less than 10 percent are left."""
        return self.percentage < 10.0

    def time_remaining(self) -> float | None:
        """None: it is not known."""
        return None


@message(
    "lat={m.latitude:.6f}, lon={m.longitude:.6f}, alt={m.altitude:.1f}, "
    f"sats={{m.satellites_visible}}, {_TIME}",
    topic="gps",
)
class NavSatFix(Message):
    """A place on the earth (degrees, m), from satellites."""

    latitude: F64 = 0.0
    longitude: F64 = 0.0
    altitude: F64 = 0.0
    timestamp_ns: U64 = 0
    status: U8 = dataclasses.field(default_factory=lambda: 1, init=False)
    satellites_visible: U16 = dataclasses.field(default_factory=lambda: 0, init=False)
    hdop: F32 = dataclasses.field(default_factory=lambda: 99.9, init=False)
    speed: F32 = dataclasses.field(default_factory=lambda: 0.0, init=False)
    heading: F32 = dataclasses.field(default_factory=lambda: 0.0, init=False)

    @classmethod
    def from_coordinates(cls, lat: float, lon: float, alt: float) -> Self:
        """A place, now."""
        return cls(lat, lon, alt, time.time_ns())

    def has_fix(self) -> bool:
        """Whether there is a fix."""
        return self.status > 0

    def is_valid(self) -> bool:
        """Whether there are such coordinates."""
        inside = -90.0 <= self.latitude <= 90.0 and -180.0 <= self.longitude <= 180.0
        return inside and math.isfinite(self.altitude)

    def horizontal_accuracy(self) -> float:
        """About how far off it is (m): 5 m for each unit of `hdop`."""
        return f32(self.hdop * 5.0)

    def distance_to(self, other: NavSatFix) -> float:
        """How far away `other` is on a sphere of the earth's size (m), by the haversine formula."""
        expect(NavSatFix, other)
        first, second = math.radians(self.latitude), math.radians(other.latitude)
        up = math.sin((second - first) / 2.0)
        along = math.sin(math.radians(other.longitude - self.longitude) / 2.0)
        a = up * up + math.cos(first) * math.cos(second) * along * along
        return 6_371_000.0 * 2.0 * math.atan2(math.sqrt(a), math.sqrt(1.0 - a))


@message(f"x={{m.x:.6f}}, y={{m.y:.6f}}, z={{m.z:.6f}}, {_TIME}", topic="mag")
class MagneticField(Message):
    """A magnetic field (T)."""

    x: F64 = 0.0
    y: F64 = 0.0
    z: F64 = 0.0
    timestamp_ns: U64 = 0


@message(f"{{m.temperature:.2f}}°C, {_TIME}", topic="temperature")
class Temperature(Message):
    """A temperature (degrees Celsius)."""

    temperature: F64 = 0.0
    variance: F64 = 0.0
    timestamp_ns: U64 = 0


@message(f"{{m.pressure:.1f}} Pa, {_TIME}", topic="pressure")
class FluidPressure(Message):
    """A pressure (Pa)."""

    pressure: F64 = 0.0
    variance: F64 = 0.0
    timestamp_ns: U64 = 0


@message(f"{{m.illuminance:.1f}} lux, {_TIME}", topic="illuminance")
class Illuminance(Message):
    """How bright it is (lx)."""

    illuminance: F64 = 0.0
    variance: F64 = 0.0
    timestamp_ns: U64 = 0
