"""A stream needs a framing, and says so where it is made."""

from __future__ import annotations

from typing import Any

import pytest

from horus_trio import ConfigurationError
from horus_trio.drivers import Lines, Subprocess, TcpClient, TcpServer


@pytest.mark.parametrize("framing", [None, Lines, "lines"], ids=["None", "the class", "text"])
@pytest.mark.parametrize(
    "make",
    [
        lambda framing: TcpClient("127.0.0.1", 5025, framing=framing),
        lambda framing: TcpServer("127.0.0.1", 5025, framing=framing),
        lambda framing: Subprocess(["cat"], framing=framing),
    ],
    ids=["client", "server", "subprocess"],
)
def test_a_framing_is_an_instance(make: Any, framing: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"expected a Framing, such as Lines\(\)"):
        make(framing)
