"""Causes of the errors of bridges and commands."""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from pathlib import Path
from unittest import mock

from error_causes.table import causes, raised

from horus_trio import bridges
from horus_trio.bridges import horus as facade
from horus_trio.bridges.horus.errors import TopicRefused
from horus_trio.bridges.horus.refusals import Refused
from horus_trio.bridges.horus_process.conversion import conversion
from horus_trio.bridges.horus_process.ring import Ring
from horus_trio.cli.control import ControlError
from horus_trio.cli.control.client import choose
from horus_trio.cli.errors import CommandFailed
from horus_trio.cli.target import load


class OtherMessages:
    """HORUS's extension module as far as a ring knows it; the topic has other messages."""

    @staticmethod
    def Topic(*_: object) -> object:  # noqa: N802 - HORUS's name
        raise RuntimeError("type mismatch on 'scan': it was opened as CmdVel")


@causes(bridges.HorusTopicError)
def _(folder: Path) -> BaseException:
    topic = bridges.HorusTopic("scan")
    ring = Ring(OtherMessages, topic, conversion(OtherMessages, topic))
    return raised(bridges.HorusTopicError, ring.open)


@causes(facade.HorusNotFoundError)
def _(folder: Path) -> BaseException:
    scheduler = facade.Scheduler()
    return raised(facade.HorusNotFoundError, lambda: scheduler.get_node_stats("lidar"))


@causes(facade.HorusTimeoutError)
def _(folder: Path) -> BaseException:
    topic = facade.Topic("lidar.scan", capacity=1)
    reader = facade.Topic("lidar.scan", capacity=1)
    reader.recv()
    topic.send({"n": 1})
    return raised(facade.HorusTimeoutError, lambda: topic.send_blocking({"n": 2}, 0.01))


@causes(facade.OutOfScope)
def _(folder: Path) -> BaseException:
    module = facade.install()
    try:
        return raised(facade.OutOfScope, lambda: module.Image(480, 640, "rgb8"))
    finally:
        facade.uninstall()


@causes(facade.ModuleOutOfScope)
def _(folder: Path) -> BaseException:
    facade.install()
    try:
        return raised(facade.ModuleOutOfScope, lambda: importlib.import_module("horus.library"))
    finally:
        facade.uninstall()


@causes(facade.InstallError)
def _(folder: Path) -> BaseException:
    own = types.ModuleType("horus")
    own.__file__ = "/opt/robot/lib/horus/__init__.py"
    with mock.patch.dict(sys.modules, {"horus": own}):
        return raised(facade.InstallError, facade.install)


@causes(Refused)
def _(folder: Path) -> BaseException:
    return raised(Refused, lambda: facade.Scheduler().run(duration=-1))


@causes(TopicRefused)
def _(folder: Path) -> BaseException:
    return raised(TopicRefused, lambda: facade.Topic("scan", capacity=0))


@causes(CommandFailed)
def _(folder: Path) -> BaseException:
    with contextlib.chdir(folder):
        Path("robot.py").write_text("import horus_trio\n")
        return raised(CommandFailed, lambda: load("robto.py"))


@causes(ControlError)
def _(folder: Path) -> BaseException:
    folder.chmod(0o700)
    with mock.patch.dict("os.environ", HORUS_TRIO_RUNTIME_DIR=str(folder)):
        return raised(ControlError, lambda: choose(None))
