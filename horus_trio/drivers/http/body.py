"""The body of an answer: gathered up to a limit, after it is decompressed."""

from __future__ import annotations

import zlib

from .trouble import BadAnswer

__all__ = ["Body"]

GZIP = zlib.MAX_WBITS | 16


class Body:
    """Bytes of one answer.

    Arguments:
        encoding: What ``Content-Encoding`` says.
        max_bytes: How many bytes it may have, on the line and when it is decompressed.

    Raises:
        BadAnswer: It is compressed in another way than asked for.
    """

    def __init__(self, encoding: str, max_bytes: int) -> None:
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise BadAnswer(
                f"answers with Content-Encoding {encoding[:40]!r}, though gzip is all it was "
                "offered"
            )
        self._zipped = encoding in ("gzip", "x-gzip")
        self._unzip = zlib.decompressobj(GZIP)
        self._max_bytes = max_bytes
        self._came = 0
        self._data = bytearray()

    @property
    def came(self) -> int:
        """Bytes that were on the line."""
        return self._came

    def announce(self, length: int) -> None:
        """So much will come.

        Raises:
            BadAnswer: That is too much.
        """
        if length > self._max_bytes:
            raise self._too_large()

    def feed(self, data: bytes) -> None:
        """Some more.

        Raises:
            BadAnswer: It is too large, or not compressed as it says.
        """
        self._came += len(data)
        if self._came > self._max_bytes:
            raise self._too_large()
        if not self._zipped:
            self._data += data
            return
        try:
            while data:
                if self._unzip.eof:  # several archives in a row are one
                    self._unzip = zlib.decompressobj(GZIP)
                room = self._max_bytes + 1 - len(self._data)
                self._data += self._unzip.decompress(data, room)
                if len(self._data) > self._max_bytes:
                    raise self._too_large()
                data = self._unzip.unused_data or self._unzip.unconsumed_tail
        except zlib.error as error:
            raise BadAnswer(f"answers with what is no valid gzip ({error})", error) from error

    def whole(self) -> bytes:
        """All of it, once no more comes.

        Raises:
            BadAnswer: Its end is missing.
        """
        if self._zipped and self._came and not self._unzip.eof:
            raise BadAnswer("answers with gzip whose end is missing")
        return bytes(self._data)

    def _too_large(self) -> BadAnswer:
        return BadAnswer(
            f"answers with more than max_bytes={self._max_bytes} bytes: raise that, or ask for less"
        )
