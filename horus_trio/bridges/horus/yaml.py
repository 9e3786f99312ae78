"""YAML as HORUS reads and writes it: version 1.2, by PyYAML.

PyYAML knows version 1.1, where ``yes`` is true, ``012`` is ten and ``12:30`` is 750. HORUS takes
these for texts, and so does this. What is written is a text to readers of either version.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

from ...errors import ConfigurationError

__all__ = ["YamlError", "read", "written"]

MOST_VALUES = 1_000_000
"""In a document. References are short, and what they stand for is copied."""

_PLAIN = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        (
            r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
            r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
        ),
        list("-+.0123456789"),
    ),
)
"""What a value without quotes may be; everything else is a text. By its first letters."""


_DOT = re.compile(r"\.(inf|nan)", re.IGNORECASE)
"""What a float that is no number has before its name, and Python has not."""


_BREAKS = re.compile("[\x85\u2028\u2029]")
"""Ends of lines in YAML 1.1 alone, which are written with a backslash."""


class YamlError(ValueError):
    """It is not YAML; the message names the line."""


def read(content: str) -> Any:
    """The value a document stands for; None if it is empty.

    Raises:
        YamlError: It is not YAML, or has tags.
        ConfigurationError: PyYAML is not here.
    """
    yaml = _import()

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - its own, and none of 1.1's

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    key.tag = "tag:yaml.org,2002:str"  # the names of parameters are texts
            found: dict[str, Any] = super().construct_mapping(node, deep=deep)
            return found

    _resolve(Loader)
    Loader.add_constructor("tag:yaml.org,2002:int", _int)
    Loader.add_constructor("tag:yaml.org,2002:float", _float)
    try:
        value = yaml.load(content, Loader)
        size = _size(value, {})
    except Exception as error:
        # Besides its own errors, tags that do not fit raise KeyError, AttributeError and others.
        said = str(error) if isinstance(error, yaml.YAMLError | ValueError) else repr(error)
        raise YamlError(" ".join(said.replace(' in "<unicode string>"', "").split())) from error
    if size > MOST_VALUES:
        raise YamlError(
            f"it stands for more than {MOST_VALUES} values, by references to references; write "
            "them out"
        )
    return value


def _size(value: Any, known: dict[int, int]) -> int:
    """How many values it is when each reference is written out; one to what it is in counts 1."""
    if not isinstance(value, (dict, list, set, tuple)):
        return 1
    size = known.get(id(value))
    if size is None:
        known[id(value)] = 1
        parts = value.values() if isinstance(value, dict) else value
        size = known[id(value)] = 1 + sum(_size(part, known) for part in parts)
    return size


def written(values: dict[str, Any]) -> str:
    """A document.

    Raises:
        ConfigurationError: PyYAML is not here.
    """
    yaml = _import()

    class Dumper(yaml.SafeDumper):  # type: ignore[misc, name-defined]
        def ignore_aliases(self, data: object) -> bool:
            return True

    _resolve(Dumper)
    Dumper.add_representer(str, _written_text)
    text: str = yaml.dump(values, Dumper=Dumper, allow_unicode=True, sort_keys=True)
    return text


def _written_text(dumper: Any, text: str) -> Any:
    style = '"' if _BREAKS.search(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _import() -> Any:
    try:
        return importlib.import_module("yaml")
    except ImportError as error:
        raise ConfigurationError(
            "files of parameters are YAML and need PyYAML, which is not here; install it with: "
            "pip install 'horus-trio[as-horus]'"
        ) from error


def _resolve(kind: Any) -> None:
    for name, pattern, first in _PLAIN:
        kind.add_implicit_resolver(
            f"tag:yaml.org,2002:{name}", re.compile(f"^(?:{pattern})$"), first
        )


def _int(loader: Any, node: Any) -> int:
    return int(loader.construct_scalar(node), 0)


def _float(loader: Any, node: Any) -> float:
    return float(_DOT.sub(r"\1", loader.construct_scalar(node)))
