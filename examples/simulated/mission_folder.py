"""A folder into which an operator, made up, puts missions as files of JSON."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import trio


@contextlib.asynccontextmanager
async def mission_folder() -> AsyncIterator[Path]:
    """Its path. One mission is there already."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "charge.json").write_text('{"goals": ["dock"]}')
        async with trio.open_nursery() as nursery:
            nursery.start_soon(put_missions, folder)
            yield folder
            nursery.cancel_scope.cancel()


async def put_missions(folder: Path) -> None:
    """One that is written here, one that is moved here when it is complete, one that is no JSON."""
    await trio.sleep(0.3)
    (folder / "patrol.json").write_text('{"goals": ["gate", "hall", "gate"]}')
    await trio.sleep(0.3)
    (folder / "fetch.tmp").write_text('{"goals": ["kitchen", "desk"]}')
    (folder / "fetch.tmp").rename(folder / "fetch.json")
    await trio.sleep(0.3)
    (folder / "typo.json").write_text('{"goals": [')
