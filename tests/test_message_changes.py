"""Development mode tells a publisher that changes a message after it was sent."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import horus_trio as horus


@pytest.fixture
def checking_hub() -> horus.Hub[Any]:
    hub: horus.Hub[Any] = horus.Hub("pose")
    hub._inspect = hub._check_unchanged  # what `python -X dev` sets
    return hub


def test_a_message_that_was_changed_is_named_at_the_next_send(
    checking_hub: horus.Hub[Any],
) -> None:
    pose = {"x": 1.0}
    checking_hub.send(pose)
    pose["x"] = 2.0
    with pytest.raises(horus.MessageChanged, match=r"'pose': message 1 was changed .*'x': 2.0"):
        checking_hub.send({"x": 3.0})


def test_a_buffer_that_is_used_again_is_noticed(checking_hub: horus.Hub[Any]) -> None:
    buffer = [0]
    checking_hub.send(buffer)
    buffer[0] = 1
    with pytest.raises(horus.MessageChanged):
        checking_hub.send(buffer)


def test_equal_and_new_messages_pass(checking_hub: horus.Hub[Any]) -> None:
    pose = {"x": 1.0}
    for message in (pose, pose, {"x": 1.0}, None, [1], None):
        checking_hub.send(message)
    assert checking_hub.statistics().sent == 6


def test_what_cannot_be_compared_is_not_checked(checking_hub: horus.Hub[Any]) -> None:
    checking_hub.send(lambda: None)
    checking_hub.send(lambda: None)
    assert checking_hub.statistics().sent == 2


@pytest.mark.parametrize(("options", "expected"), [((), "sent 2"), (("-X", "dev"), "changed")])
def test_the_switch_is_development_mode(options: tuple[str, ...], expected: str) -> None:
    program = (
        "import horus_trio as h; hub = h.Hub('x'); d = [1]; hub.send(d); d[0] = 2\n"
        "try: hub.send(d); print('sent', hub.statistics().sent)\n"
        "except h.MessageChanged: print('changed')"
    )
    printed = subprocess.run(
        [sys.executable, *options, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    assert expected in printed
