"""MQTT, by paho's protocol over Trio's waiting."""

from .client import MqttClient
from .message import MqttMessage, MqttSubscription
from .options import MqttOptions

__all__ = ["MqttClient", "MqttMessage", "MqttOptions", "MqttSubscription"]
