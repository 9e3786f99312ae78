"""HORUS's own extension module, found whatever else is called ``horus`` in this process.

The bridge needs its topics and messages only, not the Python around them. So it loads the one file
by its place: that takes milliseconds, imports no asyncio, and works beside the facade that may
stand at ``horus`` in `sys.modules`. Loading it starts no thread and changes no signal handler.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
from typing import Any

from ...errors import ConfigurationError

__all__ = ["load_horus"]


def load_horus(asker: str) -> Any:
    """HORUS's extension module; the same one each time.

    Arguments:
        asker: Who needs it, for the message.

    Raises:
        ConfigurationError: HORUS's package is not installed, or cannot be loaded.
    """
    find = importlib.machinery.PathFinder.find_spec
    package = find("horus")
    spec = None
    if package is not None and package.submodule_search_locations:
        spec = find("horus._horus", package.submodule_search_locations)
    if spec is None or spec.loader is None:
        found = "" if package is None else f" (the package horus in {package.origin} is another)"
        raise ConfigurationError(
            f"{asker} needs HORUS's package horus-robotics, which is not installed{found}: "
            "pip install 'horus-trio[horus]', on Linux on x86-64"
        )
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"{asker} needs HORUS's package horus-robotics, which cannot be loaded ({error}); "
            "install it anew: pip install --force-reinstall 'horus-trio[horus]'"
        ) from error
    return module
