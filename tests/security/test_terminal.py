"""What nodes log, raise and publish cannot forge a line on a terminal."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Screen, finished, wait_for_socket, write_program
from security.terminal import EVIL, HARMLESS, forged_lines, obeyed

import horus_trio as horus
from horus_trio.cli import main
from horus_trio.cli.console import Console
from horus_trio.cli.control import listening
from horus_trio.cli.events import Events
from horus_trio.logs import OffLoopLogger, PrintableFormatter


class Broken(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What a handler of the user's writes, with a format of the user's."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("horus_trio")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def is_one_entry(shown: str, records: int) -> bool:
    """Whether so many lines begin a record, and all others are indented."""
    lines = shown.rstrip("\n").split("\n")
    headings = ("Traceback (most recent call last):", "Stack (most recent call last):")
    begun = [line for line in lines if not line.startswith("    ") and line not in headings]
    return len(begun) == records and all(" horus_trio" in line for line in begun)


# Logs


@pytest.mark.parametrize("kind", EVIL)
async def test_what_a_node_logs_is_one_entry(kind: str, stream: io.StringIO) -> None:
    async def logs(node: horus.Node) -> None:
        node.log.warning("the device says %s", EVIL[kind])
        node.log.warning(f"the device says {EVIL[kind]}")  # noqa: G004 - as users do
        try:
            raise OSError(EVIL[kind])
        except OSError:
            node.log.exception("says %s", EVIL[kind], stack_info=True)
        node.request_stop()

    await horus.Scheduler().add(horus.Node("camera", tick=logs, rate=1)).run(5)
    shown = stream.getvalue()
    assert shown.count("forged") >= 4
    assert not obeyed(shown.replace("\t", ""))
    assert is_one_entry(shown, 3)


@pytest.mark.parametrize("kind", EVIL)
async def test_what_a_node_raises_is_one_entry(kind: str, stream: io.StringIO) -> None:
    async def fails(node: horus.Node) -> None:
        raise OSError(EVIL[kind])

    def shutdown() -> None:
        raise OSError(EVIL[kind])

    node = horus.Node("camera", tick=fails, shutdown=shutdown, critical=True)
    with pytest.raises(horus.RunFailed) as caught:
        await horus.Scheduler().add(node, failure_policy=horus.Fatal()).run(5)
    shown, report = stream.getvalue(), str(caught.value.report)
    assert "forged" in shown
    assert "forged" in report
    assert not obeyed(shown + report)
    assert not forged_lines(shown)
    assert not forged_lines(report)
    assert all(line.startswith("    ") or " horus_trio" in line for line in shown.splitlines())
    assert str(caught.value.exceptions[0]) == EVIL[kind]  # the error itself is as it was


def test_a_robot_without_handlers_writes_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own handler of last resort, outside a run."""
    stream = io.StringIO()
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging, "lastResort", logging.StreamHandler(stream))
    log = OffLoopLogger(logging.getLogger("horus_trio.node.bare"))
    log.warning("says %s", EVIL["clears"])
    log.warning("says %s", EVIL["breaks the line"])
    assert stream.getvalue() == "says \\x1b[2J\\x1b[Hforged\nsays x\n    forged\n"


def test_a_record_that_cannot_be_formatted_fails_nobody(stream: io.StringIO) -> None:
    async def logs(node: horus.Node) -> None:
        node.log.warning("%d \x1b[2J", "x")
        node.request_stop()

    report = horus.Scheduler().add(horus.Node("camera", tick=logs, rate=1)).run(5)
    assert report.statistics.nodes["camera"].errors == 0
    assert "cannot be formatted: TypeError(" in stream.getvalue()
    assert not obeyed(stream.getvalue())


def test_records_that_are_harmless_are_as_they_were(stream: io.StringIO) -> None:
    log = OffLoopLogger(logging.getLogger("horus_trio.node.x"))
    for name in HARMLESS:
        log.warning("%s: a\tb", name)
        assert f": {name}: a\tb\n" in stream.getvalue()


def test_the_commands_show_the_logs_of_all_loggers_so() -> None:
    formatter = PrintableFormatter("%(levelname)s %(message)s")
    made = logging.makeLogRecord({"levelname": "INFO", "msg": "a\x1b[2J\nINFO forged"})
    assert formatter.format(made) == "INFO a\\x1b[2J\n    INFO forged"


# Reports


def test_an_error_without_a_text_does_not_take_the_report_away() -> None:
    async def fails(node: horus.Node) -> None:
        raise Broken

    scheduler = horus.Scheduler()
    scheduler.add(horus.Node("camera", tick=fails, failure_policy=horus.Fatal()))
    events = Events()
    scheduler.on_result(events.result)
    with pytest.raises(horus.RunFailed) as caught:
        scheduler.run(5)
    said = "Broken: <its text cannot be had: ValueError>"
    assert f"FAILED camera (ended the run): {said}" in str(caught.value.report)
    assert said.partition(" ")[2] in events.take()[0]
    assert scheduler.statistics().callback_errors == 0


@pytest.mark.parametrize("kind", EVIL)
async def test_a_reason_is_one_entry(kind: str) -> None:
    async def stops(node: horus.Node) -> None:
        dumps.append(scheduler.dump(io.StringIO()))
        scheduler.emergency_stop(EVIL[kind])
        dumps.append(scheduler.dump(io.StringIO()))
        scheduler.stop(EVIL[kind])

    dumps: list[str] = []
    scheduler = horus.Scheduler().add(horus.Node("camera", tick=stops, rate=1))
    report = await scheduler.run(5)
    for text in (*dumps, str(report), str(scheduler.emergency)):
        assert not obeyed(text)
        assert not forged_lines(text)
    assert "forged" in dumps[1]
    assert str(report).count("forged") == 2 * EVIL[kind].count("forged")
    assert report.reason == EVIL[kind]  # for programs it is as it was


@pytest.mark.parametrize("kind", EVIL)
def test_events_are_lines(kind: str) -> None:
    events = Events()
    with events.listening():
        OffLoopLogger(logging.getLogger("horus_trio.node.x")).warning("%s", EVIL[kind])
    # Of another logger; not through it, as pytest would keep the text as it is.
    events.emit(logging.makeLogRecord({"name": "library", "msg": EVIL[kind]}))
    lines = events.take()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


# The commands


class Tv(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", EVIL)
def test_a_console_obeys_its_own_styles_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console = Console(screen := Tv())
    console.line(console.styled("title ", "bold", "red") + EVIL[kind])
    console.draw([console.styled("row ", "dim") + EVIL[kind]] * 2, above=[f"said {EVIL[kind]}"])
    shown = screen.getvalue()
    assert "\x1b[1;31mtitle \x1b[0m" in shown
    assert shown.count("forged") == 4 * EVIL[kind].count("forged")
    if kind != "conceals":
        assert not obeyed(shown)
    assert not forged_lines(shown)


def test_a_programs_colours_stay_and_end_with_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console = Console(screen := Tv())
    console.draw(["row"], above=["\x1b[38;5;9mred", "\x1b[8mhidden"])
    shown = screen.getvalue()
    assert "\x1b[38;5;9mred" in shown
    assert shown.index("\x1b[8m") < shown.index("\x1b[0m") < shown.index("row")


@pytest.mark.parametrize("kind", EVIL)
def test_a_robots_messages_are_echoed(
    kind: str, runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def sends(node: horus.Node) -> None:
        node.send("scan", {EVIL[kind]: EVIL[kind], "all": HARMLESS})

    scheduler = horus.Scheduler().add(horus.Node("lidar", tick=sends))
    with horus.background(scheduler), listening(scheduler):
        assert main(["echo", "scan", "--count", "1"]) == 0
    shown = capsys.readouterr().out
    assert not obeyed(shown)
    assert json.loads(shown) == {EVIL[kind]: EVIL[kind], "all": HARMLESS}
    assert all(name in shown for name in HARMLESS)


ROBOT = f"""
    import horus_trio as horus, logging, sys

    EVIL = {dict(EVIL)!a}

    async def talks(node):
        for text in EVIL.values():
            node.send("scan", text)
            node.log.warning("says %s", text)
            logging.getLogger("library").warning("says %s", text)

    async def fails(node):
        raise OSError("".join(EVIL.values()))

    def nodes():
        policy = horus.Restart(max_restarts=1, backoff=0.01)
        yield horus.Node("talks", tick=talks, rate=5)
        yield horus.Node("fails", tick=fails, rate=5, failure_policy=policy, critical=True)
"""
"""Its nodes say and raise everything that attacks a terminal."""


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--plain"], ["--quiet"]], ids=["live", "plain", "quiet"])
def test_a_robot_on_a_real_terminal(options: list[str], tmp_path: Path, runtime: Path) -> None:
    program = write_program(tmp_path, ROBOT)
    with Screen("run", f"{program}:nodes", "--duration", "2", *options) as screen:
        shown = screen.read()
    assert shown.count("forged") > len(EVIL)
    assert not obeyed(shown.replace("\t", ""))
    assert not forged_lines(shown.replace("\x1b[K", ""))
    assert "node 'fails' failed" in shown


@pytest.mark.slow
def test_looking_into_it_on_a_real_terminal(tmp_path: Path, runtime: Path) -> None:
    # Nobody reads its terminal meanwhile, so nothing may log there on the loop.
    quiet = ROBOT.replace("critical=True", "critical=False").replace('"library"', '"horus_trio.x"')
    program = write_program(tmp_path, quiet.replace(".warning(", ".debug("))
    with Screen("run", f"{program}:nodes", "--plain") as robot:
        wait_for_socket(runtime)
        for words in (["nodes"], ["topics"], ["dump"], ["echo", "scan", "--count", "15"]):
            with Screen(*words) as screen:
                shown = screen.read()
            assert shown
            assert not obeyed(shown)
            assert not forged_lines(shown)
        code, _, _ = finished("stop", EVIL["clears"])
        assert code == 0
        shown = robot.read()
    assert "forged" in shown
    assert not obeyed(shown.replace("\t", ""))


def plain(values: Any) -> Any:
    return json.loads(json.dumps(values))


@pytest.mark.parametrize("kind", EVIL)
async def test_as_json_everything_is_as_it_was(kind: str) -> None:
    report = await horus.Scheduler().add(horus.Node("a", tick=lambda node: None)).run(0.01)
    changed = type(report)(
        name=report.name, reason=EVIL[kind], duration=1.0, statistics=report.statistics
    )
    assert plain(changed.to_dict())["reason"] == EVIL[kind]
    assert json.dumps(changed.to_dict()).isprintable()
