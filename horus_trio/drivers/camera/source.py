"""Where frames come from: a device by its number or path, a file, or an address in the network."""

from __future__ import annotations

import os
import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from ...arguments import is_whole
from ...errors import ConfigurationError

__all__ = ["Kind", "Source", "source_of"]

Kind: TypeAlias = Literal["device", "file", "address"]

ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True, slots=True)
class Source:
    """Where frames come from.

    Attributes:
        kind: What it is. A pipe counts as a file, until it is looked at.
        given: The number, path or address for OpenCV.
        text: What it is called in messages; without a password.
    """

    kind: Kind
    given: int | str
    text: str

    @property
    def path(self) -> str:
        """Of the device or file."""
        return f"/dev/video{self.given}" if isinstance(self.given, int) else self.given

    def is_video(self) -> bool:
        """Whether it is a file now that has a beginning and an end."""
        try:
            return self.kind == "file" and stat.S_ISREG(Path(self.path).stat().st_mode)
        except (OSError, ValueError):
            return False


def source_of(given: object) -> Source:
    """The source that a user names.

    Raises:
        ConfigurationError: It is none.
    """
    if is_whole(given, 0):
        return Source("device", given, str(given))
    text = os.fsdecode(given) if isinstance(given, (str, os.PathLike)) else ""
    if not text or "\0" in text or not _is_a_name(text):
        raise ConfigurationError(
            f"Camera(source={given!r:.80}): expected the number of a camera, such as 0 for "
            "/dev/video0, the path of a video, or an address, such as "
            '"http://192.168.0.7:8080/video" or "rtsp://…"'
        )
    address = ADDRESS.match(text)
    if address is None:
        kind: Kind = "device" if _is_device(text) else "file"
        # OpenCV takes a colon for the end of a protocol, but not in a whole path.
        return Source(kind, os.path.abspath(text), text)  # noqa: PTH100 - keeps symbolic links
    if address[1].lower() == "file":
        raise ConfigurationError(
            f"Camera(source={text!r:.80}): expected a file by its path, without file://"
        )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        if "@" in text:  # the error may have a part of a password
            raise ConfigurationError(
                f"Camera(source='{address[0]}…'): this is no address; in a name and a password "
                "/ is written as %2F, ? as %3F, # as %23, @ as %40"
            ) from None
        raise ConfigurationError(
            f"Camera(source={text!r:.80}): this is no address: {error}"
        ) from error
    if not host and port is None and not parts.netloc:
        raise ConfigurationError(
            f"Camera(source={text!r:.80}): expected a host after {address[0]}, such as "
            '"http://192.168.0.7:8080/video"'
        )
    return Source("address", text, _without_password(text))


def _is_a_name(text: str) -> bool:
    """Whether a file could be called so: there is no half of a character in it."""
    try:
        os.fsencode(text)
    except ValueError:
        return False
    return True


def _is_device(path: str) -> bool:
    """Whether that is a device on this machine, whether it is plugged in or not."""
    if sys.platform == "linux" and path.startswith(("/dev/video", "/dev/v4l/")):
        return True
    try:
        return stat.S_ISCHR(Path(path).stat().st_mode)
    except OSError:
        return False


def _without_password(address: str) -> str:
    parts = urlsplit(address)
    login, at, host = parts.netloc.rpartition("@")
    name, colon, _ = login.partition(":")
    return address.replace(parts.netloc, f"{name}:***@{host}", 1) if at and colon else address
