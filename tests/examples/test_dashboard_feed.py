"""The dashboard feed: what the robot sends is on the page, in a real browser, and orders get back.

The browser is spoken to over its own WebSocket, with the driver that the example is about.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import runpy
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import horus_trio as horus
from horus_trio.drivers import WebSocketClient

pytest.importorskip("trio_websocket")

from simulated.dashboard import Dashboard  # it needs that package

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "dashboard_feed.py"

PATIENCE = 60.0
"""Seconds that a browser may take for what takes it one."""


def test_the_feed_survives_a_restart_of_the_dashboard(capsys: pytest.CaptureFixture[str]) -> None:
    scheduler, dashboard = trio.run(runpy.run_path(str(EXAMPLE))["main"])
    said = capsys.readouterr().out
    assert said.count("the dashboard runs") == 2
    assert said.count('the dashboard hears {"robot": "arm"}') == 2
    assert said.count("the robot has no dashboard") == 1
    assert dashboard.told > 10
    assert not dashboard.robots
    feed = scheduler.statistics().nodes["feed"]
    assert feed.restarts >= 1


class Browser:
    """A page of Chromium, by its devtools protocol."""

    def __init__(self, devtools: WebSocketClient) -> None:
        self.devtools = devtools
        self.session: str | None = None
        self._numbers = itertools.count(1)

    async def do(self, method: str, **parameters: Any) -> Any:
        """What it answers to a command."""
        number = next(self._numbers)
        command: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self.session is not None:
            command["sessionId"] = self.session
        await self.devtools.send(json.dumps(command))
        while True:
            message = json.loads(await self.devtools.receive())
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    async def show(self, url: str) -> None:
        """Open a page."""
        target = await self.do("Target.createTarget", url=url)
        attached = await self.do("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]

    async def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        answer = await self.do("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    async def text(self, element: str) -> str:
        """What an element shows; empty while there is none."""
        shown = await self.run(f"document.getElementById('{element}')?.textContent ?? ''")
        return str(shown)


@contextlib.asynccontextmanager
async def open_browser(folder: Path) -> AsyncIterator[Browser]:
    """Chromium without a window, and without any network but this machine's own."""
    command = [
        shutil.which("chromium") or "chromium",
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        f"--user-data-dir={folder}",
        "--remote-debugging-port=0",
        "about:blank",
    ]
    with subprocess.Popen(  # noqa: ASYNC220 - it is started in a moment
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as chromium:
        try:
            told = folder / "DevToolsActivePort"
            while not (told.exists() and told.read_text().count("\n") == 1):
                assert chromium.poll() is None, "it has ended"
                await trio.sleep(0.05)
            port, path = told.read_text().split("\n")
            url = f"ws://127.0.0.1:{port}{path}"
            async with WebSocketClient(url, max_message=2**24) as devtools:
                yield Browser(devtools)
        finally:
            os.killpg(chromium.pid, signal.SIGKILL)


async def until_true(what: Callable[[], Any]) -> Any:
    """Wait for what a browser makes true, and return it."""
    while not (value := await what()):  # noqa: ASYNC110 - it is another process that makes it true
        await trio.sleep(0.05)
    return value


async def test_the_page_shows_what_the_robot_sends_and_orders_get_back(
    tmp_path: Path, require: Callable[[str, bool, str], None]
) -> None:
    require("chromium", shutil.which("chromium") is not None, "apt install chromium")
    example = runpy.run_path(str(EXAMPLE))
    dashboard = Dashboard()
    robot = example["Robot"]()
    scheduler = horus.Scheduler(signals=False)
    sent: set[str] = set()

    async def collect() -> None:
        async for status in scheduler.topic("status").subscribe():
            sent.add(f"{status['battery']:.2f}")

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(dashboard.run)
            nursery.start_soon(collect)
            scheduler.add(robot)
            scheduler.add(example["Feed"](f"ws://127.0.0.1:{dashboard.port}/robot"))
            await nursery.start(scheduler.run)
            async with open_browser(tmp_path) as browser:
                await browser.show(f"http://127.0.0.1:{dashboard.page_port}")

                async def battery() -> str:
                    text = await browser.text("battery")
                    return text if text not in ("", "?") else ""

                first = await until_true(battery)
                assert first in sent

                async def another() -> bool:
                    return await battery() not in ("", first)

                await until_true(another)
                assert await browser.text("position") != "?"

                running.cancel()
                await trio.sleep(0.2)
                await nursery.start(dashboard.run)
                await browser.run("show('battery', '?')")
                again = await until_true(battery)
                assert again in sent

                await browser.run("document.querySelectorAll('button')[1].click()")

                async def stands() -> bool:
                    return not robot.drives

                await until_true(stands)
                await trio.sleep(0.3)
                last = robot.driven
                shown = f"{12.6 - last / 100:.2f}"

                async def is_shown() -> bool:
                    return await battery() == shown

                await until_true(is_shown)
                assert robot.driven == last
            scheduler.stop()
            nursery.cancel_scope.cancel()
