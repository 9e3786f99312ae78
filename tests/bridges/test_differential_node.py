"""`horus.Node` by hand, on both packages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bridges.differential import Both

pytestmark = pytest.mark.slow

OnBoth = Callable[[str], Both]


def test_each_program_runs_on_its_own_package(on_both: OnBoth) -> None:
    both = on_both("""
        import horus, horus._horus
        show(file=getattr(horus, "__file__", None), name=horus.__name__,
             version=horus.__version__, inner=horus._horus.__name__, missing=[])
        from horus import *
        for name in (NAMES := "Node Sub Pub run Scheduler now dt elapsed tick budget_remaining "
            "rng_float timestamp_ns us ms Params Rate Topic NodeState HorusNotFoundError "
            "HorusTransformError HorusTimeoutError get_version Image TransformFrame Pose3D "
            "drivers CmdVel Imu Pose2D Twist Vector3 Point3 Quaternion LaserScan JointState "
            "Odometry").split():
            if name not in globals():
                _seen["missing"].append(name)
        show(units=[us, ms], miss=[horus.Miss.WARN, horus.Miss.SKIP, horus.Miss.SAFE_MODE,
             horus.Miss.STOP], state=[s.value for s in NodeState])
        from horus._horus import (NodeInfo, Priority, SchedulerConfig, get_timestamp_ns,
            time_budget_remaining, time_dt, time_elapsed, time_now, time_rng_float, time_tick)
        show(attributes=dir(horus.Node()))
        show(outside=[dt(), elapsed(), tick(), str(budget_remaining()), time_dt(), time_tick()])
    """)
    assert both.original["file"] is not None
    assert both.facade["file"] is None
    both.agree("name", "version", "inner", "missing", "units", "miss", "state", "outside")
    assert both.original.code == both.facade.code == 0
    # Its other names are free for those who derive from it.
    more = set(both.facade["attributes"]) - set(both.original["attributes"])
    more -= {"_peek_buffer"}  # HORUS makes that later
    assert {name for name in more if not name.startswith(("_horus_", "__"))} == set()


def test_construction(on_both: OnBoth) -> None:
    both = on_both("""
        import horus
        def f(node): pass
        async def a(node): pass
        node = horus.Node(name="n", tick=f, init=f, shutdown=f, on_error=f, order=3, budget=0.1,
            deadline=0.2, on_miss="skip", failure_policy="skip", priority=5, core=0, watchdog=1.0,
            pubs={"c": horus.CmdVel, "d": None, "e": {"type": horus.Imu, "capacity": 8}},
            subs=["s", horus.Sub("t", horus.Imu, 16), horus.Pub("u"), horus.CmdVel])
        show(attributes=[getattr(node, name) for name in ("name rate order budget deadline on_miss "
            "failure_policy priority core watchdog default_capacity pub_topics sub_topics info "
            "_horus_async _horus_compute _horus_on").split()],
            functions=[getattr(node, name) is f for name in
                ("tick_fn", "init_fn", "shutdown_fn", "on_error_fn")],
            publishers=node.publishers(), subscribers=node.subscribers(),
            configs={t: [c["type"].__name__, c.get("capacity")]
                     for t, c in node._topic_configs.items()})
        unnamed = horus.Node()
        positional = horus.Node("p", f, 5, "x", "y")
        show(unnamed=[unnamed.name[:5], len(unnamed.name), unnamed.tick_fn, unnamed.rate],
            positional=[positional.name, positional.rate, positional.pub_topics,
                        positional.sub_topics],
            is_async=[horus.Node(tick=a)._horus_async, horus.Node(tick=f, init=a)._horus_async])
        sub = horus.Sub("t", horus.Imu)
        show(sub=[sub.topic, sub.msg_type is horus.Imu, sub.capacity])
        show(refused=[raised(horus.Node, tick=f, **bad) for bad in (
            {"rate": 0}, {"rate": -1.5}, {"rate": "x"}, {"rate": None},
            {"compute": True, "on": "x"}, {"init": a, "on": "x"}, {"shutdown": a, "compute": True},
            {"pubs": 3}, {"subs": ("a",)}, {"pubs": [3]}, {"nonsense": 1})])
        def add(**options):
            return horus.Scheduler().add(horus.Node(**{"name": "x", "tick": f, **options}))
        def kind(error):
            kinds = (RuntimeError, TypeError, ValueError)
            return [k.__name__ for k in kinds if isinstance(error, k)]
        refusals = {}
        for bad in ({"on_miss": "nope"}, {"on_miss": "STOP"}, {"failure_policy": "nope"},
            {"budget": 0}, {"budget": -1}, {"deadline": 0}, {"watchdog": 0}, {"name": 5},
            {"budget": 1.01}, {"budget": 300}, {"deadline": 5.01}, {"deadline": 900},
            {"compute": True, "budget": 0.1}, {"tick": a, "deadline": 0.1}, {"on": 5}):
            try:
                add(**bad)
            except Exception as error:
                refusals[str(list(bad.items())[0])[:20]] = kind(error)
        show(refusals=refusals, not_a_node=raised(horus.Scheduler().add, 5))
        show(fine=[type(add(**good)).__name__ for good in ({"tick": None}, {"rate": 5000},
            {"on_miss": horus.Miss.STOP}, {"priority": 99}, {"on": "q", "rate": 30},
            {"budget": 1.0}, {"deadline": 5.0})])
    """)
    both.agree()


def test_topics_by_hand(on_both: OnBoth) -> None:
    both = on_both("""
        import horus
        node = horus.Node(name="r", subs=["a"])
        topic = horus.Topic("a")
        show(empty=[node.has_msg("a"), node.recv("a"), node.recv_all("a")])
        for n in range(3):
            topic.send({"n": n})
        show(peeked=[node.has_msg("a"), node.has_msg("a"), node.recv("a"), node.has_msg("a"),
                     node.recv_all("a"), node.recv_all("a"), node.has_msg("a")])
        show(undeclared=[node.has_msg("b"), node.subscribers(), node.recv("b"),
                         node.subscribers(), node.send("c", {"x": 1}), node.publishers()])
        typed = horus.Node(name="t", pubs={"v": horus.CmdVel},
                           subs=[horus.Sub("v", horus.CmdVel), "s"])
        show(sent=[raised(typed.send, "v", data) for data in (
                {"linear": 1.0, "angular": 2.0}, horus.CmdVel(3.0, 4.0))])
        show(refused=[outcome(typed.send, "v", 5), outcome(typed.send, "v", {"nope": 1}),
                      outcome(typed.send, "s", object())])
        show(typed=[[m.linear, m.angular] for m in typed.recv_all("v")])
        typed.send("s", horus.CmdVel(5.0, 6.0))
        generic = typed.recv("s")
        show(generic=[type(generic).__name__, generic["linear"], generic["angular"]])
    """)
    both.agree("empty", "peeked", "undeclared", "sent", "typed", "generic")
    assert both.original["refused"] == ["TypeError"] * 3
    assert both.facade["refused"] == ["MessageTypeError"] * 3  # a TypeError, too


def test_hooks_by_hand(on_both: OnBoth) -> None:
    both = on_both("""
        import horus, warnings
        seen = []
        def boom(node):
            seen.append(["tick", node.info])
            raise ValueError("boom")
        def told(node, error):
            seen.append(["told", node.name, str(error), node.info])
        def worse(node, error):
            raise KeyError("worse")
        for name, on_error in (("none", None), ("told", told), ("worse", worse)):
            node = horus.Node(name=name, tick=boom, on_error=on_error)
            for call in (node._run_tick_with_error_handling, node._internal_tick, node.tick):
                seen.append(raised(call, "the info"))
                seen.append(node.info)
        quiet = horus.Node(name="quiet", tick=lambda n: seen.append(n.info))
        seen.append([quiet.tick("I"), quiet.info, quiet.init("J"), quiet.info, quiet.shutdown("K"),
                     quiet.info, horus.Node().tick()])
        def stop(node):
            raise KeyboardInterrupt
        seen.append(raised(horus.Node(name="k", tick=stop, on_error=told).tick))
        async def later(node):
            seen.append(["async", node.name])
            return 5
        mixed = horus.Node(name="mixed", tick=later, init=later)
        seen.append([mixed.tick("I"), mixed.init("J"), callable(mixed.tick_fn)])
        show(seen=seen)
        alone = horus.Node(name="alone")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for call in (alone.log_info, alone.log_warning, alone.log_error, alone.log_debug):
                call("text")
            alone.request_stop()
        show(warned=[[str(w.message), w.category.__name__] for w in caught])
    """)
    both.agree()
