"""Parameters of the HORUS facade, and the part of YAML they are read from."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horus_trio import ConfigurationError
from horus_trio.bridges.horus import yaml
from horus_trio.bridges.horus.params import DEFAULTS, Params

FILE = ".horus/config/params.yaml"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_they_begin_with_the_defaults_of_horus() -> None:
    params = Params()
    assert {name: params[name] for name in params} == DEFAULTS
    assert (len(params), repr(params)) == (13, "Params(13 keys)")
    assert params.keys() == sorted(DEFAULTS) == list(params)


def test_they_are_kept_by_name() -> None:
    params = Params()
    params["a"] = 1
    assert (params["a"], params.get("a"), "a" in params, params.has("a")) == (1, 1, True, True)
    assert (params.get("b"), params.get("b", 5), params.has("b")) == (None, 5, False)
    with pytest.raises(KeyError, match="'b'"):
        params["b"]
    assert (params.remove("a"), params.remove("a"), "a" in params) == (True, False, False)
    params["max_speed"] = 9
    params.reset()
    assert params["max_speed"] == 1.0


@pytest.mark.parametrize("key", [1, None, b"x"])
@pytest.mark.parametrize("call", ["__getitem__", "__contains__", "get", "has", "remove"])
def test_names_are_text(key: Any, call: str) -> None:
    with pytest.raises(TypeError, match="is not an instance of 'str'"):
        getattr(Params(), call)(key)


def test_values_are_copies_of_what_json_can_say() -> None:
    params = Params()
    given = {"a": (1, 2)}
    params["v"] = given
    given["a"] = ()  # type: ignore[assignment]
    params["v"]["a"].append(3)
    assert params["v"] == {"a": [1, 2]}
    with pytest.raises(TypeError, match=r"expected what JSON can say.*got bytes"):
        params["v"] = b"x"
    for number in (2**70, math.inf):
        params["n"] = number
        assert params["n"] == number
    assert params["v"] == {"a": [1, 2]}


VALUES = {
    "flag": True,
    "nothing": None,
    "negative": -5,
    "small": 1e-300,
    "text": "a: b # c",
    "quoted": 'it\'s "so"\n\tsaid',
    "yes": "no",
    "": "empty",
    "12": "number",
    "é ü": "é",
    "list": [1, [2.5, "x"], {"k": []}],
    "table": {"a": {"b": None}},
}


@pytest.mark.parametrize("path", [None, "own.yaml", "some/where/own.yaml"])
def test_they_are_saved_and_read_back(path: str | None, home: Path) -> None:
    params = Params(path)
    for name, value in VALUES.items():
        params[name] = value
    params.save()
    assert [file for file in home.rglob("*") if file.is_file()] == [home / (path or FILE)]
    again = Params(path)
    assert {name: again[name] for name in again} == {**DEFAULTS, **VALUES}


def test_a_file_comes_over_the_defaults_and_a_named_one_over_that(home: Path) -> None:
    params = Params()
    params["max_speed"] = 2.0
    params["mine"] = 1
    params.save()
    (home / "own.yaml").write_text("max_speed: 3.0\n")
    own = Params("own.yaml")
    assert (own["max_speed"], own["mine"], own["tick_rate"]) == (3.0, 1, 30)
    own["mine"] = 2
    own.save()
    assert Params()["mine"] == 1
    assert Params("own.yaml")["mine"] == 2


def test_where_they_are_saved_does_not_depend_on_where_the_program_goes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = Params("own.yaml")
    (home / "elsewhere").mkdir()
    monkeypatch.chdir(home / "elsewhere")
    params.save()
    assert (home / "own.yaml").exists()


def test_a_save_that_fails_leaves_the_file_as_it_was(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = Params("own.yaml")
    params.save()
    before = (home / "own.yaml").read_text()

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    params["a"] = 1
    with pytest.raises(OSError, match="disk full"):
        params.save()
    assert (home / "own.yaml").read_text() == before
    assert [f.name for f in home.iterdir()] == ["own.yaml"]


def test_they_are_for_any_thread() -> None:
    params = Params()

    def fill(prefix: str) -> None:
        for number in range(200):
            params[f"{prefix}{number}"] = number
            keys = params.keys()
            assert keys == sorted(keys)
        params.save()
        for number in range(100):
            assert params.remove(f"{prefix}{number}")

    threads = [threading.Thread(target=fill, args=(prefix,)) for prefix in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(params) == 13 + 300


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("[1, 2]", "expected a table of names and values, got list"),
        ("7", "got int"),
        ("a: [1\n", "line 1, column 4: a: \\[1"),
        ("a: 1\nb\n", "line 2, column 1: b"),
        ("a: !!binary aGVsbG8=", "got bytes"),
        (f"a: {'[' * 150}{']' * 150}", "nested more than 100 deep"),
        ("a: &x [*x]", "contains itself"),
        ("[" * 20_000, "recursion"),
    ],
)
def test_a_file_that_is_none_is_refused(content: str, why: str, home: Path) -> None:
    (home / "bad.yaml").write_text(content)
    with pytest.raises(ConfigurationError, match=f"bad.yaml: .*{why}"):
        Params("bad.yaml")


def test_files_need_pyyaml(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    params = Params()  # without a file
    with pytest.raises(ConfigurationError, match=r"pip install 'horus-trio\[as-horus\]'"):
        params.save()
    (home / "own.yaml").write_text("a: 1")
    with pytest.raises(ConfigurationError, match="need PyYAML"):
        Params("own.yaml")


def test_a_directory_is_no_file() -> None:
    with pytest.raises(OSError, match="directory"):
        Params(".")


# YAML


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("", None),
        ("# only this\n\n", None),
        ("---\na: 1", {"a": 1}),
        ('{"a": [1, 2]}', {"a": [1, 2]}),
        ("just words", "just words"),
        ("a: 1 # one\nb: x#y # two\n# three\nc: 'x # y'", {"a": 1, "b": "x#y", "c": "x # y"}),
        ("a:\nb: ~\nc: null", {"a": None, "b": None, "c": None}),
        ("a: true\nb: False\nc: yes\nd: off", {"a": True, "b": False, "c": "yes", "d": "off"}),
        ("a: +1\nb: .5\nc: 1.\nd: 1e3\ne: -.inf\nf: 1_0", {
            "a": 1, "b": 0.5, "c": 1.0, "d": 1000.0, "e": -math.inf, "f": "1_0",
        }),
        ("a: /dev/ttyUSB0\nb: 192.168.0.1\nc: 12:30", {
            "a": "/dev/ttyUSB0", "b": "192.168.0.1", "c": "12:30",
        }),
        ("'a b': 'it''s'\n\"c\\n\": \"d\\n\"", {"a b": "it's", "c\n": "d\n"}),
        ("two words: three more words", {"two words": "three more words"}),
        ("v:\n- 1\n- x\nw: 2", {"v": [1, "x"], "w": 2}),
        ("v:\n  - 1\n  -\n    - 2\n  -\nw: 2", {"v": [1, [2], None], "w": 2}),
        ("- - 1\n  - 2\n- a: []\n  b: {}", [[1, 2], {"a": [], "b": {}}]),
        ("- a: 1\n  b:\n  - 2\n- c", [{"a": 1, "b": [2]}, "c"]),
        ("a:\n  b:\n    c: 1\n  d: 2\ne: 3", {"a": {"b": {"c": 1}, "d": 2}, "e": 3}),
        ("a: |-\n  x\n\n    y\nb: 1", {"a": "x\n\n  y", "b": 1}),
        ("a: |\n  x\n", {"a": "x\n"}),
        ("12: x", {"12": "x"}),
        ("a: {1: x, y: [z, 0x10]}", {"a": {"1": "x", "y": ["z", 16]}}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("a: >\n  folded\n  text\n", {"a": "folded text\n"}),
        ("a: 012\nb: 2024-01-01\nc: 0o14\nd: =", {
            "a": "012", "b": "2024-01-01", "c": 12, "d": "=",
        }),
    ],
)  # fmt: skip
def test_what_is_read_of_yaml(content: str, value: Any) -> None:
    assert yaml.read(content) == value
    assert repr(yaml.read(content)) == repr(value)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("a: !tag 1", 1),
        ("a: 'x", 1),
        ('a: "x', 1),
        ("a: b: c", 1),
        ("\ta: 1", 1),
        ("a:\n  b: 1\n c: 2", 3),
        ("a: 1\n  b: 2", 2),
        ("- 1\nb: 2", 2),
        ("a: 1\n- 2", 2),
        ("*a", 1),
    ],
)
def test_what_is_not_read_is_refused_by_its_line(content: str, line: int) -> None:
    with pytest.raises(yaml.YamlError, match=f"line {line}, "):
        yaml.read(content)


PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=30)
@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_whatever_is_written_is_read_back(values: dict[str, Any]) -> None:
    assert (yaml.read(yaml.written(values)) or {}) == values


@given(st.text(alphabet="ab:# -'\"[]{}|~.1\n", max_size=40))
def test_whatever_is_no_yaml_is_refused_as_such(content: str) -> None:
    with contextlib.suppress(yaml.YamlError):  # and nothing else
        yaml.read(content)


def test_whatever_is_json_is_read() -> None:
    assert yaml.read(json.dumps(VALUES, indent=2)) == VALUES
