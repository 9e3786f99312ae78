"""The facade under HORUS's name: programs that ``import horus`` run unchanged.

`install` puts modules named ``horus`` and ``horus._horus`` into `sys.modules`; the names in them
are the facade's. HORUS's other modules fail at their import, saying so.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from ...errors import HorusError
from . import outside
from .messages import MESSAGES

__all__ = ["InstallError", "ModuleOutOfScope", "install", "uninstall"]

NOT_HORUS = frozenset({"InstallError", "ModuleOutOfScope", "install", "uninstall"})
"""What the facade's package has beside HORUS's names."""


class InstallError(HorusError, RuntimeError):
    """The facade cannot be installed: HORUS's own package has been imported in this process."""


class ModuleOutOfScope(HorusError, ImportError):
    """A module of HORUS's that is not here."""


class _Alias(ModuleType):
    """A module under HORUS's name, with the names of one of the facade's."""

    def __init__(self, name: str, source: ModuleType) -> None:
        super().__init__(name, source.__doc__)
        names = [public for public in source.__all__ if public not in NOT_HORUS]
        self.__dict__.update({public: getattr(source, public) for public in names})
        self.__dict__.update(MESSAGES)
        self.__dict__.update({missing: getattr(outside, missing) for missing in outside.OUTSIDE})
        self.__all__: list[str] = list(dict.fromkeys([*names, *MESSAGES, *outside.OUTSIDE]))
        is_package = name == "horus"
        self.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=is_package)
        if is_package:
            self.__path__ = []

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"module {self.__name__!r} has no attribute {name!r}; it is horus_trio's facade of "
            "HORUS, whose names are in the reference"
        )


class _OutOfScope(importlib.abc.MetaPathFinder):
    """Refuses every other module of HORUS's, among them those of its own package if installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname.startswith("horus."):
            raise ModuleOutOfScope(
                f"{fullname} is out of scope of horus_trio's facade of HORUS, which is installed "
                "here as 'horus'; it has the nodes, the scheduler, topics and common messages",
                name=fullname,
            )


def install() -> ModuleType:
    """Put the facade at ``horus`` and ``horus._horus``; returns the module.

    Doing so again changes nothing.

    Raises:
        InstallError: HORUS's own package has been imported already.
    """
    present = sys.modules.get("horus")
    if isinstance(present, _Alias):
        return present
    if present is not None or "horus._horus" in sys.modules:
        where = getattr(present, "__file__", None) or "its own package"
        raise InstallError(
            f"horus is imported already, from {where}; call "
            "horus_trio.bridges.horus.install() before the first `import horus`, or start the "
            "program with `horus-trio run --as-horus`"
        )
    import horus_trio.bridges.horus as facade

    from . import _horus

    module, inner = _Alias("horus", facade), _Alias("horus._horus", _horus)
    module._horus = inner  # type: ignore[attr-defined]
    module.__version__ = facade.__version__  # type: ignore[attr-defined]
    sys.modules["horus"] = module
    sys.modules["horus._horus"] = inner
    sys.meta_path.insert(0, _OutOfScope())
    return module


def uninstall() -> None:
    """Take it away again; names that programs have imported from it stay theirs."""
    if isinstance(sys.modules.get("horus"), _Alias):
        del sys.modules["horus"], sys.modules["horus._horus"]
        sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, _OutOfScope)]
