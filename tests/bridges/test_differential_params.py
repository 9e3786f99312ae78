"""Parameters, rates, configurations and named values, on HORUS's own package and on the facade."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bridges.differential import Both, Observed
from bridges.test_differential_messages import LOOK

pytestmark = pytest.mark.slow  # two processes for each program


def test_parameters_are_kept_alike(on_both: Callable[[str], Both]) -> None:
    both = on_both(
        LOOK
        + """
os.mkdir(f"{os.getpid()}")
os.chdir(f"{os.getpid()}")
p = Params()
look("defaults", lambda: (p, str(p), len(p), p.keys(), list(p), [(k, p[k]) for k in p]))
look("set", lambda: p.__setitem__("a", 1))
look("read", lambda: (p["a"], p.get("a"), p.get("b"), p.get("b", 5), p.get(key="b", default=6)))
look("has", lambda: ("a" in p, p.has("a"), "b" in p, p.has("b"), len(p), "a" in list(p)))
look("missing", lambda: p["b"])
for call in ("__getitem__", "__contains__", "get", "has", "remove"):
    look(f"{call} of a number", getattr(p, call), 1)
look("number as name", lambda: p.__setitem__(1, 1))
for value in (1, -5, 1.5, 2**63, "s", "", True, None, [1, ["a"]], {"k": [1]}, (1, 2), {3}):
    look(f"value {value!r}", lambda: (p.__setitem__("v", value), p["v"], type(p["v"])))
look("dotted", lambda: (p.__setitem__("x.y", 3), p["x.y"], p.get("x"), p.keys()))
look("remove", lambda: (p.remove("a"), p.remove("a"), "a" in p))
look("copies", lambda: (p.__setitem__("l", [1]), p["l"].append(2), p["l"]))
look("equal", lambda: (Params() == Params(), p == p, bool(p), hash(p) is not None))
look("reset", lambda: (p.__setitem__("max_speed", 9), p.reset(), p["max_speed"], p.keys()))
p["mine"] = 2
look("save", p.save)
look("where", lambda: os.path.exists(".horus/config/params.yaml"))
look("again", lambda: [(k, q[k]) for q in [Params()] for k in q])
look("missing file", lambda: Params("none.yaml").keys())
open("own.yaml", "w").write('''
speed: 1.5   # m/s
name: robot
"quoted name": 'it''s'
list: [1, 2]
block:
- 1
- x: 2
nested:
  deeper:
    k: true
  other: ~
yes: off
text: |-
  two
  lines
''')
look("own", lambda: [(k, q[k]) for q in [Params("own.yaml")] for k in q])
look("path", lambda: Params(path="own.yaml"))
look("bad path", lambda: Params(1))
look("directory", lambda: Params("."))
open("empty.yaml", "w").write("")
look("empty", lambda: len(Params("empty.yaml")))
open("numbers.yaml", "w").write("1: 2\\n")
look("numbers", lambda: Params("numbers.yaml")["1"])
show(**found)
"""
    )
    assert len(both.agree()) > 35


SAVED = """
from horus import Params
import os
VALUES = {
    "list": [1, [2, {"a": []}]], "text": "a: b # c", "yes": "no", "empty": "",
    "number": "1", "lines": "one\\n\\ntwo\\n", "table": {"a": {"b": None}}, "odd name": True,
    "12": 2, "float": 1e300, "word": "on", "quote": "it's", "true": False, "é": "ü",
}
mine = not os.path.exists(".horus/config/params.yaml")
p = Params()
if mine:
    for name, value in VALUES.items():
        p[name] = value
    p.save()
show(mine=mine, read={name: p.get(name) for name in VALUES}, all=VALUES)
"""


def test_the_facade_reads_what_horus_has_saved(on_both: Callable[[str], Both]) -> None:
    both = on_both(SAVED)
    assert (both.original["mine"], both.facade["mine"]) == (True, False)
    assert both.facade["read"] == both.facade["all"]


def test_horus_reads_what_the_facade_has_saved(
    on_facade: Callable[[str], Observed], on_both: Callable[[str], Both]
) -> None:
    assert on_facade(SAVED)["mine"]
    both = on_both(SAVED)
    assert not both.original["mine"]
    assert both.original["read"] == both.original["all"]
    both.agree()


def test_rates_and_configurations_are_alike(on_both: Callable[[str], Both]) -> None:
    both = on_both(
        LOOK
        + """
from horus._horus import Miss, Priority, SchedulerConfig
for hz in (0, -1, nan, inf, "x", None, 1e9, 30, 0.5):
    look(f"Rate({hz!r})", lambda: Rate(hz))
    look(f"Rate({hz!r}) target", lambda: round(Rate(hz).target_hz(), 3))
    look(f"Rate({hz!r}) period", lambda: round(Rate(hz).period(), 6))
NAMES = ["tick_rate", "watchdog_timeout_ms", "max_deadline_misses", "memory_locking",
         "rt_scheduling_class", "cpu_cores", "black_box_size_mb", "telemetry_endpoint",
         "recording_enabled"]
def all_of(c):
    return repr(c), str(c), [getattr(c, n) for n in NAMES]
look("config", lambda: all_of(SchedulerConfig()))
look("minimal", lambda: all_of(SchedulerConfig.minimal()))
look("with_watchdog", lambda: all_of(SchedulerConfig.with_watchdog()))
look("arguments", lambda: SchedulerConfig(5))
look("equal", lambda: SchedulerConfig() == SchedulerConfig())
look("unknown", lambda: setattr(SchedulerConfig(), "unknown", 1))
for call, given in {
    "rate": [50, 0, -1, nan, "x"],
    "watchdog_ms": [5, -1, 1.5],
    "blackbox_mb": [3, "x"],
    "cpu_affinity": [[0, 1], (2,), "x", [-1], None],
    "telemetry": ["http://x", 1],
}.items():
    for value in given:
        def changed():
            c = SchedulerConfig.with_watchdog()
            d = getattr(c, call)(value)
            return d is c, all_of(c), all_of(d)
        look(f"{call}({value!r})", changed)
look("no_watchdog", lambda: all_of(SchedulerConfig.with_watchdog().no_watchdog()))
look("chain", lambda: all_of(SchedulerConfig().rate(5).watchdog_ms(6).telemetry("t")))
for name in NAMES:
    for value in (5, 1.5, True, "x", None, [1], -1, (2,)):
        look(f"{name} = {value!r}", change, SchedulerConfig(), name, value)

look("Miss", lambda: [(n, getattr(Miss, n)) for n in sorted(dir(Miss)) if n.isupper()])
look("Miss()", Miss)
look("Priority", lambda: [(n, getattr(Priority, n)) for n in sorted(dir(Priority)) if n.isupper()])
look("Priority()", Priority)
for text in ("critical", "HIGH", "Normal", "low", "background", "x", "", "200", "0", "-1", "5.5"):
    look(f"from {text}", Priority.from_string, text)
for number in (0, 10, 50, 80, 100, 1, 55, 300, -1, "x"):
    look(f"to {number!r}", Priority.to_string, number)
look("NodeState", lambda: [(s, str(s), f"{s}", s.value, s == s.value) for s in NodeState])
look("units", lambda: (us, ms))
for error in (HorusNotFoundError, HorusTransformError, HorusTimeoutError):
    look(error.__name__, lambda: (issubclass(error, Exception), str(error("a"))))
show(**found)
"""
    )
    assert len(both.agree()) > 120


@pytest.mark.alone
def test_rates_keep_the_same_time(on_both: Callable[[str], Both]) -> None:
    both = on_both("""
from horus import Rate

rate = Rate(5)
begin = time.monotonic()
rate.sleep()
rate.sleep()
show(grid=time.monotonic() - begin)
time.sleep(0.3)  # late by half a period: the grid is kept
rate.sleep()
rate.sleep()
show(kept=time.monotonic() - begin)
time.sleep(0.5)  # late by more: a new one
begin = time.monotonic()
late = rate.is_late()
rate.sleep()
show(at_once=time.monotonic() - begin, late=late)
rate.sleep()
show(new=time.monotonic() - begin)
""")
    both.agree("late")
    for key in ("grid", "kept", "at_once", "new"):
        both.close(key, 0.09)
