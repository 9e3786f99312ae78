"""What can be sent: text and bytes, up to a length; and lists of them."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import ConfigurationError

__all__ = ["checked_messages", "fault_of"]


def fault_of(message: object, max_message: int) -> str:
    """Why a message cannot be sent; empty if it can."""
    if isinstance(message, str):
        try:
            size = len(message) if message.isascii() else len(message.encode())
        except UnicodeEncodeError as error:
            return f"a message of text that is no valid Unicode ({error.reason}); send bytes"
    elif isinstance(message, (bytes, bytearray)):
        size = len(message)
    elif isinstance(message, memoryview):
        size = message.nbytes
    else:
        return (
            f"expected a message of text or bytes, got {type(message).__name__}: {message!r:.80}; "
            "encode it first, as in json.dumps(message)"
        )
    if size > max_message:
        return (
            f"a message of {size} bytes is longer than max_message={max_message}; send less, or "
            "several, or raise it"
        )
    return ""


def checked_messages(what: str, messages: object, max_message: int) -> tuple[str | bytes, ...]:
    """Those messages, if they are such.

    Raises:
        ConfigurationError: They are not.
    """
    if isinstance(messages, (str, bytes, bytearray, memoryview)) or not isinstance(
        messages, Iterable
    ):
        raise ConfigurationError(
            f'{what}: expected a list of messages, such as [\'{{"subscribe": "imu"}}\'], or a '
            f"plain function that returns one; got {messages!r:.80}"
        )
    given = tuple(messages)
    for message in given:
        if fault := fault_of(message, max_message):
            raise ConfigurationError(f"{what}: {fault}")
    return given
