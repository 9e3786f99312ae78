"""Lines of text."""

from __future__ import annotations

from ...errors import ConfigurationError
from ..errors import FrameError
from .delimited import Delimited
from .framing import MAX_FRAME

__all__ = ["Lines"]


class Lines(Delimited):
    """Lines of text, as bytes; sent with `ending`, received with or without a carriage return.

    Arguments:
        ending: What ends a line that is sent: a line feed, or carriage return and line feed.
        max_frame: Bytes a line may have, with its ending.
    """

    def __init__(self, ending: bytes = b"\n", *, max_frame: int = MAX_FRAME) -> None:
        if ending not in (b"\n", b"\r\n"):
            raise ConfigurationError(
                f'Lines(ending={ending!r}): expected b"\\n" or b"\\r\\n"; Delimited(…) takes others'
            )
        super().__init__(b"\n", max_frame=max_frame)
        self.ending: bytes = ending

    def _arguments(self) -> list[str]:
        _delimiter, *others = super()._arguments()
        return others if self.ending == b"\n" else [repr(self.ending), *others]

    def _wrap(self, message: bytes) -> bytes:
        if b"\n" in message:
            raise FrameError(
                f"a line feed is in the line {message!r:.80}, which would arrive as two; send "
                "two lines"
            )
        if message.endswith(b"\r") and self.ending == b"\n":
            raise FrameError(
                f"the line {message!r:.80} ends with a carriage return, which would be taken for "
                'part of its ending; take it off, or use Lines(b"\\r\\n")'
            )
        return message + self.ending

    def _open(self, pieces: list[bytes]) -> list[bytes]:
        return [line.removesuffix(b"\r") for line in pieces]
