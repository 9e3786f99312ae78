"""What is written, to a terminal and elsewhere."""

from __future__ import annotations

import io
import logging

import pytest

import horus_trio as horus
from horus_trio.cli.console import Console, cut
from horus_trio.cli.demo.failures import CountedEvents


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "4")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


@pytest.mark.parametrize(
    ("line", "columns", "shown"),
    [
        ("four", 4, "four"),
        ("four", 2, "fo"),
        ("\x1b[31mred\x1b[0m", 2, "\x1b[31mre\x1b[0m"),
        ("a\x1b[1mb\x1b[0mc", 3, "a\x1b[1mb\x1b[0mc"),
        ("a\x1b[1mb\x1b[0mc", 1, "a\x1b[1m\x1b[0m"),
    ],
)
def test_lines_are_cut_between_escape_sequences(line: str, columns: int, shown: str) -> None:
    assert cut(line, columns) == shown


def test_what_is_no_terminal_gets_plain_lines() -> None:
    stream = io.StringIO()
    console = Console(stream)
    console.line(console.styled("text", "bold", "red"))
    assert not console.live
    assert stream.getvalue() == "text\n"


def test_a_terminal_gets_colour_and_pictures(terminal: Terminal) -> None:
    console = Console(terminal)
    assert console.live
    assert console.styled("text", "bold", "red") == "\x1b[1;31mtext\x1b[0m"
    console.draw(["one", "two"])
    console.draw(["three"])
    first, second = terminal.getvalue().split("\r")[1:]
    assert "one" in first
    assert "\x1b[2A" not in first
    assert "\x1b[2A" in second  # back to where the first picture began


def test_a_picture_is_cut_to_the_terminal(terminal: Terminal) -> None:
    console = Console(terminal)
    console.draw(["x" * 50] * 10)
    assert terminal.getvalue().count("\n") == 3
    assert "x" * 19 in terminal.getvalue()
    assert "x" * 20 not in terminal.getvalue()


@pytest.mark.parametrize(("variable", "value"), [("TERM", "dumb"), ("NO_COLOR", "1")])
def test_the_user_may_want_no_colour(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert Console(terminal).styled("text", "bold") == "text"


def test_plain_means_lines_and_nowhere_means_nothing(terminal: Terminal) -> None:
    assert not Console(terminal, plain=True).live
    silent = Console(None)
    silent.line("text")
    silent.draw(["text"])
    assert not silent.live


def test_events_are_what_goes_wrong_and_what_nodes_log() -> None:
    events = CountedEvents()
    with events.listening():
        logging.getLogger("horus_trio.node.imu").info("connected\nand more", extra={"node": "imu"})
        logging.getLogger("horus_trio").error("the report says it")
    logging.getLogger("horus_trio.node.imu").info("nobody listens")
    for seq, status in enumerate(horus.TickStatus, start=1):
        error = OSError("no line") if status is horus.TickStatus.ERROR else None
        events.result(
            horus.AsyncResult(
                node="imu",
                seq=seq,
                status=status,
                scheduled=0.0,
                started=0.0,
                duration=1.0,
                error=error or TimeoutError("too long"),
            )
        )
    assert [line.split(" s  ")[1] for line in events.take()] == [
        "imu        connected",
        "imu        tick 2: no line",
        "imu        tick 3 was timed out after 1.0 s",
        "imu        tick 4 was abandoned after 1.0 s",
    ]
    assert events.take() == []
    assert events.failures == {("imu", "no line"): 1, ("imu", "too long"): 2}
