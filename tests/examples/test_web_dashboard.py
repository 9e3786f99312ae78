"""The web dashboard, asked by a real HTTP client; one signal ends the server and the robot."""

from __future__ import annotations

import asyncio
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("fastapi")
uvicorn = pytest.importorskip("uvicorn")

from simulated.browser import port_of  # noqa: E402 - it needs that package

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "web_dashboard.py"


@pytest.mark.alone
def test_its_endpoints_answer_while_the_robot_keeps_its_rate() -> None:
    example = runpy.run_path(str(EXAMPLE))
    scheduler = example["scheduler"]

    async def wheels(client: Any) -> list[dict[str, float]]:
        found = []
        async with client.get("/wheels") as answer:
            assert answer.content_type == "text/event-stream"
            async for line in answer.content:
                if line.startswith(b"data: "):
                    found.append(json.loads(line[6:]))
                if len(found) == 10:
                    break
        return found

    async def main() -> list[float]:
        server = uvicorn.Server(
            uvicorn.Config(example["app"], port=0, ws="none", log_level="warning")
        )
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has nothing to wait for
            await asyncio.sleep(0.01)
        taken = []
        url = f"http://127.0.0.1:{port_of(server)}"
        async with aiohttp.ClientSession(url) as client:
            async with client.post("/speed/2.0") as answer:
                assert await answer.json() == {"taken": 1}
            seen = await wheels(client)
            assert seen[-1]["speed"] == 2.0
            assert seen == sorted(seen, key=lambda wheels: wheels["position"])
            nodes: dict[str, Any] = {}
            give_up = time.monotonic() + 1.5
            while time.monotonic() < give_up:
                begun = time.monotonic()
                async with client.get("/nodes") as answer:
                    nodes = await answer.json()
                taken.append(time.monotonic() - begun)
            assert nodes["motor"] > 20
        server.should_exit = True
        await serving
        assert not scheduler.topic("wheels").statistics().subscriptions  # the stream has left
        return sorted(taken)

    taken = asyncio.run(main())
    assert len(taken) > 50
    assert taken[len(taken) // 2] < 0.1
    report = scheduler.report
    assert report.reason == "it was cancelled"
    motor = report.statistics.nodes["motor"]
    assert motor.ok >= 0.9 * 50 * report.duration - 2


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_it(tmp_path: Path, signum: signal.Signals) -> None:
    """Beside a stream that has no end."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(EXAMPLE), "0"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stderr is not None
            for line in server.stderr:
                found = re.search(r"running on (http://127\.0\.0\.1:\d+)", line)
                if found:
                    break
            else:
                raise AssertionError("it does not serve")
            asyncio.run(stream_until_the_end(found[1], server, signum))
            said, errors = server.communicate(timeout=20)
        finally:
            server.kill()
    assert "ended: " in said
    assert "KeyboardInterrupt" not in errors  # uvicorn says that it has cancelled the stream
    assert "Warning" not in errors
    if signum is signal.SIGINT:
        assert "ended: SIGINT" in said
        assert server.returncode == 0
    else:
        assert server.returncode == -signal.SIGTERM  # as uvicorn ends without a robot


async def stream_until_the_end(
    url: str, server: subprocess.Popen[str], signum: signal.Signals
) -> None:
    events = 0
    async with aiohttp.ClientSession(url) as client, client.get("/wheels") as answer:
        try:
            async for line in answer.content:
                events += line.startswith(b"data: ")
                if events == 5:
                    events += 1
                    server.send_signal(signum)
        except aiohttp.ClientError:
            pass  # it was cut off
    assert events >= 5
