"""HTTP: a device that answers when it is asked, as bytes or as values picked out of JSON."""

from .json_sensor import JsonSensor
from .options import HttpOptions
from .picking import JsonField
from .poller import HttpCounts, HttpPoller
from .reading import HttpReading

__all__ = ["HttpCounts", "HttpOptions", "HttpPoller", "HttpReading", "JsonField", "JsonSensor"]
