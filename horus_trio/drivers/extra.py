"""Optional packages: looked for when a driver is made, imported when it is first opened.

So the lack of one is told where the program names the device, and not in each attempt to connect;
and a program that names no such device imports none of them.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from types import ModuleType

from .errors import MissingExtra

__all__ = ["Extra"]


@dataclass(frozen=True, slots=True)
class Extra:
    """A package that a driver needs.

    Attributes:
        name: The extra of this package that brings it.
        package: What it is called where it is installed from.
        module: What is imported.
    """

    name: str
    package: str
    module: str

    def check(self, who: str) -> None:
        """See that it is installed; quick, and without importing it.

        Arguments:
            who: The driver that needs it, by the name of its class.

        Raises:
            MissingExtra: It is not.
        """
        try:
            found = importlib.util.find_spec(self.module.partition(".")[0]) is not None
        except ValueError:  # somebody has put a module without a specification in its place
            found = True
        if not found:
            raise self._missing(who)

    def load(self, who: str) -> ModuleType:
        """Import it. That may take a second: do it in a thread, or in a program's beginning.

        Raises:
            MissingExtra: It cannot be imported.
        """
        try:
            return importlib.import_module(self.module)
        except ImportError as error:
            if (
                isinstance(error, ModuleNotFoundError)
                and error.name == self.module.partition(".")[0]
            ):
                raise self._missing(who) from error
            raise MissingExtra(
                f"{who} needs {self.package}, which is installed and cannot be imported ({error}): "
                f"pip install --upgrade --force-reinstall 'horus-trio[{self.name}]'"
            ) from error

    def _missing(self, who: str) -> MissingExtra:
        return MissingExtra(
            f"{who} needs {self.package}, which is not installed: "
            f"pip install 'horus-trio[{self.name}]'"
        )
