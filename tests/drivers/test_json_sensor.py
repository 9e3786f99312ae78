"""`JsonSensor`: values out of JSON, and what is said when they are not there."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from drivers.http_peers import answer, in_turn, open_web_server
from drivers.steps import raises_soon

import horus_trio as horus
from horus_trio.drivers import (
    DriverNode,
    DriverState,
    HttpPoller,
    HttpReading,
    JsonField,
    JsonSensor,
    MissingExtra,
    ReceiveFailed,
)
from horus_trio.drivers.http.picking import NotThere, pick
from horus_trio.errors import ConfigurationError

WEATHER = {
    "name": "harbour",
    "main": {"temp": 21.5, "humidity": 40, "unit": "C", "wind.speed": 3},
    "sensors": [{"id": "a", "value": 1}, {"id": "b", "value": None}],
    "ok": True,
    "7": "seven",
}

URL = "http://127.0.0.1/value"


def reading_of(document: Any, content_type: str = "") -> HttpReading:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    headers = {"content-type": content_type}
    return HttpReading(status=200, body=body, headers=headers, at=0.0, elapsed=0.0)


def values(sensor: JsonSensor[Any], document: Any, content_type: str = "") -> Any:
    """What a sensor makes of an answer."""
    return sensor._parse(reading_of(document, content_type))


# Over HTTP


async def test_values_are_picked_out_of_the_answers() -> None:
    answers = [
        answer(200, json.dumps(WEATHER).encode(), ETag='"1"'),
        answer(304),
        answer(200, b"<html>", ETag='"2"'),
        answer(200, json.dumps(WEATHER | {"main": {}}).encode(), ETag='"3"'),
        answer(200, json.dumps(WEATHER | {"main": {"temp": 22}}).encode(), ETag='"4"'),
        answer(204),
    ]
    async with (
        open_web_server(in_turn(answers)) as server,
        JsonSensor(server.url, every=0, fields={"temperature": "main.temp"}) as sensor,
    ):
        assert await sensor.receive() == {"temperature": 21.5}
        error = await raises_soon(ReceiveFailed, sensor.receive)
        assert "answers with what is no JSON" in str(error)
        assert "b'<html>'; check the path of the address" in str(error)
        assert isinstance(error.__cause__, ValueError)
        error = await raises_soon(ReceiveFailed, sensor.receive)
        assert "'main.temp' is not there: 'main' is empty" in str(error)
        assert await sensor.receive() == {"temperature": 22}
        assert sensor.state is DriverState.OPEN
        counted = sensor.statistics()
        assert (counted.received, counted.rejected, counted.failures) == (2, 2, 2)
        assert sensor.counts.unchanged == 1
    # What was of no use may come again.
    asked = [question.headers.get("if-none-match") for question in server.questions]
    assert asked == [None, '"1"', '"1"', '"1"', '"1"']


async def test_the_first_answer_may_be_of_no_use() -> None:
    answers = [answer(200, b"not yet"), answer(200, b"[1, 2]")]
    async with (
        open_web_server(in_turn(answers)) as server,
        JsonSensor(server.url, every=0) as sensor,
    ):
        await raises_soon(ReceiveFailed, sensor.receive)
        assert await sensor.receive() == [1, 2]


async def test_unchanged_values_come_again_if_that_is_wanted() -> None:
    answers = [answer(200, b'{"t": 1}', ETag='"1"'), answer(304), answer(304)]
    async with (
        open_web_server(in_turn(answers)) as server,
        JsonSensor(server.url, every=0, fields={"t": "t"}, unchanged=True) as sensor,
    ):
        assert [await sensor.receive() for _ in range(3)] == [{"t": 1}] * 3


async def test_a_node_publishes_what_is_good() -> None:
    answers = in_turn(
        [answer(200, b'{"t": 1}'), answer(200, b'{"t": "?"}'), answer(200, b'{"t": 2}')]
    )
    async with open_web_server(answers) as server:
        sensor = JsonSensor(server.url, every=0, fields={"t": JsonField("t", float)})
        node = DriverNode("sensor", sensor, publish="values")
        scheduler = horus.Scheduler(signals=False)
        scheduler.add(node)
        came = scheduler.topic("values").subscribe()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scheduler.run)
            with trio.fail_after(10):
                assert [await came.receive() for _ in range(2)] == [{"t": 1.0}, {"t": 2.0}]
            scheduler.stop()
    assert node.rejected == 1
    assert scheduler.statistics().nodes["sensor"].restarts == 0


# Where


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "harbour"),
        ("main.temp", 21.5),
        (("main", "wind.speed"), 3),
        ("sensors.0.value", 1),
        ("sensors.-1.id", "b"),
        (("sensors", -2, "id"), "a"),
        ("7", "seven"),
        ((7,), "seven"),
        ("sensors.1.value", None),
        ("ok", True),
    ],
)
def test_a_path_leads_somewhere(path: Any, value: object) -> None:
    assert pick(WEATHER, path) == value


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("mian.temp", "'mian.temp' is not there: the document has 7, main, name, ok, sensors"),
        ("main.tmp", "'main.tmp' is not there: 'main' has humidity, temp, unit, wind.speed"),
        ("sensors.2.value", "'sensors.2.value' is not there: 'sensors' is a list of 2"),
        ("sensors.-3", "'sensors' is a list of 2"),
        ("sensors.first", "'sensors' is a list of 2"),
        ("sensors.99999999999999999999", "'sensors' is a list of 2"),
        ("name.first", "'name' is the text 'harbour'"),
        ("sensors.1.value.x", "'sensors.1.value' is null"),
        ("main.temp.x", "'main.temp' is 21.5"),
        ("ok.x", "'ok' is true"),
    ],
)
def test_a_path_that_leads_nowhere_says_how_far(path: str, said: str) -> None:
    with pytest.raises(NotThere) as caught:
        pick(WEATHER, path)
    assert said in str(caught.value)


def test_what_a_device_writes_stays_in_its_line() -> None:
    for document in ({"a\nb": 1}, "a\nb", {"x": "a\nb"}):
        with pytest.raises(NotThere) as caught:
            JsonField("x", float).of(document)
        assert "\n" not in str(caught.value)
        assert "a\\nb" in str(caught.value)


def test_what_there_is_is_not_told_without_end() -> None:
    with pytest.raises(NotThere) as caught:
        pick({f"{number}" * 30: 1 for number in range(1000)}, "x")
    assert len(str(caught.value)) < 260
    assert "and 992 more" in str(caught.value)


# What


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        (float, 2, 2.0),
        (float, 2.5, 2.5),
        (int, 2, 2),
        (int, 2.0, 2),
        (int, 10**30, 10**30),
        (str, "", ""),
        (bool, False, False),
        (list, [1], [1]),
        (dict, {}, {}),
        (object, 0, 0),
        (object, [None], [None]),
    ],
)
def test_a_value_is_what_it_has_to_be(kind: type, value: object, result: object) -> None:
    came = JsonField("x", kind).of({"x": value})
    assert came == result
    assert type(came) is type(result)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (float, "2", "'x' is the text '2', expected a number"),
        (float, True, "'x' is true, expected a number"),
        (float, None, "'x' is null, expected a number"),
        (float, math.nan, "'x' is nan, expected a number"),
        (float, -math.inf, "'x' is -inf, expected a number"),
        (float, 10**400, "which is too large"),
        (int, 2.5, "'x' is 2.5, expected a whole number"),
        (int, math.inf, "'x' is inf, expected a whole number"),
        (int, False, "'x' is false, expected a whole number"),
        (str, 5, "'x' is 5, expected a text"),
        (bool, 1, "'x' is 1, expected true or false"),
        (list, {}, "'x' is an object of 0, expected a list"),
        (dict, [1, 2], "'x' is a list of 2, expected an object"),
        (object, None, "'x' is null, expected anything"),
        (object, math.nan, "'x' is nan, expected anything"),
        (str, ["x" * 1000], "'x' is a list of 1"),
    ],
)
def test_a_value_that_is_something_else_is_told(kind: type, value: object, said: str) -> None:
    with pytest.raises(NotThere) as caught:
        JsonField("x", kind).of({"x": value})
    assert said in str(caught.value)
    assert len(str(caught.value)) < 120


def test_bounds_units_and_defaults() -> None:
    bounded = JsonField("x", float, low=-40, high=85)
    assert [bounded.of({"x": value}) for value in (-40, 0, 85)] == [-40, 0, 85]
    for value in (-40.1, 1e9):
        with pytest.raises(NotThere) as caught:
            bounded.of({"x": value})
        assert str(caught.value) == f"'x' is {value:g}, expected -40 to 85"
    assert JsonField("x", low=0).of({"x": 1}) == 1
    with pytest.raises(NotThere, match="'x' is the text '1', expected a number"):
        JsonField("x", low=0).of({"x": "1"})
    assert math.isnan(JsonField("x", float, low=0, allow_nan=True).of({"x": math.nan}))

    celsius = JsonField("main.temp", float, unit="C", unit_path="main.unit")
    assert celsius.of(WEATHER) == 21.5
    with pytest.raises(NotThere, match=r"'main\.temp' is in the text 'F', expected 'C'"):
        celsius.of({"main": {"temp": 70, "unit": "F"}})
    with pytest.raises(NotThere, match=r"'main\.unit' is not there"):
        celsius.of({"main": {"temp": 70}})

    optional = JsonField("a.b", float, default=-1.0)
    assert optional.of({"a": {"b": 2}}) == 2.0
    assert [optional.of(document) for document in ({}, {"a": 5}, {"a": {"b": None}})] == [-1.0] * 3
    with pytest.raises(NotThere, match="expected a number"):
        optional.of({"a": {"b": "x"}})
    assert JsonField("a", default=None).of({}) is None


# Documents


def test_without_fields_it_is_the_whole_document() -> None:
    sensor = JsonSensor[Any](URL)
    for document in (WEATHER, [1], "x", 7, None, False):
        assert values(sensor, document) == document


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "nothing at all"),
        (b"{", "Expecting property name"),
        (b"[1, NaN]", "NaN is no JSON"),
        (b"[-Infinity]", "-Infinity is no JSON"),
        (b"1e999", "1e999 is too large"),
        (b"\xff\xff", "no JSON"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b"9" * 5000, "no JSON"),
        (b"x" * 1000, "…"),
    ],
)
def test_what_is_no_json(body: bytes, said: str) -> None:
    with pytest.raises(ReceiveFailed) as caught:
        values(JsonSensor[Any](URL), body)
    assert said in str(caught.value)
    assert str(caught.value).startswith("JsonSensor http://127.0.0.1/value answers with what is no")
    assert len(str(caught.value)) < 400


def test_nan_elsewhere_does_not_matter() -> None:
    sensor = JsonSensor(URL, fields={"a": JsonField("a", float), "b": "b"})
    assert values(sensor, b'{"a": 1, "b": "x", "c": NaN}') == {"a": 1.0, "b": "x"}
    with pytest.raises(ReceiveFailed, match="'a' is nan, expected a number"):
        values(sensor, b'{"a": NaN, "b": "x"}')


@pytest.mark.parametrize(
    ("encoding", "content_type"),
    [
        ("utf-8", ""),
        ("utf-8-sig", "text/html"),
        ("utf-16", "application/json"),
        ("latin-1", "application/json; charset=ISO-8859-1"),
        ("utf-8", "application/json; charset=nonsense"),
        ("utf-8", "application/json; charset=zlib"),
        ("utf-8", "application/json; charset=ascii"),
    ],
)
def test_the_character_set_is_the_one_it_has(encoding: str, content_type: str) -> None:
    body = '{"unit": "°C"}'.encode(encoding)
    assert values(JsonSensor(URL, fields={"unit": "unit"}), body, content_type) == {"unit": "°C"}


# Dataclasses


@dataclass(frozen=True)
class Reading:
    temperature: float
    humidity: int
    name: str = "nameless"
    tags: list[str] = field(default_factory=list)
    pressure: float | None = None
    derived: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if self.humidity > 100:
            raise ValueError(f"humidity={self.humidity}")


def test_a_dataclass_is_made_of_the_values() -> None:
    sensor = JsonSensor(
        URL,
        into=Reading,
        fields={"temperature": "main.temp", "humidity": "main.humidity"},
    )
    came: Reading = values(sensor, WEATHER)
    assert came == Reading(21.5, 40, "harbour")
    document = WEATHER | {"pressure": 1013, "tags": ["a"], "name": None}
    assert values(sensor, document) == Reading(21.5, 40, "nameless", ["a"], 1013.0)
    for change, said in (
        ({"tags": "a"}, "'tags' is the text 'a', expected a list"),
        ({"main": {"temp": "x", "humidity": 1}}, "'main.temp' is the text 'x', expected a number"),
        ({"main": {"temp": 1, "humidity": 1.5}}, "expected a whole number"),
        ({"main": {"temp": 1}}, "'main' has temp"),
        ({"main": {"temp": 1, "humidity": 101}}, "values that make no Reading: humidity=101"),
    ):
        with pytest.raises(ReceiveFailed, match=said):
            values(sensor, WEATHER | change)


@dataclass
class Loose:
    value: float | None
    anything: Any
    rest: dict[str, int]


def test_what_may_be_null_may_be_missing() -> None:
    sensor = JsonSensor(URL, into=Loose)
    assert values(sensor, {"anything": 1, "rest": {}}) == Loose(None, 1, {})
    assert values(sensor, {"value": None, "anything": "x", "rest": {}}) == Loose(None, "x", {})
    assert values(sensor, {"value": 2, "anything": [], "rest": {}}) == Loose(2.0, [], {})
    with pytest.raises(ReceiveFailed, match="'anything' is not there"):
        values(sensor, {"rest": {}})


def test_without_fields_its_names_are_those_in_the_document() -> None:
    sensor = JsonSensor(URL, into=Reading)
    assert values(sensor, {"temperature": 1, "humidity": 2}) == Reading(1.0, 2)


@dataclass
class Odd:
    when: complex


@dataclass
class Either:
    value: int | str


@dataclass
class Unknown:
    value: "no_such_type"  # type: ignore[name-defined]  # noqa: F821, UP037


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"fields": {}}, "expected a dict, such as"),
        ({"fields": ["a"]}, "expected a dict, such as"),
        ({"fields": {1: "a"}}, "expected names, got 1"),
        ({"fields": {"a": 1}}, "expected where it is, such as 'main.temp'"),
        ({"fields": {"a": ""}}, "expected where it is"),
        ({"fields": {"a": "b..c"}}, "expected where it is"),
        ({"fields": {"a": ()}}, "expected where it is"),
        ({"into": dict}, "expected a dataclass"),
        ({"into": Reading(1, 2)}, "expected a dataclass"),
        ({"into": Odd}, "its field 'when' is a <class 'complex'>"),
        ({"into": Either}, "its field 'value' is a"),
        ({"into": Unknown}, "its types cannot be understood here"),
        (
            {"into": Reading, "fields": {"temprature": "t"}},
            "Reading has no field 'temprature'; it has temperature, humidity, name",
        ),
        ({"every": -1}, "every=-1"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        JsonSensor(URL, **arguments)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"path": None}, "expected where it is"),
        ({"path": ("a", True)}, "expected where it is"),
        ({"kind": complex}, "expected one of float, int, str"),
        ({"kind": "float"}, "expected one of float, int, str"),
        ({"unit": "C"}, "expected both, the unit and where it is written"),
        ({"unit_path": "u"}, "expected both, the unit and where it is written"),
        ({"unit": "C", "unit_path": "."}, "unit_path='.'"),
        ({"kind": float, "low": "a"}, "expected low and high as numbers"),
        ({"kind": float, "low": math.nan}, "expected low and high as numbers"),
        ({"kind": float, "low": 2, "high": 1}, "expected low to be the lesser"),
        ({"kind": str, "low": 2}, "low and high are for kind=float and kind=int"),
    ],
)
def test_a_field_that_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        JsonField(**({"path": "x"} | arguments))
    assert said in str(caught.value)


def test_it_is_called_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert repr(JsonSensor(URL + "?key=1")) == "<JsonSensor http://127.0.0.1/value, new>"
    assert not issubclass(JsonSensor, HttpPoller)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="JsonSensor needs httpx2, which is not installed"):
        JsonSensor(URL)
