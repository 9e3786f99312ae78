"""The facade at ``horus``: found by programs, refused beside HORUS's own package, taken away."""

from __future__ import annotations

import importlib
import inspect
import sys
import types
from collections.abc import Callable, Iterator

import pytest
from bridges.differential import Observed

from horus_trio.bridges import horus
from horus_trio.bridges.horus import InstallError, ModuleOutOfScope, OutOfScope, _horus
from horus_trio.bridges.horus.messages import MESSAGES
from horus_trio.bridges.horus.outside import OUTSIDE


@pytest.fixture(autouse=True)
def without_horus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test of this process may have imported HORUS itself."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "horus"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def installed() -> Iterator[types.ModuleType]:
    yield horus.install()
    horus.uninstall()


def test_it_is_there_once_and_gone_again() -> None:
    module = horus.install()
    assert horus.install() is module
    assert importlib.import_module("horus") is module
    assert importlib.import_module("horus._horus") is module._horus
    assert module.Node is horus.Node
    assert module._horus.Topic is horus.Topic
    assert not hasattr(module, "install")
    horus.uninstall()
    horus.uninstall()
    assert "horus" not in sys.modules
    assert "horus._horus" not in sys.modules


def test_all_names(installed: types.ModuleType) -> None:
    everything: dict[str, object] = {}
    exec("from horus import *", everything)  # noqa: S102 - as programs do
    assert set(horus.__all__) - {"install", "uninstall", "InstallError", "ModuleOutOfScope"} <= set(
        everything
    )
    assert {"Image", "TransformFrame", "Waypoint", "drivers"} <= set(everything)
    with pytest.raises(AttributeError, match="horus_trio's facade of HORUS"):
        installed.nonsense  # noqa: B018


def test_what_is_there_is_not_out_of_scope() -> None:
    assert set(horus.__all__).isdisjoint(OUTSIDE)
    assert set(MESSAGES) <= set(horus.__all__)


@pytest.mark.parametrize("module", ["horus.library", "horus.library.messages", "horus.cli"])
def test_other_modules_are_out_of_scope(installed: types.ModuleType, module: str) -> None:
    with pytest.raises(ModuleOutOfScope, match=f"{module.rsplit('.messages')[0]} is out of scope"):
        importlib.import_module(module)
    assert issubclass(ModuleOutOfScope, ImportError)


def test_what_is_out_of_scope_can_be_imported_and_not_used(installed: types.ModuleType) -> None:
    with pytest.raises(OutOfScope, match=r"horus\.Image is not part of horus_trio"):
        installed.Image(480, 640, "rgb8")
    with pytest.raises(OutOfScope, match=r"horus\.drivers is not part of horus_trio"):
        installed.drivers.load()
    with pytest.raises(OutOfScope, match="send dicts"):
        installed.Waypoint()


def test_beside_horus_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    own = types.ModuleType("horus")
    own.__file__ = "/somewhere/horus/__init__.py"
    monkeypatch.setitem(sys.modules, "horus", own)
    with pytest.raises(InstallError, match=r"imported already, from /somewhere/horus/__init__\.py"):
        horus.install()
    horus.uninstall()
    assert sys.modules["horus"] is own


def test_a_program(on_facade: Callable[[str], Observed]) -> None:
    observed = on_facade("""
        from horus import Node, run, us, CmdVel
        import horus, horus._horus
        def tick(node):
            node.send("cmd", CmdVel(1.0, 0.5))
            if node.info.tick_count() == 2:
                node.request_stop()
        def last(node):
            show(last=node.recv("cmd").linear)
        run(Node(tick=tick, rate=100, pubs={"cmd": CmdVel}, subs=[horus.Sub("cmd", CmdVel)],
                 shutdown=last, budget=300 * us))
        show(version=horus.get_version(), early="trio_asyncio" in sys.modules)
    """)
    assert observed.code == 0, observed.out
    assert observed["last"] == 1.0
    assert observed["version"].startswith("HORUS Python API v0.4.1")
    assert observed["early"] is False


@pytest.mark.parametrize("module", [horus, _horus], ids=lambda m: m.__name__)
def test_every_name_is_documented(module: types.ModuleType) -> None:
    for name in module.__all__:
        value = getattr(module, name)
        if not callable(value):
            continue
        assert inspect.getdoc(value), name
        if inspect.isclass(value):
            bare = [
                attribute
                for attribute in vars(value)
                if not attribute.startswith("_")
                and inspect.isroutine(getattr(value, attribute))
                and not inspect.getdoc(getattr(value, attribute))
            ]
            assert bare == [], name
