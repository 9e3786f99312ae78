"""Topics outside of any scheduler, on HORUS's own package and on the facade."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bridges.differential import Both
from bridges.test_differential_messages import LOOK

pytestmark = pytest.mark.slow  # two processes for each program

TOPICS = (
    LOOK
    + """
from horus import Topic
count = iter(range(1000))

def make(kind, objects, capacity=16):
    name = f"t{next(count)}"
    return [Topic(name, capacity) if kind == "untyped" else Topic(CmdVel, capacity, endpoint=name)
            for _ in range(objects)]

def sample(kind, number):
    return {"n": number} if kind == "untyped" else CmdVel(number, 0)

def drained(kind, topic):
    found = []
    while (message := topic.recv()) is not None:
        found.append(message["n"] if kind == "untyped" else int(message.linear))
    return found
"""
)


def test_the_same_readers_receive_the_same(on_both: Callable[[str], Both]) -> None:
    both = on_both(
        TOPICS
        + """
for kind in ("untyped", "typed"):
    for writers, readers, looked in [
        (1, 1, 0), (1, 1, 1), (1, 2, 0), (1, 2, 1), (1, 3, 0), (2, 1, 1), (2, 2, 0), (2, 2, 1),
    ]:
        objects = make(kind, writers + readers)
        if looked:
            [t.recv() for t in objects[writers:]]
        rounds, number = [], 0
        for _ in range(4):
            for writer in objects[:writers]:
                for _ in range(2):
                    assert writer.send(sample(kind, number)) is True
                    number += 1
            rounds.append([drained(kind, reader) for reader in objects[writers:]])
        found[f"{kind} {writers} to {readers}, looked {looked}"] = (
            rounds, [drained(kind, w) for w in objects[:writers]])

    (alone,) = make(kind, 1)
    found[f"{kind} alone"] = []
    for number in range(4):
        alone.send(sample(kind, number))
        found[f"{kind} alone"].append(drained(kind, alone))

    for sent in (0, 2, 4, 10):
        name = f"{kind}_late_{sent}"
        new = lambda: Topic(name, 4) if kind == "untyped" else Topic(CmdVel, 4, endpoint=name)
        early = new()
        for number in range(sent):
            early.send(sample(kind, number))
        late = new()
        found[f"{kind} late by {sent}"] = drained(kind, late), early.dropped_count()
        found[f"{kind} later by {sent}"] = drained(kind, new())

    name = f"{kind}_gone"
    first = new()
    first.send(sample(kind, 1))
    del first
    found[f"{kind} gone"] = drained(kind, new())

    full, reader = make(kind, 2, 4)
    reader.recv()
    found[f"{kind} try_send"] = [full.try_send(sample(kind, n)) for n in range(6)]
    found[f"{kind} try_recv"] = [seen(reader.try_recv) for n in range(6)]
    found[f"{kind} again"] = [full.try_send(sample(kind, n)) for n in range(6)]
    found[f"{kind} dropped"] = full.dropped_count()

    full, reader = make(kind, 2, 4)
    reader.recv()
    found[f"{kind} blocking"] = [full.send_blocking(sample(kind, n), 5.0) for n in range(4)]
    begin = time.monotonic()
    try:
        full.send_blocking(sample(kind, 4), 0.1)
    except HorusTimeoutError as error:
        found[f"{kind} timeout"] = type(error).__name__, 0.09 < time.monotonic() - begin < 2.0
    found[f"{kind} after blocking"] = drained(kind, reader)
    for timeout in (-1, nan, inf, "x", None):
        look(f"{kind} timeout {timeout}", full.send_blocking, sample(kind, 0), timeout)

    writer, reader = make(kind, 2)
    from_thread = threading.Thread(target=lambda: [writer.send(sample(kind, n)) for n in range(9)])
    from_thread.start()
    from_thread.join()
    found[f"{kind} from a thread"] = drained(kind, reader)

(pose,) = [Topic(Pose2D, 8)]
look("latest of none", pose.read_latest)
for number in range(5):
    pose.send(Pose2D(number, 0, 0))
look("latest", lambda: [pose.read_latest(), pose.read_latest(), pose.recv(), pose.read_latest(),
                        pose.pending_count()])
while pose.recv() is not None:
    pass
look("latest of taken", pose.read_latest)
show(**found)
"""
    )
    assert len(both.agree()) > 60


def test_the_same_data_is_carried_and_refused(on_both: Callable[[str], Both]) -> None:
    both = on_both(
        TOPICS
        + """
import collections, dataclasses, enum, types

class Red(enum.IntEnum): ONE = 1
class Blue(enum.Enum): ONE = 1
class Text(str): pass
class Table(dict): pass
class List(list): pass
class Float(float): pass
class Int(int): pass
@dataclasses.dataclass
class Arm:
    joints: tuple = (1, 2)
    inner: object = None
class Anything:
    def __init__(self): self.a = 1
Pair = collections.namedtuple("Pair", "a b")

plain = Topic("plain", 8)
def through(value):
    plain.send(value)
    received = plain.recv()
    return received if type(received) is not dict else json.dumps(received, sort_keys=True)

for index, value in enumerate([
    1, -1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 1.5, -0.0, 1e300, 5e-324, True, None, "s",
    "", "é\\0", "x" * 3000, (1, 2), {1, 2}, frozenset([3]), {"a": (1, {2})}, [None, True],
    {"a": None}, [], {}, (), set(), {"": 1}, Red.ONE, Text("x"), Table(a=1), List([1]), Int(3),
    Arm(), Arm(inner=Arm()), Float(1.5), Pair(1, 2), collections.OrderedDict(a=1), range(3),
    collections.deque([1]),
    memoryview(b"ab"), types.MappingProxyType({"a": 1}), collections.UserList([1]),
    b"b", bytearray(b"b"), {1: 2}, {1.5: 2}, {None: 1}, {True: 1}, {(1,): 2}, {b"a": 1}, [b"x"],
    {"k": b"x"}, {"k": {2: 3}}, Blue.ONE, Anything(), [Anything()], iter([1]), (i for i in [1]), 1j,
    print, object(), Anything, int, Ellipsis, types.SimpleNamespace(a=1), time,
]):
    look(f"{index}: {type(value).__name__}", through, value)
sent = {"a": [1, {"b": 2}]}
plain.send(sent)
sent["a"].append(3)
look("sent is copied", plain.recv)

typed = Topic(CmdVel, 8)
for index, value in enumerate([
    {"linear": 1, "angular": 2}, 1, "x", None, Twist(), Pose2D(1, 2, 3), [1, 2], CmdVel, Vector3(),
]):
    for call, rest in (("send", ()), ("try_send", ()), ("send_blocking", (1.0,))):
        look(f"typed {index} {call}", lambda: (getattr(typed, call)(value, *rest), typed.recv()))
message = CmdVel(1, 2)
typed.send(message)
message.linear = 9
look("a message is copied", typed.recv)
look("nodes", lambda: (plain.send(1, None), plain.send(1, node="x"), plain.recv("x")))
look("node", lambda: plain.recv(node=1))
show(**found)
"""
    )
    assert len(both.agree()) > 90


def test_the_same_names_open_topics(on_both: Callable[[str], Both]) -> None:
    both = on_both(
        TOPICS
        + """
def opened(*args, **keywords):
    topic = Topic(*args, **keywords)
    return topic.name, topic.endpoint, topic.is_generic(), topic.is_network_topic

for index, given in enumerate([
    ("plain",), ("CamelCase",), ("a/b.c-d_e",), ("/a",), ("a/",), ("a//b",), ("./a",), ("a/../b",),
    (".a",), ("a..b",), (CmdVel,), ("CmdVel",), ("Imu",), ("cmd_vel",), (Vector3,), (dict,), (int,),
    ("x", 1), ("x2", 2**20), ("",), ("x y",), ("é",), ("x" * 300,), (42,), (None,), (CmdVel(1, 2),),
    ([],), ("c", 0), ("c", -1), ("c", 1.5), ("c", "4"), (), ("c", 4, 5), ("other", 4, "end"),
    (Pose2D, 4, "End"), ("CmdVel", 4, "end2"), ("c", 4, None, 5),
]):
    look(f"{index}", opened, *given)
look("by name", opened, msg_type="n", capacity=3, endpoint=None)
look("unknown", opened, "n", other=1)

def both_of(first, second):
    a = Topic(first, endpoint="mixed")
    return Topic(second, endpoint="mixed").name
for first in ("untyped", CmdVel):
    for second in ("untyped", Pose2D, CmdVel, LaserScan):
        names = [getattr(kind, "__name__", kind) for kind in (first, second)]
        look(f"{names[0]} beside {names[1]}", both_of, first, second)

t = Topic("attributes")
for name in ("name", "endpoint", "backend_type", "is_network_topic", "unknown"):
    look(f"set {name}", setattr, t, name, 1)
look("class", lambda: (type(t).__name__, t == t, hash(t) is not None, bool(t)))
look("counts", lambda: [t.pub_count(), t.sub_count(), t.pending_count(), t.missed_count(),
                        t.dropped_count()])
t.send(1)
look("counts of one sent", lambda: [t.pub_count(), t.sub_count(), t.pending_count()])
t.recv()
look("counts of one received", lambda: [t.pub_count(), t.sub_count(), t.pending_count()])
look("stats", lambda: sorted(t.stats()))
show(**found)
"""
    )
    assert len(both.agree()) > 50


def test_where_they_differ_on_purpose(on_both: Callable[[str], Both]) -> None:
    both = on_both(
        TOPICS
        + """
for kind in ("untyped", "typed"):
    writer, reader = make(kind, 2, 4)
    reader.recv()
    for number in range(10):
        assert writer.send(sample(kind, number))
    found[f"{kind} full"] = drained(kind, reader)
    found[f"{kind} lost"] = [reader.missed_count(), reader.dropped_count(), writer.dropped_count()]
writer, reader = make("untyped", 2, 3)
for number in range(9):
    writer.send(number)
found["capacity"] = [reader.recv() for _ in range(5)]

plain = Topic("plain", 8)
def through(value):
    try:
        plain.send(value)
    except Exception as error:
        return type(error).__name__
    return plain.recv()
found["order"] = list(through({"z": 1, "a": 2}))
found["nan"] = repr(through([nan, inf]))
found["large"] = through(2**64)
found["long"] = len(through("x" * 5000))
found["message"] = through(CmdVel(1, 2, 3))
found["latest"] = seen(plain.read_latest)
plain.send(1)
found["sent"] = plain.stats()["messages_sent"] > 0
found["backend"] = plain.backend_type

first, second, third = make("untyped", 3)
first.send({"n": 1})
found["late writer"] = [drained("untyped", t) for t in (second, third, first)]
first.send({"n": 2})
found["second round"] = [drained("untyped", t) for t in (second, third)]
names = JointState([f"joint{n}" for n in range(20)] + ["a" * 40, "é" * 40])
found["joints"] = [len(names), names.names[-2:]]
pose = Pose2D(0, 0, 1e6)
pose.normalize_angle()
found["turns"] = round(pose.theta, 6)
import pickle

found["pickled"] = seen(lambda: pickle.loads(pickle.dumps(CmdVel(1, 2))))
show(**found)
"""
    )
    original, facade = both
    for kind in ("untyped", "typed"):
        assert original[f"{kind} full"] == [0, 1, 2, 3]
        assert facade[f"{kind} full"] == [6, 7, 8, 9]
        assert original[f"{kind} lost"] == [0, 0, 6] or original[f"{kind} lost"] == [0, 6, 6]
        assert facade[f"{kind} lost"] == [6, 6, 6]
    assert original["capacity"] == [5, 6, 7, 8, None]
    assert facade["capacity"] == [6, 7, 8, None, None]
    assert (original["order"], facade["order"]) == (["a", "z"], ["z", "a"])
    assert (original["nan"], facade["nan"]) == ("[None, None]", "[nan, inf]")
    assert (original["large"], facade["large"]) == ("TypeError", 2**64)
    assert (original["long"], facade["long"]) == (len("ValueError"), 5000)
    assert original["message"] == "TypeError"
    assert facade["message"] == {"linear": 1.0, "angular": 2.0, "timestamp_ns": 3}
    assert (original["latest"], facade["latest"]) == ("RuntimeError", "None")
    assert (original["sent"], facade["sent"]) == (False, True)
    assert (original["backend"], facade["backend"]) == ("SpscShm", "InProcess")
    assert facade["late writer"] == [[1], [1], []]
    assert facade["second round"] == [[2], [2]]
    assert original["joints"] == [16, ["joint14", "joint15"]]
    assert facade["joints"] == [22, ["a" * 40, "é" * 40]]
    assert (original["turns"], facade["turns"]) == (-0.357563, -0.357564)
    assert original["pickled"] == "TypeError"
    assert facade["pickled"] == "CmdVel(linear=1.000, angular=2.000, timestamp_ns=0)"
