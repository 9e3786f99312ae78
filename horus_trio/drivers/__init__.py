"""Drivers: devices that are safe to cancel at any await, and honest about a broken line.

A `Driver` opens, receives, sends and closes. `StreamDriver` puts a framing over a stream of bytes;
`SerialPort`, `TcpClient`, `TcpServer` and `Subprocess` are such. `Udp` has datagrams,
and `MqttClient` messages under topics.
"""

from .camera import Camera, CameraFormat, CameraStatistics, Frame, VideoEnded
from .can import CanBus, CanBusState, CanFilter, CanFrame, CanStatistics, SlcanOptions
from .driver import Driver, DriverState, DriverStatistics
from .errors import (
    ConnectFailed,
    DeviceGone,
    DriverError,
    FrameError,
    MissingExtra,
    QueryTimeout,
    ReceiveFailed,
    SendFailed,
    SendInterrupted,
    WrongReply,
)
from .files import (
    DirectoryWatch,
    Edge,
    EdgeInput,
    FileChange,
    FileEvent,
    FileTail,
    TailPosition,
)
from .framing import (
    Checked,
    Cobs,
    Crc,
    Delimited,
    FixedLength,
    Framing,
    Headed,
    LengthPrefixed,
    Lines,
    Nmea,
    Slip,
)
from .http import HttpCounts, HttpOptions, HttpPoller, HttpReading, JsonField, JsonSensor
from .mqtt import MqttClient, MqttMessage, MqttOptions, MqttSubscription
from .node import DriverNode
from .one_way import ReceiveOnlyDriver
from .process import Subprocess
from .query import QueryDriver
from .redis import (
    ChannelMessage,
    ConsumerGroup,
    RedisPubSub,
    RedisServer,
    RedisStream,
    StreamEntry,
)
from .sequence import LossCounter
from .serial import SerialPort
from .stream import StreamDriver
from .tcp import TcpClient, TcpServer
from .udp import Udp
from .websocket import WebSocketClient, WebSocketClosed
from .wire import Wire

__all__ = [
    "Camera",
    "CameraFormat",
    "CameraStatistics",
    "CanBus",
    "CanBusState",
    "CanFilter",
    "CanFrame",
    "CanStatistics",
    "ChannelMessage",
    "Checked",
    "Cobs",
    "ConnectFailed",
    "ConsumerGroup",
    "Crc",
    "Delimited",
    "DeviceGone",
    "DirectoryWatch",
    "Driver",
    "DriverError",
    "DriverNode",
    "DriverState",
    "DriverStatistics",
    "Edge",
    "EdgeInput",
    "FileChange",
    "FileEvent",
    "FileTail",
    "FixedLength",
    "Frame",
    "FrameError",
    "Framing",
    "Headed",
    "HttpCounts",
    "HttpOptions",
    "HttpPoller",
    "HttpReading",
    "JsonField",
    "JsonSensor",
    "LengthPrefixed",
    "Lines",
    "LossCounter",
    "MissingExtra",
    "MqttClient",
    "MqttMessage",
    "MqttOptions",
    "MqttSubscription",
    "Nmea",
    "QueryDriver",
    "QueryTimeout",
    "ReceiveFailed",
    "ReceiveOnlyDriver",
    "RedisPubSub",
    "RedisServer",
    "RedisStream",
    "SendFailed",
    "SendInterrupted",
    "SerialPort",
    "SlcanOptions",
    "Slip",
    "StreamDriver",
    "StreamEntry",
    "Subprocess",
    "TailPosition",
    "TcpClient",
    "TcpServer",
    "Udp",
    "VideoEnded",
    "WebSocketClient",
    "WebSocketClosed",
    "Wire",
    "WrongReply",
]
