"""Files of parameters of programs written for HORUS: YAML that somebody has written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from fuzzing import damaged, fuzzed, noise, peak
from hypothesis import example
from hypothesis import strategies as st

from horus_trio.bridges.horus import yaml
from horus_trio.bridges.horus.params import Params
from horus_trio.errors import ConfigurationError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=10)
    | st.sampled_from(
        ["yes", "012", "12:30", "~", ".inf", "0o7", "1e5", "<<", "=", "\x85", "\u2028"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
TABLES = st.dictionaries(st.text(max_size=8), VALUES, max_size=5)
TAGS = (
    *(b"!!bool", b"!!timestamp", b"!!binary", b"!!int", b"!!float", b"!!null", b"!!set", b"!!omap"),
    *(b"!!pairs", b"!!map", b"!!seq", b"!!str", b"!!merge", b"!!value", b"!!python/object:os.x"),
)
DOCUMENTS = (
    damaged(TABLES.map(lambda values: yaml.written(values).encode("utf-8", "surrogatepass")))
    | noise(
        *TAGS, b" ", b"\n", b": ", b"- ", b"[", b"]", b"{", b"}", b"&a", b"*a", b"a", b"1", b"|"
    )
    | st.builds(lambda tag, text: b"a: %b %b" % (tag, text), st.sampled_from(TAGS), noise(b"x"))
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("params") / "params.yaml"


@fuzzed(25, content=DOCUMENTS)
@example(content=b"a: !!bool maybe")
@example(content=b"a: !!timestamp soon")
@example(content=b"\xff\xfe")
@example(content=b"a: &a [*a]")
@example(content=b"[" * 3000)
def test_a_file_is_parameters_or_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        params = Params(str(path))
    except ConfigurationError as error:
        assert str(path) in str(error)
        return
    assert all(isinstance(name, str) for name in params)


@fuzzed(30, values=TABLES)
def test_what_is_written_is_read(path: Path, values: dict[str, Any]) -> None:
    try:
        content = yaml.written(values)
        content.encode()
    except UnicodeEncodeError:  # half a character
        return
    assert yaml.read(content) == values or any(map(math.isinf, _floats(values)))


def _floats(value: Any) -> list[float]:
    if isinstance(value, dict):
        return _floats(list(value.values()))
    if isinstance(value, list):
        return [number for one in value for number in _floats(one)]
    return [value] if isinstance(value, float) else []


def test_references_to_references_are_not_written_out(path: Path) -> None:
    """A few lines stand for ten million million values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 13)]
    path.write_text("\n".join(lines))

    def read() -> None:
        with pytest.raises(ConfigurationError, match="stands for more than 1000000 values"):
            Params(str(path))

    assert peak(read) < 3_000_000


def test_a_long_chain_of_references_is_refused(path: Path) -> None:
    path.write_text("\n".join(["a0: &a0 x", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 3000))]))
    with pytest.raises(ConfigurationError):
        Params(str(path))
